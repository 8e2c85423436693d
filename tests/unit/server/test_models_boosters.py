"""XGBoost and LightGBM: what is served is what the library says, from every file it writes."""

import subprocess
import sys
import warnings

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from scipy.sparse import csr_matrix

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.pretrained import UNPICKLING, WIDTH, data, fitted, rows

ROUNDS = {"num_boost_round": 12}
OBJECTIVES = {
    "binary:logistic": 2,
    "binary:logitraw": 2,
    "binary:hinge": 2,
    "multi:softprob": 3,
    "multi:softmax": 3,
    "reg:squarederror": 0,
    "count:poisson": 0,
}


def xgboost_booster(objective="binary:logistic", **more):
    classes = OBJECTIVES[objective]
    features, target = data(classes)
    values = {"objective": objective, "max_depth": 4, "nthread": 1, **more}
    if objective.startswith("multi"):
        values["num_class"] = classes
    if objective.startswith("count"):
        target = np.abs(target).round()
    return xgboost.train(values, xgboost.DMatrix(features, target, nthread=1), **ROUNDS)


def served(folder, **settings):
    return load_model(folder, settings=LoadingSettings(**settings))


@pytest.mark.parametrize("name", ["model.json", "model.ubj", "xgboost-model", "anything.bst"])
def test_xgboost_must_be_known_by_its_content(tmp_path, name):
    """JSON and UBJSON, whatever the file is called (SageMaker's container writes xgboost-model)."""
    booster = xgboost_booster()
    (tmp_path / name).write_bytes(booster.save_raw("json" if name.endswith("json") else "ubj"))
    model = served(tmp_path)
    assert (model.algorithm, model.feature_dim, model.fork_safe) == ("XGBoost binary:logistic", WIDTH, False)
    expected = booster.predict(xgboost.DMatrix(rows()))
    columns = model.predict(rows()).columns
    np.testing.assert_array_equal(columns["probabilities"][:, 1], expected)
    assert columns["predicted_label"].tolist() == (expected > 0.5).astype(int).tolist()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_xgboost_must_say_what_the_library_says(tmp_path, objective):
    """Every objective, as its own predict."""
    booster = xgboost_booster(objective)
    booster.save_model(tmp_path / "model.json")
    model = served(tmp_path)
    columns = model.predict(rows()).columns
    expected = booster.predict(xgboost.DMatrix(rows()))
    if objective == "multi:softprob":
        np.testing.assert_allclose(columns["probabilities"], expected, rtol=1e-5)
        assert columns["predicted_label"].tolist() == expected.argmax(axis=1).tolist()
    elif objective == "binary:logitraw":
        assert columns["predicted_label"].tolist() == (expected > 0).astype(int).tolist()
        np.testing.assert_allclose(columns["probabilities"][:, 1], 1 / (1 + np.exp(-expected)), rtol=1e-5)
    elif objective.startswith(("multi", "binary")) and objective != "binary:logistic":
        assert columns["predicted_label"].tolist() == expected.astype(int).tolist()
    elif objective == "binary:logistic":
        np.testing.assert_array_equal(columns["probabilities"][:, 1], expected)
    else:
        np.testing.assert_array_equal(columns["score"], expected)


@pytest.mark.parametrize("kind", ["dart", "gblinear"])
def test_xgboost_booster_of_another_kind_must_be_served(tmp_path, kind):
    """Trees that were dropped in training, and no trees at all, which the library asks in another way."""
    booster = xgboost_booster(booster=kind) if kind == "dart" else xgboost_linear()
    booster.save_model(tmp_path / "model.json")
    columns = served(tmp_path, outputs=("probability", "raw_score")).predict(rows()).columns
    matrix = xgboost.DMatrix(rows(), nthread=1)
    np.testing.assert_allclose(columns["probability"], booster.predict(matrix), rtol=1e-5)
    np.testing.assert_allclose(columns["raw_score"], booster.predict(matrix, output_margin=True), rtol=1e-5)


def xgboost_linear():
    features, target = data()
    values = {"objective": "binary:logistic", "booster": "gblinear", "nthread": 1}
    return xgboost.train(values, xgboost.DMatrix(features, target, nthread=1), **ROUNDS)


def test_xgboost_outputs_must_be_those_that_are_selected(tmp_path):
    """As SageMaker's container selects them; raw scores are margins."""
    booster = xgboost_booster()
    booster.save_model(tmp_path / "model.json")
    names = ("raw_score", "probability", "labels", "predicted_label", "probabilities", "raw_scores")
    columns = served(tmp_path, outputs=names).predict(rows()).columns
    assert tuple(columns) == names
    margin = booster.predict(xgboost.DMatrix(rows()), output_margin=True)
    np.testing.assert_array_equal(columns["raw_score"], margin)
    np.testing.assert_array_equal(columns["raw_scores"][:, 0], margin)
    np.testing.assert_array_equal(columns["probability"], columns["probabilities"][:, 1])
    only = served(tmp_path, outputs=("predicted_label",)).predict(rows()).columns
    assert list(only) == ["predicted_label"]
    assert only["predicted_label"].tolist() == columns["predicted_label"].tolist()


def test_xgboost_must_stop_at_the_best_round(tmp_path):
    """Where training stopped early, the rounds after the best are not used, as in SageMaker's container."""
    features, target = data()
    booster = xgboost_booster()
    booster.set_attr(best_iteration="4")
    booster.save_model(tmp_path / "model.json")
    expected = booster.predict(xgboost.DMatrix(rows()), iteration_range=(0, 5))
    columns = served(tmp_path, outputs=("probability",)).predict(rows()).columns
    np.testing.assert_array_equal(columns["probability"], expected)
    assert len(features) == len(target)


