"""load_model: what a folder holds is told by its content; what is doubtful or not allowed is refused with what to write."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sagebrush_server.models.detection import Format, find_model
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings, threads
from sagebrush_server.settings import SettingError
from tests.unit.server.conftest import tiny_model
from tests.unit.server.pretrained import UNPICKLING, WIDTH, data, fitted, rows, twice

HEADS = {
    "model.onnx": (b"\x08\x08", Format.ONNX),
    "MODEL.ONNX": (b"\x08\x08", Format.ONNX),
    "a.skops": (b"PK\x03\x04", Format.SKOPS),
    "a.joblib": (b"\x78\x9c compressed", Format.PICKLE),
    "a.pkl": (b"\x80\x04", Format.PICKLE),
    "a.pickle": (b"\x80\x04", Format.PICKLE),
    "xgboost-model": (b"\x80\x03", Format.PICKLE),
    "a.ubj": (b"{", Format.XGBOOST),
    "model.json": (b'{"learner":{', Format.XGBOOST),
    "any.json": (b' \n{ "learner" : {', Format.XGBOOST),
    "xgb": (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{", Format.XGBOOST),
    "model.txt": (b"tree\nversion=v4\n", Format.LIGHTGBM),
    "lgb": (b"tree\r\nversion=v4\n", Format.LIGHTGBM),
}
HARMLESS = {"README.md": b"about", "metrics.json": b"{}", "notes.txt": b"trees", "._model.onnx": b"\x00\x05"}


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", HEADS)
def test_file_must_be_known_among_others(tmp_path, name):
    """By name or by its first bytes, whatever else lies beside it; hidden files are nobody's."""
    content, expected = HEADS[name]
    found = find_model(put(tmp_path, **HARMLESS, **{name: content}), settings=LoadingSettings())
    assert (found.format, found.path.name) == (expected, name)


@pytest.mark.parametrize("name", HEADS)
def test_archive_of_one_folder_must_be_that_folder(tmp_path, name):
    """`tar czf model.tar.gz model/` is as good as packing what is inside."""
    found = find_model(put(tmp_path, **{f"model/{name}": HEADS[name][0]}), settings=LoadingSettings())
    assert found.path == tmp_path / "model" / name


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"code/inference.py": b"", "model.json": b"{}", "MLmodel": b"", "a.onnx": b""}, Format.SCRIPT),
        ({"model.json": b"{}", "state.pkl": b"\x80\x04"}, Format.BUILT_IN),
        ({"MLmodel": b"", "model.pkl": b"\x80\x04"}, Format.MLFLOW),
        ({"code/other.py": b"", "a.onnx": b""}, Format.ONNX),
    ],
)
def test_what_says_how_must_come_first(tmp_path, files, expected):
    """Code, a built-in algorithm's file and MLmodel say what the other files are for."""
    assert find_model(put(tmp_path, **files), settings=LoadingSettings()).format is expected


@pytest.mark.parametrize(
    ("framework", "files", "name"),
    [
        ("onnx", {"a.onnx": b"", "b.pkl": b"\x80\x04", "code/inference.py": b""}, "a.onnx"),
        ("scikit-learn", {"a.onnx": b"", "b.pkl": b"\x80\x04"}, "b.pkl"),
        ("scikit-learn", {"a.skops": b"", "b.pkl": b"\x80\x04"}, "a.skops"),
        ("xgboost", {"a.ubj": b"", "b.pkl": b"\x80\x04"}, "a.ubj"),
        ("xgboost", {"b.pkl": b"\x80\x04"}, "b.pkl"),
        ("lightgbm", {"whatever": b"?"}, "whatever"),
        ("onnx", {"whatever": b"?"}, "whatever"),
        ("mlflow", {"MLmodel": b"", "a.onnx": b""}, None),
        ("inference.py", {"code/inference.py": b"", "a.onnx": b""}, None),
    ],
)
def test_framework_must_decide(tmp_path, framework, files, name):
    """Where the manifest names a framework nothing else is loaded, code beside it neither."""
    folder = put(tmp_path / "model", **files)
    found = find_model(folder, settings=LoadingSettings(framework=framework))
    assert found.path == (folder / name if name else folder)


