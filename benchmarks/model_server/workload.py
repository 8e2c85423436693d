"""The shape of the KDD data, the models trained on it, and the rows that are asked about with their scores."""

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.datasets.kdd import prepare

FEATURES = 41
BODIES = 1024
"""Different bodies of each payload."""
_TRAINING_ROWS = 8000
_TREES = 100
_SEED = 6
_APPS = Path(__file__).parent / "apps"
_CODE = {"code": _APPS / "scripts/inference.py", "own-code": _APPS / "scripts/own_inference.py"}


class Workload:
    """Models and rows, the same for the same versions of the libraries. Folders are made below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._rows: dict[int, list[list[list[str]]]] = {}

    @cached_property
    def _data(self) -> tuple[NDArray[np.float64], NDArray[np.int64], list[list[str]]]:
        """Features and labels to train on, and the cells of the rows that are asked about, as text."""
        data = self._folder / "data"
        prepare("generated", out=data, validation_fraction=0.5, seed=_SEED, rows=2 * _TRAINING_ROWS, encoding="ordered")
        train = np.loadtxt(next(data.glob("train/*")), delimiter=",")
        asked = [line.split(",")[1:] for line in next(data.glob("validation/*")).read_text().splitlines()]
        return train[:, 1:], train[:, 0].astype(np.int64), asked

    @cached_property
    def linear(self) -> LogisticRegression:
        """A logistic regression of raw features: the scaling that it was trained with is folded into its weights."""
        features, labels, _ = self._data
        scaler = StandardScaler().fit(features)
        model = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(features), labels)
        model.coef_ = model.coef_ / scaler.scale_
        model.intercept_ = model.intercept_ - model.coef_ @ scaler.mean_
        return model

    @cached_property
    def boosting(self) -> HistGradientBoostingClassifier:
        """Gradient boosting with 100 trees."""
        features, labels, _ = self._data
        model = HistGradientBoostingClassifier(max_iter=_TREES, early_stopping=False, random_state=_SEED)
        model.fit(features, labels)
        if model.n_iter_ != _TREES:
            raise RuntimeError(f"{model.n_iter_} trees instead of {_TREES}")
        return model

    @cached_property
    def xgboost(self) -> Any:
        """XGBoost's own 100 trees of the same depth of detail."""
        import xgboost

        features, labels, _ = self._data
        settings = {"objective": "binary:logistic", "max_leaves": 31, "grow_policy": "lossguide", "seed": _SEED}
        return xgboost.train(settings | {"max_depth": 0}, xgboost.DMatrix(features, labels), num_boost_round=_TREES)

    def artifact(self, name: str) -> Path:
        """Return the folder of a model, written at its first use.

        `boosting-xgboost` holds `model.ubj`, `linear` and `boosting` hold `model.joblib`, `linear-code`, `linear-own-code` and `boosting-code` an `inference.py` besides, and
        `linear-builtin` is a linear-learner model with the weights of the logistic regression.
        """
        folder = self._folder / name
        if folder.exists():
            return folder
        folder.mkdir()
        if name == "linear-builtin":
            self._write_builtin(folder)
            return folder
        if name == "boosting-xgboost":
            self.xgboost.save_model(folder / "model.ubj")
            return folder
        model, _, code = name.partition("-")
        joblib.dump(self.boosting if model == "boosting" else self.linear, folder / "model.joblib")
        if code:
            (folder / "code").mkdir()
            shutil.copy(_CODE[code], folder / "code" / "inference.py")
        return folder

    def _write_builtin(self, folder: Path) -> None:
        row, score = self.rows(1)[0], self.scores("linear", 1)[0]
        LinearModel(
            predictor_type="binary_classifier",
            feature_dim=FEATURES,
            link="logistic",
            weights=self.linear.coef_.tolist(),
            bias=self.linear.intercept_.tolist(),
            offset=[0.0] * FEATURES,
            scale=[1.0] * FEATURES,
            threshold=0.5,
            label_scale=1.0,
            label_offset=0.0,
            self_test_row=[float(cell) for cell in row[0]],
            self_test_score=score.tolist(),
        ).save(folder)

    def rows(self, count: int) -> list[list[list[str]]]:
        """Return the rows of each body, cells as they are sent: `BODIES` different bodies of `count` rows."""
        if count in self._rows:
            return self._rows[count]
        asked = self._data[2]
        order = np.random.default_rng(count).integers(len(asked), size=(BODIES, count))
        if count == 1:  # drawn without putting back, so that no two are the same
            order = np.random.default_rng(count).permutation(len(asked))[:BODIES, None]
        self._rows[count] = [[asked[index] for index in body] for body in order]
        return self._rows[count]

    def scores(self, artifact: str, count: int) -> NDArray[np.float64]:
        """Return the probabilities of class 1 of these rows, bodies × rows, by the library of the artifact itself."""
        values = np.array(self.rows(count), dtype=np.float64).reshape(-1, FEATURES)
        if artifact == "boosting-xgboost":
            import xgboost

            found = self.xgboost.predict(xgboost.DMatrix(values))
        else:
            predictor = self.boosting if artifact.startswith("boosting") else self.linear
            found = predictor.predict_proba(values)[:, 1]
        return np.asarray(found, dtype=np.float64).reshape(BODIES, count)

    def describe(self) -> dict[str, Any]:
        """What the report says of it."""
        scores = self.scores("linear", 1)
        return {
            "features": FEATURES,
            "bodies": BODIES,
            "distinctBodies": len({json.dumps(body) for body in self.rows(1)}),
            "distinctScores": len(np.unique(scores.round(9))),
            "trees": _TREES,
        }