def test_xgboost_must_take_sparse_rows(tmp_path):
    """What is absent from sparse rows is missing to XGBoost, not 0: its DMatrix means the same."""
    booster = xgboost_booster()
    booster.save_model(tmp_path / "model.json")
    matrix = csr_matrix(np.where(rows() > 1, rows(), 0))
    model = served(tmp_path)
    assert model.takes_sparse
    sparse = SparseRows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, width=WIDTH)
    expected = booster.predict(xgboost.DMatrix(matrix))
    np.testing.assert_array_equal(model.predict(sparse).columns["probabilities"][:, 1], expected)


def test_xgboost_file_that_is_damaged_must_be_refused(tmp_path):
    """One line, not the library's stack."""
    (tmp_path / "model.json").write_bytes(xgboost_booster().save_raw("json")[:300])
    with pytest.raises(ModelError, match=r"^model.json can't be read by XGBoost"):
        served(tmp_path)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_pickled_booster_must_be_served(tmp_path, library, wrapped):
    """A Booster or the library's estimator in a pickle is one of scikit-learn's kind of files."""
    estimator = (xgboost.XGBClassifier if library == "xgboost" else lightgbm.LGBMClassifier)(n_estimators=5, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = fitted(estimator)
    booster = estimator.get_booster() if library == "xgboost" else estimator.booster_
    joblib.dump(estimator if wrapped else booster, tmp_path / "model.joblib")
    model = load_model(tmp_path, settings=UNPICKLING)
    columns = model.predict(rows()).columns
    np.testing.assert_allclose(columns["probabilities"], estimator.predict_proba(rows()), rtol=1e-6)
    assert columns["predicted_label"].tolist() == estimator.predict(rows()).tolist()


def lightgbm_booster(objective="binary", classes=2):
    features, target = data(classes)
    values = {"objective": objective, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    if objective.startswith("multiclass"):
        values["num_class"] = classes
    return lightgbm.train(values, lightgbm.Dataset(features, target), **ROUNDS)


@pytest.mark.parametrize(
    ("objective", "classes"), [("binary", 2), ("multiclass", 3), ("multiclassova", 3), ("regression", 0), ("huber", 0)]
)
@pytest.mark.parametrize("name", ["model.txt", "model"])
def test_lightgbm_must_say_what_the_library_says(tmp_path, objective, classes, name):
    """Every kind of objective, from the text file that LightGBM writes, whatever it is called."""
    booster = lightgbm_booster(objective, classes)
    booster.save_model(tmp_path / name)
    model = served(tmp_path)
    assert (model.algorithm, model.feature_dim) == (f"LightGBM {objective}", WIDTH)
    columns = model.predict(rows()).columns
    expected = booster.predict(rows())
    if classes == 2:
        np.testing.assert_array_equal(columns["probabilities"][:, 1], expected)
        assert columns["predicted_label"].tolist() == (expected > 0.5).astype(int).tolist()
    elif classes:
        np.testing.assert_array_equal(columns["probabilities"], expected)
        assert columns["predicted_label"].tolist() == expected.argmax(axis=1).tolist()
    else:
        np.testing.assert_array_equal(columns["score"], expected)


def test_lightgbm_outputs_must_be_those_that_are_selected(tmp_path):
    """Raw scores are the sums of the trees."""
    booster = lightgbm_booster()
    booster.save_model(tmp_path / "model.txt")
    columns = served(tmp_path, outputs=("raw_score", "predicted_label")).predict(rows()).columns
    np.testing.assert_array_equal(columns["raw_score"], booster.predict(rows(), raw_score=True))


def test_lightgbm_file_that_is_damaged_must_be_refused(tmp_path):
    """One line that names the file."""
    text = lightgbm_booster().model_to_string()
    (tmp_path / "model.txt").write_text(text[:60])
    with pytest.raises(ModelError, match=r"^model.txt can't be read by LightGBM"):
        served(tmp_path)


def test_boosters_must_need_no_scikit_learn(tmp_path):
    """
    Memory and start-up: what a library merely supports isn't imported with it. An estimator that is unpickled in the same
    process afterwards is whole, and the booster goes on serving.
    """
    estimators = {
        "xgboost": fitted(xgboost.XGBClassifier(n_estimators=3, n_jobs=1)),
        "lightgbm": fitted(lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)),
    }
    for name, estimator in estimators.items():
        for folder in (f"{name}-booster", f"{name}-estimator"):
            (tmp_path / folder).mkdir()
        joblib.dump(estimator, tmp_path / f"{name}-estimator" / "model.joblib")
    estimators["xgboost"].save_model(tmp_path / "xgboost-booster" / "model.json")
    estimators["lightgbm"].booster_.save_model(tmp_path / "lightgbm-booster" / "model.txt")
    program = f"""
import sys
from pathlib import Path
import numpy as np
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
folder, rows = Path({str(tmp_path)!r}), np.ones((2, {WIDTH}))
answer = lambda model: model.predict(rows).columns["probabilities"]
boosters = [load_model(folder / (name + "-booster")) for name in ("xgboost", "lightgbm")]
print([name for name in ("sklearn", "pandas", "matplotlib", "skops") if name in sys.modules])
unpickling = LoadingSettings(unpickling=True)
estimators = [load_model(folder / (name + "-estimator"), settings=unpickling) for name in ("xgboost", "lightgbm")]
print("sklearn" in sys.modules, [np.allclose(answer(one), answer(other)) for one, other in zip(boosters, estimators)])
"""
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert found.stdout.split("\n")[:2] == ["[]", "True [True, True]"], found.stderr
