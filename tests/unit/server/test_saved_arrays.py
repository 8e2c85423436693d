"""Models that are arrays: what is saved is what is loaded, and a folder that isn't a model is refused with the reason."""

import json
import pickle

import numpy as np
import pytest

from sagebrush_server.algorithms.factorization_machines.prediction import MachinePredictor
from sagebrush_server.algorithms.kmeans.prediction import KMeansPredictor, load
from sagebrush_server.algorithms.knn import hyperparameters
from sagebrush_server.algorithms.knn.training import build
from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.algorithms.pca.prediction import PcaPredictor
from sagebrush_server.algorithms.random_cut_forest.forest import grow
from sagebrush_server.algorithms.random_cut_forest.training import _finish
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest, read_saved
from sagebrush_server.codecs.recordio import write_rows
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.loading import load_model
from tests.unit.server.algorithm_jobs import saved, sparse_rows

CENTRES = np.array([[0.0, 0.0], [3.0, 4.0]])


def kmeans(centres=CENTRES):
    rows = np.array([[3.0, 0.0], [1.0, 1.0]])
    facts, arrays = {"k": len(centres), "feature_dim": 2}, {"centres": centres}
    answer = KMeansPredictor(SavedModel(facts, arrays, SelfTest(rows, {}))).predict(rows)
    return SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer))


@pytest.fixture
def folder(tmp_path):
    kmeans().save(tmp_path, algorithm="kmeans")
    return tmp_path


def test_what_is_saved_must_be_loaded_to_the_bit(folder):
    """Arrays come back as they were, beside a model.json that people can read."""
    model = load_model(folder)
    np.testing.assert_array_equal(model.saved.arrays["centres"], CENTRES)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("centres.npy", "model.json", "self_test_closest_cluster.npy", "self_test_distance_to_cluster.npy"),
        "self_test_rows.npy",
    ]
    document = json.loads((folder / "model.json").read_text())
    assert document["algorithm"] == "kmeans"
    assert document["arrays"] == {"centres": [2, 2]}
    model.check_self_test(model.predict(model.self_test_rows()))


def test_an_answer_that_differs_from_trainings_must_be_told(folder):
    """The self-test compares every column, with a tolerance of 1e-6."""
    model = load(folder)
    answer = model.predict(model.self_test_rows())
    for name, change in (("closest_cluster", 1.0), ("distance_to_cluster", 1e-3)):
        wrong = Predictions({**answer.columns, name: answer.columns[name] + change})
        with pytest.raises(ValueError, match=f"another {name} than training had"):
            model.check_self_test(wrong)
    near = Predictions({**answer.columns, "distance_to_cluster": answer.columns["distance_to_cluster"] + 1e-8})
    model.check_self_test(near)


def rewrite(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def write_pickle(folder):
    (folder / "centres.npy").write_bytes(pickle.dumps(CENTRES))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "centres.npy").unlink(), r"centres\.npy is missing"),
        (lambda folder: np.save(folder / "centres.npy", np.full((2, 2), np.nan)), "centres holds a value that is not finite"),
        (lambda folder: np.save(folder / "centres.npy", np.zeros((3, 2))), r"centres has the shape \[3, 2\]"),
        (lambda folder: np.save(folder / "centres.npy", np.array([["a"]])), "holds no float64, int64 or uint8 values"),
        (lambda folder: np.save(folder / "centres.npy", np.zeros((2, 2), dtype=np.int64)), "centres is int64, expected float64"),
        (lambda folder: np.save(folder / "centres.npy", np.array([[{}]]), allow_pickle=True), r"centres\.npy is no file of plain numbers"),
        (write_pickle, r"centres\.npy is no file of plain numbers"),
        (lambda folder: (folder / "centres.npy").write_bytes(b""), r"centres\.npy is no file of plain numbers"),
        (lambda folder: rewrite(folder, format_version=2), "format_version 2; this server reads 1"),
        (lambda folder: rewrite(folder, k=3), "centres has the shape 2×2, not 3×2"),
        (lambda folder: rewrite(folder, k="2"), "k is '2'; it must be a whole number of at least 1"),
        (lambda folder: rewrite(folder, feature_dim=0), "feature_dim is 0"),
        (lambda folder: rewrite(folder, arrays={"../x": [1]}), "is no name of an array"),
        (lambda folder: rewrite(folder, arrays={}), "the array centres is missing"),
        (lambda folder: np.save(folder / "self_test_rows.npy", np.zeros((0, 2))), "there are no self-test rows"),
        (lambda folder: np.save(folder / "self_test_rows.npy", np.zeros((1, 3))), "the self-test rows have 3 values, not 2"),
    ],
)  # fmt: skip
def test_a_damaged_folder_must_be_refused_with_the_reason(folder, damage, says):
    """Nothing is unpickled, and each array's presence, kind, shape and values are checked."""
    damage(folder)
    with pytest.raises(ModelError, match=says):
        load_model(folder)


