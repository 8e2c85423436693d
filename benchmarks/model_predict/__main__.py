"""What predicting costs, library by library: the server's way beside the library's own predict.

    .venv/bin/python -m benchmarks.model_predict

Prints CPU-microseconds of one call for 1, 32 and 64 rows of 41 values; each the best of interleaved rounds.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Model
from sagebrush_server.algorithms.responder import Invocation, Responder
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings

_ROWS: Final = (1, 32, 64)
_ROUNDS: Final = 7
_SECONDS: Final = 0.05
_PROGRAM: Final = """
import joblib, os
def model_fn(model_dir): return joblib.load(os.path.join(model_dir, "model.joblib"))
def input_fn(body, content_type): return [[float(cell) for cell in line.split(",")] for line in body.splitlines()]
def predict_fn(data, model): return len(data)
def output_fn(prediction, accept): return str(prediction)
"""
Call = Callable[[NDArray[np.float64]], Any]
Floats = NDArray[np.float64]


def _data() -> tuple[Floats, NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(4000, 41))
    score = rows[:, 0] + rows[:, 1] * rows[:, 2] + 0.3 * generator.normal(size=len(rows))
    return rows, (score > 0).astype(np.int64)


def _served(folder: Path, *, name: str) -> Model:
    model = load_model(folder / name, settings=LoadingSettings(unpickling=True))
    return cast("Model", model)


def _contenders(folder: Path) -> Iterator[tuple[str, Call, Call]]:
    """Yield name, the server's call and the library's."""
    import joblib
    import lightgbm
    import xgboost
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = _data()
    for name, estimator in (
        ("LogisticRegression", LogisticRegression()),
        ("StandardScaler + LogisticRegression", make_pipeline(StandardScaler(), LogisticRegression())),
        ("HistGradientBoosting, 100 trees", HistGradientBoostingClassifier(max_iter=100)),
        ("GradientBoosting, 100 trees", GradientBoostingClassifier(n_estimators=100)),
        ("RandomForest, 100 trees", RandomForestClassifier(n_estimators=100, n_jobs=1)),
    ):
        estimator.fit(rows, labels)
        place = folder / name
        place.mkdir()
        joblib.dump(estimator, place / "model.joblib")
        yield name, _served(folder, name=name).predict, estimator.predict_proba
    booster = xgboost.XGBClassifier(n_estimators=100, n_jobs=1).fit(rows, labels)
    (folder / "xgboost").mkdir()
    booster.save_model(folder / "xgboost" / "model.json")
    yield "XGBoost, 100 trees", _served(folder, name="xgboost").predict, booster.predict_proba
    trees = lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1).fit(rows, labels)
    (folder / "lightgbm").mkdir()
    trees.booster_.save_model(folder / "lightgbm" / "model.txt")
    yield "LightGBM, 100 trees", _served(folder, name="lightgbm").predict, trees.predict_proba
    yield from _graph(folder, rows=rows, labels=labels)
    yield from _program(folder)


def _graph(folder: Path, *, rows: Floats, labels: NDArray[np.int64]) -> Iterator[tuple[str, Call, Call]]:
    import onnxruntime
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import GradientBoostingClassifier

    estimator = GradientBoostingClassifier(n_estimators=100).fit(rows, labels)
    graph = skl2onnx.to_onnx(
        estimator, initial_types=[("x", FloatTensorType([None, 41]))], options={id(estimator): {"zipmap": False}}
    )
    (folder / "onnx").mkdir()
    path = folder / "onnx" / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    names = [output.name for output in session.get_outputs()]
    yield (
        "ONNX, 100 trees",
        _served(folder, name="onnx").predict,
        lambda batch: session.run(names, {"x": batch.astype(np.float32)}),
    )


def _program(folder: Path) -> Iterator[tuple[str, Call, Call]]:
    """What the server adds to a program's own functions, which are called alone beside it."""
    (folder / "script" / "code").mkdir(parents=True)
    (folder / "script" / "code" / "inference.py").write_text(_PROGRAM.replace("joblib.load", "str"))
    responder = cast("Responder", load_model(folder / "script"))
    import inference  # type: ignore[import-not-found]  # the program, by the name that loading gave it

    def serve(batch: Floats) -> Any:
        return responder.respond(Invocation(bodies[len(batch)], content_type="text/csv", accept="text/csv"))

    def alone(batch: Floats) -> Any:
        text = bodies[len(batch)].decode()
        return inference.output_fn(inference.predict_fn(inference.input_fn(text, "text/csv"), None), "text/csv")

    rows, _ = _data()
    bodies = {count: "\n".join(",".join(map(str, row)) for row in rows[:count].tolist()).encode() for count in _ROWS}
    yield "code/inference.py (float per cell)", serve, alone


def _microseconds(call: Call, batch: Floats) -> float:
    begun, count = time.process_time(), 0
    while (spent := time.process_time() - begun) < _SECONDS:
        call(batch)
        count += 1
    return spent / count * 1e6


def main() -> None:
    """Measure and print the table."""
    warnings.simplefilter("ignore")
    rows, _ = _data()
    heads = " | ".join(f"{count} rows: server / library" for count in _ROWS)
    print(f"| model | {heads} |\n|---|{'---|' * len(_ROWS)}")
    with tempfile.TemporaryDirectory() as folder:
        for name, ours, theirs in _contenders(Path(folder)):
            cells = []
            for count in _ROWS:
                batch = np.ascontiguousarray(rows[:count])
                found = [[_microseconds(call, batch) for call in (ours, theirs)] for _ in range(_ROUNDS)]
                best = [min(column) for column in zip(*found, strict=True)]
                cells.append(f"{best[0]:.0f} / {best[1]:.0f}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