REFUSED = {
    "nothing": ({}, None, "holds no model.json of a built-in algorithm and no other model that is known (it is empty)"),
    "unknown": ({"saved_model.pb": b"?", "x": b""}, None, "it holds saved_model.pb, x"),
    "known ones are named": ({"x": b""}, None, "*.onnx"),
    "two": ({"a.onnx": b"", "b.skops": b""}, None, "it holds a.onnx: an ONNX graph, b.skops: a skops file"),
    "two and what to write": ({"a.onnx": b"", "b.onnx": b""}, None, "spec.model.framework"),
    "two of the framework": ({"a.onnx": b"", "b.onnx": b""}, "onnx", "holds several: a.onnx, b.onnx; leave one"),
    "another framework": ({"a.onnx": b"", "b": b""}, "xgboost", "spec.model.framework is xgboost, but"),
    "no MLmodel": ({"a.onnx": b""}, "mlflow", "holds no MLflow model (it holds a.onnx: an ONNX graph)"),
    "no code": ({"a.onnx": b""}, "inference.py", "holds no code/inference.py"),
}


@pytest.mark.parametrize(("files", "framework", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_doubt_must_be_refused_with_what_was_found(tmp_path, files, framework, words):
    """The message says what lies there and what to write."""
    with pytest.raises(ModelError) as refused:
        find_model(put(tmp_path, **files), settings=LoadingSettings(framework=framework))
    assert words in str(refused.value)


def test_folder_that_is_not_there_must_be_refused(tmp_path):
    """A model that was never fetched."""
    with pytest.raises(ModelError, match="can't be read: No such file"):
        load_model(tmp_path / "none")


def test_built_in_model_must_be_loaded(tmp_path):
    """As before there were others; its file may not be another's."""
    tiny_model().save(tmp_path)
    assert load_model(tmp_path).algorithm == "linear-learner"
    for content, words in (
        (b"{", "can't be read"),
        (b"{}", "names no algorithm"),
        (b'{"algorithm": "x"}', "no built-in"),
    ):
        with pytest.raises(ModelError, match=words):
            load_model(put(tmp_path, **{"model.json": content}))


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl"])
def test_pickle_must_need_the_allowance(tmp_path, name):
    """Nothing is unpickled by default, and the line to add is in the message."""

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(
        ModelError, match=r"add `allow: \[Unpickling\]` to spec.model \(SAGEBRUSH_MODEL_ALLOW=Unpickling\)"
    ):
        load_model(tmp_path, settings=LoadingSettings(framework="scikit-learn"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match="has no predict"):
        load_model(tmp_path, settings=UNPICKLING)
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "compress"), [("a.joblib", 3), ("a.pkl", ("gzip", 3)), ("a.pickle", 0)])
def test_pickle_of_any_compression_must_be_served(tmp_path, name, compress):
    """joblib's compressions are joblib's business."""
    estimator = fitted(LogisticRegression())
    joblib.dump(estimator, tmp_path / name, compress=compress)
    model = load_model(tmp_path, settings=UNPICKLING)
    assert model.predict(rows()).columns["predicted_label"].tolist() == estimator.predict(rows()).tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04 damaged", "can't be unpickled"),
        (b"\x80\x04cno_such_package\nThing\n.", "needs the module 'no_such_package'"),
    ],
)
def test_pickle_that_fails_must_say_why(tmp_path, content, words):
    """Damaged, or of a package that the server lacks."""
    with pytest.raises(ModelError, match=words):
        load_model(put(tmp_path, **{"a.pkl": content}), settings=UNPICKLING)


def test_skops_must_be_served_without_an_allowance(tmp_path):
    """Types that skops knows as safe need nothing."""
    estimator = fitted(make_pipeline(StandardScaler(), LogisticRegression()))
    skops.io.dump(estimator, tmp_path / "model.skops")
    model = load_model(tmp_path)
    assert (model.algorithm, model.fork_safe) == ("scikit-learn Pipeline", True)
    np.testing.assert_array_equal(model.predict(rows()).columns["probabilities"], estimator.predict_proba(rows()))


