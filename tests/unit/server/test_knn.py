"""K-NN: sample, projections, indexes, votes, the answer in SageMaker's form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sagebrush_server.algorithms.knn import hyperparameters
from sagebrush_server.algorithms.knn.prediction import load
from sagebrush_server.algorithms.knn.reduction import HadamardProjection, SignProjection
from sagebrush_server.algorithms.knn.training import build, train
from sagebrush_server.algorithms.model import RowError
from sagebrush_server.codecs.negotiation import encoder_for
from sagebrush_server.errors import ClientError
from tests.unit.server.algorithm_jobs import job_of, reported, write_csv

REQUIRED = {"feature_dim": "auto", "k": "3", "predictor_type": "classifier", "sample_size": "1000"}


def built(points, labels, *, seed=0, **given):
    values = hyperparameters.read({**REQUIRED, **{name: str(value) for name, value in given.items()}})
    return build(points, labels=labels, settings=values, rng=np.random.default_rng(seed))


def labelled(rows, *, width=4, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows).astype(float)
    return random.normal(size=(rows, width)) + 4 * labels[:, np.newaxis], labels


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from(["classifier", "regressor"]),
    st.sampled_from([0.0, 1e5]),
    st.integers(0, 99),
)
def test_answers_must_equal_scikit_learns(points, width, rows, kind, offset, seed):
    """Over random models and rows, also far from 0: the vote exactly, the mean and the distances within 1e-9."""
    random = np.random.default_rng(seed)
    known, asked = (random.normal(size=(count, width)) + offset for count in (points, rows))
    labels = random.integers(0, 3, points).astype(float)
    k = int(random.integers(1, points + 1))
    answer = built(known, labels, k=k, predictor_type=kind).predict(asked)
    theirs = (KNeighborsClassifier if kind == "classifier" else KNeighborsRegressor)(k, algorithm="kd_tree")
    theirs.fit(known, labels)
    np.testing.assert_allclose(answer.columns["predicted_label"], theirs.predict(asked), rtol=1e-9)
    np.testing.assert_allclose(answer.more["distances"], theirs.kneighbors(asked)[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("metric", "distance"),
    [
        ("INNER_PRODUCT", lambda rows, points: -(rows @ points.T)),
        ("COSINE", lambda rows, points: cdist(rows, points, "cosine")),
    ],
)
def test_other_metrics_must_order_by_their_distance(metric, distance):
    """Smaller is nearer: minus the inner product, 1 minus the cosine; nearest first."""
    points, labels = labelled(60)
    asked, _ = labelled(10, seed=3)
    answer = built(points, labels, index_metric=metric, k=5).predict(asked)
    expected = np.sort(distance(asked, points), axis=1)[:, :5]
    np.testing.assert_allclose(answer.more["distances"], expected, rtol=1e-9, atol=1e-12)


def test_equal_distances_must_be_told_apart_the_same_way_every_time():
    """Of many equal points the first ones are the neighbours, alone and in company; an even vote is the smaller label's."""
    points = np.zeros((50, 3))
    labels = np.array([2.0, 1.0, 1.0, 2.0] + [0.0] * 46)
    model = built(points, labels, k=4)
    for rows in (np.ones((1, 3)), np.ones((7, 3))):
        answer = model.predict(rows)
        assert answer.more["labels"].tolist() == [[2.0, 1.0, 1.0, 2.0]] * len(rows)
        assert answer.columns["predicted_label"].tolist() == [1.0] * len(rows)