def test_another_algorithms_model_must_not_be_read(folder):
    """A loader reads its own algorithm's models only."""
    with pytest.raises(ValueError, match="the model is of kmeans, not of pca"):
        read_saved(folder, algorithm="pca")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"left": lambda left: np.zeros_like(left) + 1}, "a child that doesn't come after its parent"),
        ({"mass": lambda mass: mass * 0}, "a node holds no point"),
        ({"dimension": lambda dimension: dimension + 5}, "dimension holds a value outside 0 to 1"),
    ],
)
def test_a_damaged_forest_must_not_send_scoring_in_circles(tmp_path, changes, says):
    """Children come after their parents, or the model is refused."""
    random = np.random.default_rng(0)
    model = _finish(grow([random.normal(size=(8, 2)) for _ in range(50)], rng=random), rows=np.zeros((1, 2))).saved
    arrays = {name: changes.get(name, lambda array: array)(array) for name, array in model.arrays.items()}
    SavedModel(model.facts, arrays, model.self_test).save(tmp_path, algorithm="random-cut-forest")
    with pytest.raises(ModelError, match=says):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"starts": lambda starts: starts[::-1]}, "starts doesn't cut the points into lists"),
        ({"order": lambda order: order + 1}, "order holds a value outside 0 to 29"),
        ({"codes": lambda codes: codes + np.uint8(200)}, "codes holds a number that the codebooks don't have"),
    ],
)
def test_a_damaged_index_must_be_refused(tmp_path, changes, says):
    """Lists cover the points, and codes mean something."""
    given = {"feature_dim": "4", "k": "3", "predictor_type": "classifier", "sample_size": "30"}
    values = hyperparameters.read({**given, "index_type": "faiss.IVFPQ", "faiss_index_pq_m": "2"})
    random = np.random.default_rng(0)
    model = build(random.normal(size=(30, 4)), labels=np.zeros(30), settings=values, rng=random).saved
    arrays = {name: changes.get(name, lambda array: array)(array) for name, array in model.arrays.items()}
    SavedModel(model.facts, arrays, model.self_test).save(tmp_path, algorithm="knn")
    with pytest.raises(ModelError, match=says):
        load_model(tmp_path)


# --- over HTTP ---


def machine():
    arrays = {"linear": np.array([1.0, 2.0, 0.0]), "factors": np.array([[1.0], [1.0], [0.0]])}
    facts = {"predictor_type": "binary_classifier", "num_factors": 1, "bias": -6.0}
    return MachinePredictor(saved(facts, arrays, width=3))


def components():
    arrays = {"components": np.eye(2), "mean": np.zeros(2), "singular_values": np.ones(2)}
    return PcaPredictor(saved({"num_components": 2}, arrays, width=2))


def neighbours():
    given = {"feature_dim": "2", "k": "2", "predictor_type": "classifier", "sample_size": "3"}
    points, labels = np.array([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]]), np.array([0.0, 1.0, 1.0])
    return build(points, labels=labels, settings=hyperparameters.read(given), rng=np.random.default_rng(0))


def forest():
    return _finish(grow([np.zeros((3, 2))] * 50, rng=np.random.default_rng(0)), rows=np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (
            lambda: KMeansPredictor(kmeans()),
            b'{"instances":[{"features":[3,0]}]}',
            b'{"predictions":[{"closest_cluster":0.0,"distance_to_cluster":3.0}]}',
        ),
        (components, b'{"instances":[[1,2],[3,4]]}', b'{"projections":[{"projection":[1.0,2.0]},{"projection":[3.0,4.0]}]}'),
        # Three equal points and one more: a balanced tree of 4, log2(4) deep, scaled by log2(4).
        (forest, b'{"instances":[{"data":{"features":{"values":[0,0]}}}]}', b'{"scores":[{"score":1.0}]}'),
        (neighbours, b'{"instances":[{"features":[3,3]}]}', b'{"predictions":[{"predicted_label":0.0}]}'),
        # -6 + 2 + 2 · 2 + 2 · 2 · 1
        (machine, b'{"features":[2,2,7]}', b'{"predictions":[{"score":0.9820137900379085,"predicted_label":1}]}'),
        (
            machine,
            b'{"instances":[{"data":{"features":{"keys":[0,1],"shape":[3],"values":[2,2]}}}]}',
            b'{"predictions":[{"score":0.9820137900379085,"predicted_label":1}]}',
        ),
    ],
)  # fmt: skip
def test_answers_over_http_must_be_sagemakers_to_the_letter(start_server, model, body, expected):
    """The server's own way from JSON to JSON gives the bytes that SageMaker documents."""
    client = start_server(model).client()
    reply = client.invoke(body, "application/json")
    assert (reply.status, reply.body) == (200, expected)


def test_verbose_must_show_the_neighbours(start_server):
    """`Accept: application/json; verbose=true` adds distances and labels, nearest first."""
    client = start_server(neighbours).client()
    reply = client.invoke(b"3,4", Accept="application/json; verbose=true")
    assert reply.json == {"predictions": [{"predicted_label": 0.0, "distances": [0.0, 5.0], "labels": [1.0, 0.0]}]}


def test_sparse_records_must_be_answered(start_server):
    """Factorization machines take sparse RecordIO-protobuf as it is."""
    import io

    stream = io.BytesIO()
    write_rows(stream, features=sparse_rows(np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 0.0]])))
    reply = start_server(machine).client().invoke(stream.getvalue(), "application/x-recordio-protobuf")
    assert [entry["predicted_label"] for entry in reply.json["predictions"]] == [1, 0]


def test_a_row_that_cant_be_answered_must_be_named(start_server):
    """A row whose distance overflows is a 400 with its number, not an infinite distance."""
    reply = start_server(lambda: KMeansPredictor(kmeans())).client().invoke(b"1,1\n1e200,1")
    assert reply.status == 400
    assert b"row 2" in reply.body