def test_skops_type_must_be_trusted_by_name(tmp_path):
    """A type that skops doesn't know is named with the line to add; that line is enough, and another type isn't."""
    estimator = make_pipeline(FunctionTransformer(twice), LinearRegression()).fit(*data(0))
    estimator[0].n_features_in_ = WIDTH
    skops.io.dump(estimator, tmp_path / "model.skops")
    name = "tests.unit.server.pretrained.twice"
    with pytest.raises(ModelError, match=rf"doesn't know as safe: {name}\. .*allow: \[{name}\]"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=name):
        load_model(tmp_path, settings=LoadingSettings(trusted_types=frozenset(("a.b",)), unpickling=True))
    model = load_model(tmp_path, settings=LoadingSettings(trusted_types=frozenset((name,))))
    np.testing.assert_array_equal(model.predict(rows()).columns["score"], estimator.predict(rows()))


def test_skops_that_is_damaged_must_be_refused(tmp_path):
    """One line that names the file."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
    with pytest.raises(ModelError, match=r"model.skops can't be loaded by skops"):
        load_model(tmp_path)


def test_pickle_called_skops_must_need_the_allowance(tmp_path):
    """What a file is counts, not what it is called."""
    (tmp_path / "model.skops").write_bytes(pickle.dumps(fitted(LogisticRegression())))
    with pytest.raises(ModelError, match="is a pickle"):
        load_model(tmp_path)


ENVIRONMENTS = [
    ({}, LoadingSettings()),
    ({"SAGEBRUSH_MODEL_FRAMEWORK": "onnx"}, LoadingSettings(framework="onnx")),
    (
        {"SAGEBRUSH_MODEL_ALLOW": "Unpickling, a.B,Requirements"},
        LoadingSettings(unpickling=True, requirements=True, trusted_types=frozenset(("a.B",))),
    ),
    ({"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,probability"}, LoadingSettings(outputs=("predicted_label", "probability"))),
    (
        {"SAGEMAKER_PROGRAM": "run.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/src"},
        LoadingSettings(program="run.py", submit_directory="/opt/ml/model/src"),
    ),
    ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"}, LoadingSettings(default_accept="text/csv")),
]  # fmt: skip


@pytest.mark.parametrize(("environment", "expected"), ENVIRONMENTS)
def test_settings_must_come_from_the_environment(environment, expected):
    """docs/contract.md's variables, and SageMaker's."""
    assert LoadingSettings.from_environment(environment) == expected


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SAGEBRUSH_MODEL_FRAMEWORK": "torch"}, "SAGEBRUSH_MODEL_FRAMEWORK='torch': must be one of scikit-learn"),
        (
            {"SAGEBRUSH_MODEL_ALLOW": "Pickling"},
            "SAGEBRUSH_MODEL_ALLOW: 'Pickling' is neither Unpickling, Requirements",
        ),
        ({"SAGEMAKER_INFERENCE_OUTPUT": "score"}, "SAGEMAKER_INFERENCE_OUTPUT: 'score' must be one of predicted_label"),
    ],
)
def test_setting_that_makes_no_sense_must_be_refused(environment, words):
    """The variable, its value and what is legal."""
    with pytest.raises(SettingError, match=words):
        LoadingSettings.from_environment(environment)


def test_threads_must_be_one_unless_asked(monkeypatch):
    """The server scales by processes."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(SettingError, match="OMP_NUM_THREADS='many'"):
        threads()


def test_xgboost_named_model_json_must_not_be_taken_for_a_built_in(tmp_path):
    """Both are called model.json: the content tells."""
    features, target = data()
    xgboost.train({"nthread": 1}, xgboost.DMatrix(features, target, nthread=1), 2).save_model(tmp_path / "model.json")
    assert load_model(tmp_path).algorithm == "XGBoost reg:squarederror"