def test_answers_must_have_sagemakers_form():
    """`predicted_label` is a float; distances and labels come only with verbose=true."""
    answer = built(np.array([[0.0], [3.0], [9.0]]), np.array([0.0, 1.0, 1.0]), k=2).predict(np.array([[4.0]]))
    encoder = encoder_for("application/json", default="application/json")
    assert encoder.encode(answer, counts=[1]) == [b'{"predictions":[{"predicted_label":0.0}]}']
    assert answer.more["distances"].tolist() == [[1.0, 4.0]]
    assert answer.more["labels"].tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    "index",
    [
        {"index_type": "faiss.IVFFlat"},
        {"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": 7, "index_metric": "COSINE"},
        {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 3},
    ],
)
def test_indexes_of_lists_must_find_most_neighbours(index):
    """Of the 10 true neighbours at least 8 are found on average (0.6 of them with codes); all distances are in order."""
    points, labels = labelled(900, width=8)
    asked, _ = labelled(60, width=8, seed=9)
    metric = {"index_metric": index.get("index_metric", "L2")}
    # With k different labels, labels tell which points were found.
    numbered = np.arange(900.0)
    true = built(points, numbered, k=10, **metric).predict(asked).more["labels"]
    found = built(points, numbered, k=10, **index).predict(asked)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(true, found.more["labels"], strict=True)])
    assert recall > (0.6 if "faiss_index_pq_m" in index else 0.8)
    assert (np.diff(found.more["distances"], axis=1) >= 0).all()
    if metric["index_metric"] == "L2":
        answer = built(points, labels, k=10, **index).predict(points)
        assert (answer.columns["predicted_label"] == labels).mean() > 0.97


def test_lists_must_be_searched_until_k_points_are_found():
    """With k as large as the sample every list is searched, and every point found."""
    points, labels = labelled(30)
    for index in ({"index_type": "faiss.IVFFlat"}, {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 2}):
        found = built(points, np.arange(30.0), k=30, faiss_index_ivf_nlists=10, **index).predict(points[:2])
        assert [sorted(row) for row in found.more["labels"].tolist()] == [list(range(30))] * 2
        assert len(labels) == 30


def test_codes_must_give_nearly_the_true_distance():
    """With as many codes as points nothing is lost: product quantisation gives the exact distances (1e-6)."""
    points, _ = labelled(40, width=5)
    index = {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 2, "faiss_index_ivf_nlists": 1}
    found = built(points, np.arange(40.0), k=40, **index).predict(points[:3])
    np.testing.assert_allclose(found.more["distances"], np.sort(cdist(points[:3], points), axis=1), atol=1e-6)


