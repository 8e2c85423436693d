"""ONNX graphs: what is served is what ONNX Runtime says, for classifiers, regressors and networks."""

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.pretrained import WIDTH, fitted, rows


def converted(estimator, *, kind="Float", **options):
    """scikit-learn's estimator as a graph."""
    import skl2onnx
    from skl2onnx.common import data_types

    types = [("x", getattr(data_types, f"{kind}TensorType")([None, WIDTH]))]
    return skl2onnx.to_onnx(estimator, initial_types=types, options={id(estimator): options} if options else None)


def served(folder, graph, **settings):
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return load_model(folder, settings=LoadingSettings(**settings))


def graph_of(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize("zipmap", [True, False], ids=["maps", "tensor"])
@pytest.mark.parametrize("labels", [None, ["no", "perhaps", "yes"]], ids=["numbers", "names"])
def test_classifier_must_give_label_and_probabilities(tmp_path, zipmap, labels):
    """Converters write probabilities as maps or as a tensor; the answer is the same."""
    estimator = fitted(LogisticRegression(), 3, labels=labels)
    model = served(tmp_path, converted(estimator, zipmap=zipmap))
    assert (model.algorithm, model.feature_dim, model.fork_safe) == ("ONNX graph", WIDTH, False)
    columns = model.predict(rows()).columns
    assert list(columns) == ["predicted_label", "probabilities"]
    assert columns["predicted_label"].tolist() == estimator.predict(rows().astype(np.float32)).tolist()
    np.testing.assert_allclose(columns["probabilities"], estimator.predict_proba(rows()), rtol=1e-4, atol=1e-6)


def test_boosting_must_say_what_the_library_says(tmp_path):
    """Trees in a graph of float32."""
    estimator = fitted(GradientBoostingClassifier(n_estimators=10))
    model = served(tmp_path, converted(estimator), outputs=("probability", "labels"))
    columns = model.predict(rows()).columns
    np.testing.assert_allclose(columns["probability"], estimator.predict_proba(rows())[:, 1], rtol=1e-4, atol=1e-6)
    assert columns["labels"][0].tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["Float", "Double"])
def test_regressor_must_give_its_score(tmp_path, kind):
    """One output of one value a row is the score; float64 stays float64."""
    estimator = fitted(LinearRegression(), 0)
    model = served(tmp_path, converted(estimator, kind=kind))
    exactness = 1e-5 if kind == "Float" else 1e-12
    np.testing.assert_allclose(
        model.predict(rows()).columns["score"], estimator.predict(rows()), rtol=exactness, atol=1e-5
    )


def test_network_must_get_its_shape_and_answer_by_name(tmp_path):
    """Rows become n×2×3 where the graph says so; several outputs keep their names."""
    nodes = [
        helper.make_node("Add", ["image", "image"], ["double"]),
        helper.make_node("Flatten", ["double"], ["flat"]),
        helper.make_node("ReduceSum", ["flat", "axis"], ["total"], keepdims=1),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    outputs = [tensor("flat", TensorProto.FLOAT, ["n", 6]), tensor("total", TensorProto.FLOAT, ["n", 1])]
    graph = graph_of(nodes, [tensor("image", TensorProto.FLOAT, ["n", 2, 3])], outputs, [axis])
    model = served(tmp_path, graph)
    assert model.feature_dim == 6
    columns = model.predict(np.arange(12.0).reshape(2, 6)).columns
    assert columns["flat"].tolist() == [[0, 2, 4, 6, 8, 10], [12, 14, 16, 18, 20, 22]]
    assert columns["total"].tolist() == [30, 102]


def test_several_inputs_must_be_cut_from_the_row(tmp_path):
    """A graph with an input for each column of a table: values in the graph's order, in each input's type."""
    nodes = [
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["c", "a"], ["y"], axis=1),
    ]
    inputs = [tensor("a", TensorProto.FLOAT, ["n", 2]), tensor("b", TensorProto.INT64, ["n", 1])]
    model = served(tmp_path, graph_of(nodes, inputs, [tensor("y", TensorProto.FLOAT, ["n", 3])]))
    assert model.feature_dim == 3
    assert model.predict(np.array([[1.5, 2.5, 7.0]])).columns["score"].tolist() == [[7.0, 1.5, 2.5]]
    with pytest.raises(RowError, match="a value is no int64") as refused:
        model.predict(np.array([[1.5, 2.5, 7.0], [1.0, 1.0, 0.5]]))
    assert refused.value.row == 1


def identity(shape, kind=TensorProto.FLOAT, out=None):
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph_of([node], [tensor("x", kind, shape)], [tensor("y", kind, out or shape)])


def test_fixed_batch_must_be_asked_row_by_row(tmp_path):
    """A graph exported for one row at a time takes any number of them."""
    model = served(tmp_path, identity([1, 3]))
    batch = np.arange(9.0).reshape(3, 3)
    assert model.predict(batch).columns["score"].tolist() == batch.tolist()


def test_unknown_width_must_be_none(tmp_path):
    """A graph that takes any number of values says so; there is no row to test it with."""
    model = served(tmp_path, identity(["n", "d"]))
    assert (model.feature_dim, len(model.self_test_rows())) == (None, 0)
    assert model.predict(np.ones((2, 4))).columns["score"].tolist() == [[1.0] * 4] * 2


def test_value_beyond_float32_must_be_refused_by_row(tmp_path):
    """What doesn't fit is no infinity."""
    model = served(tmp_path, identity(["n", 2]))
    with pytest.raises(RowError, match="a value is no float32") as refused:
        model.predict(np.array([[1.0, 2.0], [1e300, 1.0]]))
    assert refused.value.row == 1


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (identity(["n", 1], TensorProto.STRING), r"input 'x' is tensor\(string\)"),
        (identity([]), "first axis must be rows"),
        (identity(["n", "a", "b"]), "one size must be known"),
    ],
    ids=["strings", "scalar", "shape"],
)
def test_graph_of_another_shape_must_be_refused(tmp_path, graph, words):
    """The message names input and shape."""
    with pytest.raises(ModelError, match=words):
        served(tmp_path, graph)


def test_file_that_is_no_graph_must_be_refused(tmp_path):
    """One line that names the file."""
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"^model.onnx can't be read by ONNX Runtime"):
        load_model(tmp_path, settings=LoadingSettings())


def test_score_of_another_kind_must_be_refused(tmp_path):
    """A graph has no raw scores beside its outputs."""
    with pytest.raises(ModelError, match="has no raw_score"):
        served(tmp_path, identity(["n", 2]), outputs=("raw_score",))


def test_serving_a_graph_must_import_no_other_library(tmp_path):
    """Memory and start-up: an ONNX graph needs neither scikit-learn, SciPy, XGBoost nor pandas."""
    served(tmp_path, identity(["n", 2]))
    program = (
        "import sys; from pathlib import Path; from sagebrush_server.models.loading import load_model;"
        f"load_model(Path({str(tmp_path)!r})); print([m for m in ('sklearn', 'scipy', 'xgboost', 'pandas', 'lightgbm', 'onnx', 'skops') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
