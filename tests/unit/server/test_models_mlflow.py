"""MLflow's model folders, written by MLflow itself and read without it."""

import json
import shutil
import subprocess
import sys
import warnings

import lightgbm
import numpy as np
import pytest
import xgboost
import yaml
from sklearn.linear_model import LinearRegression, LogisticRegression

from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.pretrained import UNPICKLING, WIDTH, data, fitted, rows

NAMES = list("abcde")


def table(batch=None):
    import pandas as pd

    return pd.DataFrame(data()[0] if batch is None else batch, columns=NAMES)


def saved(tmp_path_factory, flavour, model, **more):
    import mlflow
    from mlflow.models import infer_signature

    folder = tmp_path_factory.mktemp("mlflow") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(mlflow, flavour).save_model(
            model, str(folder), signature=infer_signature(table(), [1.0]), pip_requirements=["numpy"], **more
        )
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder of each flavour, with the library's own probabilities (or score)."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    estimator = fitted(LogisticRegression())
    features, target = data()
    booster = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(features, target, nthread=1), 5
    )
    trees = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(features, target), 5
    )
    graph = skl2onnx.to_onnx(estimator, initial_types=[("x", FloatTensorType([None, WIDTH]))])
    return {
        "sklearn": (saved(tmp_path_factory, "sklearn", estimator, serialization_format="cloudpickle", input_example=table()[:2]), estimator.predict_proba(rows())[:, 1]),
        "xgboost": (saved(tmp_path_factory, "xgboost", booster), booster.predict(xgboost.DMatrix(rows()))),
        "lightgbm": (saved(tmp_path_factory, "lightgbm", trees), trees.predict(rows())),
        "onnx": (saved(tmp_path_factory, "onnx", graph), estimator.predict_proba(rows())[:, 1]),
    }  # fmt: skip


@pytest.mark.parametrize("flavour", ["sklearn", "xgboost", "lightgbm", "onnx"])
def test_folder_must_be_served_by_its_own_flavour(folders, flavour):
    """What MLflow saved is what is served; only scikit-learn's pickle needs the allowance."""
    folder, expected = folders[flavour]
    if flavour == "sklearn":
        with pytest.raises(ModelError, match="is a pickle"):
            load_model(folder)
    model = load_model(folder, settings=UNPICKLING if flavour == "sklearn" else LoadingSettings())
    assert model.feature_dim == WIDTH
    np.testing.assert_allclose(model.predict(rows()).columns["probabilities"][:, 1], expected, rtol=1e-4, atol=1e-6)


def test_example_must_be_the_self_test(folders):
    """The row that was stored is asked for, rather than zeros."""
    model = load_model(folders["sklearn"][0], settings=UNPICKLING)
    np.testing.assert_allclose(model.self_test_rows(), table().to_numpy()[:1])


@pytest.fixture
def folder(folders, tmp_path):
    """A copy that a test may change, of a graph, and a function that changes its MLmodel."""
    copy = tmp_path / "model"
    shutil.copytree(folders["onnx"][0], copy)

    def change(**changes):
        path = copy / "MLmodel"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
        return copy

    return change


def signature(*types):
    return {"inputs": json.dumps([{"name": f"c{number}", "type": one} for number, one in enumerate(types)])}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flavors": {"pytorch": {}}}, "has the flavors pytorch; served are onnx, xgboost"),
        ({"flavors": None}, "names no flavors"),
        ({"flavors": {"onnx": {"data": "none.onnx"}}}, "names 'none.onnx', which isn't there"),
        ({"flavors": {"onnx": {"data": "../../../etc/passwd"}}}, "which is outside the folder"),
        ({"flavors": {"onnx": {}}}, "flavors.onnx names no file"),
        ({"signature": signature("double", "double")}, r"the signature has 2 columns \(c0, c1\), the model takes 5"),
        ({"signature": signature(*["double"] * 4, "string")}, "column 'c4' of the signature is of type string"),
        ({"signature": {"inputs": "[{"}}, "the signature can't be read"),
        ({"flavors": {"onnx": {"data": "model.onnx", "code": "code"}}}, r"brings code of its own.*allow: \[Unpickling\]"),
    ],
)  # fmt: skip
def test_folder_that_does_not_fit_must_be_refused(folder, changes, words):
    """The flavour, file or column that is wrong."""
    with pytest.raises(ModelError, match=words):
        load_model(folder(**changes))


@pytest.mark.parametrize("changes", [{"signature": None}, {"signature": {"inputs": json.dumps([{"type": "tensor"}])}}])
def test_folder_without_columns_must_be_served(folder, changes):
    """A signature is not needed, and one of tensors says nothing of columns."""
    assert load_model(folder(**changes)).feature_dim == WIDTH


def test_mlmodel_that_is_no_yaml_must_be_refused(folder):
    """One line that names the file."""
    path = folder()
    (path / "MLmodel").write_text("a: [")
    with pytest.raises(ModelError, match="MLmodel can't be read"):
        load_model(path)


LOADER = """
import json
class Own:
    def __init__(self, weights): self.weights = weights
    def predict(self, frame): return [sum(w * row[name] for name, w in self.weights.items()) for _, row in frame.iterrows()]
def _load_pyfunc(path):
    return Own(json.load(open(path)))
"""


@pytest.fixture
def function(tmp_path):
    """A folder of the flavour python_function with code and data of its own."""
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "own_loader_of_a_test.py").write_text(LOADER)
    (folder / "weights.json").write_text(json.dumps({"c0": 1.0, "c1": 10.0}))
    flavour = {"loader_module": "own_loader_of_a_test", "code": "code", "data": "weights.json"}
    document = {"flavors": {"python_function": flavour}, "signature": signature("double", "double")}
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    yield folder
    sys.modules.pop("own_loader_of_a_test", None)
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(tmp_path))]


def test_python_function_must_need_the_allowance(function):
    """Code of the model's own runs where the manifest says so, and gets a table with the signature's names."""
    with pytest.raises(ModelError, match=r"only the flavor python_function.*allow: \[Unpickling\]"):
        load_model(function)
    assert "own_loader_of_a_test" not in sys.modules
    model = load_model(function, settings=UNPICKLING)
    assert model.feature_dim == 2
    assert model.predict(np.array([[1.0, 2.0], [3.0, 4.0]])).columns["score"].tolist() == [21.0, 43.0]


@pytest.mark.parametrize(
    ("loader", "words"),
    [("no_such_loader", "needs the module 'no_such_loader'; add Requirements"), (None, "names no loader_module")],
)
def test_python_function_that_cannot_be_loaded_must_be_refused(function, loader, words):
    """What is missing, and where it would come from."""
    path = function / "MLmodel"
    document = yaml.safe_load(path.read_text())
    document["flavors"]["python_function"]["loader_module"] = loader
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ModelError, match=words):
        load_model(function, settings=UNPICKLING)


def test_regression_must_be_a_score(tmp_path_factory):
    """The answer is the library's, whatever the folder is called in MLflow."""
    estimator = fitted(LinearRegression(), 0)
    folder = saved(tmp_path_factory, "sklearn", estimator, serialization_format="pickle")
    model = load_model(folder, settings=UNPICKLING)
    np.testing.assert_array_equal(model.predict(rows()).columns["score"], estimator.predict(rows()))


def test_mlflow_must_not_be_imported(folders):
    """The folder is read by us: the server's image has no MLflow."""
    program = (
        "import sys; from pathlib import Path; from sagebrush_server.models.loading import load_model;"
        f"load_model(Path({str(folders['onnx'][0])!r})); print([m for m in ('mlflow', 'pandas', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