def test_projections_must_be_what_the_papers_say():
    """`sign` is a product with signs, `fjlt` chosen rows of the Hadamard matrix after random signs."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(5, 6))
    signs = np.sign(random.normal(size=(6, 4)))
    np.testing.assert_allclose(SignProjection(signs)(rows), rows @ signs / 2)
    chosen = np.array([1, 4, 7])
    padded = np.hstack((rows * signs[:, 0], np.zeros((5, 2))))
    expected = (padded @ hadamard(8))[:, chosen] / np.sqrt(3)
    np.testing.assert_allclose(HadamardProjection(signs[:, 0], chosen=chosen)(rows), expected)


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_projections_must_keep_distances_on_average(kind):
    """Squared distances keep their mean (10 %, over 300 pairs), which is what the neighbours are found by."""
    points, labels = labelled(60, width=50)
    reduced = built(points, labels, dimension_reduction_type=kind, dimension_reduction_target=40, k=1).saved.arrays[
        "index_points"
    ]
    assert reduced.shape == (60, 40)
    ratio = (cdist(reduced, reduced) ** 2).sum() / (cdist(points, points) ** 2).sum()
    assert abs(ratio - 1) < 0.1


@pytest.mark.parametrize(("kind", "metric"), [("classifier", "accuracy"), ("regressor", "mse")])
def test_training_must_sample_and_report_sagemakers_metric(tmp_path, capsys, kind, metric):
    """A sample of the train channel answers the test channel; accuracy or mse is logged."""
    points, labels = labelled(500)
    test, truth = labelled(80, seed=1)
    channels = [
        write_csv(tmp_path, "train", points, labels=labels),
        write_csv(tmp_path, "test", test, labels=truth),
    ]
    job = job_of(tmp_path, channels, feature_dim=4, k=5, predictor_type=kind, sample_size=200, mini_batch_size=64)
    train(job)
    model = load(job.model_folder)
    assert model.saved.facts["points"] == 200
    value = reported(capsys)["test", metric]
    assert value[0] > 0.95 if kind == "classifier" else value[0] < 0.1
    model.check_self_test(model.predict(model.self_test_rows()))


@pytest.mark.parametrize(
    "index",
    [
        {"index_metric": "COSINE", "dimension_reduction_type": "sign", "dimension_reduction_target": 3},
        {"index_type": "faiss.IVFFlat", "dimension_reduction_type": "fjlt", "dimension_reduction_target": 5},
        {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4},
    ],
)
def test_saved_indexes_must_answer_as_before(tmp_path, index):
    """Every kind of index and projection gives the same answer after it was saved and loaded, to the bit."""
    points, labels = labelled(100, width=6)
    asked, _ = labelled(20, width=6, seed=4)
    model = built(points, labels, predictor_type="regressor", **index)
    model.saved.save(tmp_path, algorithm="knn")
    again = load(tmp_path)
    for name in ("distances", "labels"):
        np.testing.assert_array_equal(again.predict(asked).more[name], model.predict(asked).more[name])
    again.check_self_test(again.predict(again.self_test_rows()))


def test_rows_must_be_refused_where_no_distance_can_be_told():
    """The row whose distances overflow is named, with every kind of index."""
    points, labels = labelled(30)
    rows = np.zeros((2, 4))
    rows[1] = 1.7e308
    for index in ({}, {"index_type": "faiss.IVFFlat"}, {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 2}):
        with pytest.raises(RowError) as problem:
            built(points, labels, **index).predict(rows)
        assert problem.value.row == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": "1001"}, "k=1001: it must not be above sample_size=1000"),
        (
            {"dimension_reduction_type": "sign"},
            "dimension_reduction_type and dimension_reduction_target belong together",
        ),
        (
            {"dimension_reduction_type": "sign", "dimension_reduction_target": "4", "feature_dim": "4"},
            "dimension_reduction_target=4: it must be below feature_dim=4",
        ),
        ({"index_type": "faiss.IVFPQ"}, "faiss_index_pq_m is required with index_type=faiss.IVFPQ"),
        ({"faiss_index_pq_m": "2"}, "faiss_index_pq_m has an effect only with index_type=faiss.IVFPQ"),
        ({"index_type": "faiss.IVFPQ", "faiss_index_pq_m": "5"}, "faiss_index_pq_m='5': must be one of 1, 2, 3, 4, 8"),
        (
            {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": "2", "index_metric": "COSINE"},
            "index_metric='COSINE': with index_type=faiss.IVFPQ it must be L2",
        ),
        ({"faiss_index_ivf_nlists": "9"}, "faiss_index_ivf_nlists has an effect only with index_type=faiss.IVFFlat"),
        ({"predictor_type": "oracle"}, "must be classifier or regressor"),
    ],
)
def test_hyperparameters_that_contradict_must_be_refused(changes, says):
    """Each mistake is a ClientError that names the hyperparameter and what would be right."""
    with pytest.raises(ClientError, match=says):
        hyperparameters.read({**REQUIRED, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": 21}, "k=21: channel train has only 20 rows"),
        (
            {"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": 21},
            "must not be above the 20 points of the sample",
        ),
        (
            {"dimension_reduction_type": "sign", "dimension_reduction_target": 4},
            "dimension_reduction_target=4: it must be below the 4 features",
        ),
    ],
)
def test_what_the_data_dont_allow_must_be_refused(tmp_path, changes, says):
    """What only the data can tell is a ClientError too."""
    points, labels = labelled(20)
    channel = write_csv(tmp_path, "train", points, labels=labels)
    with pytest.raises(ClientError, match=says):
        train(job_of(tmp_path, [channel], **{**REQUIRED, **changes}))
