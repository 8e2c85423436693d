"""PCA: exact and sketched, over blocks; the answer in SageMaker's form and order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA, TruncatedSVD

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.algorithms.pca.prediction import PcaPredictor, load
from sagebrush_server.algorithms.pca.summaries import Covariance, Sketch
from sagebrush_server.algorithms.pca.training import train
from sagebrush_server.codecs.negotiation import encoder_for
from sagebrush_server.errors import ClientError
from tests.unit.server.algorithm_jobs import job_of, reported, saved, write_csv


def stretched(rows, *, width=6, seed=0, offset=100.0):
    """Rows with a spread of its own along each of `width` hidden directions, far from 0."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(width, width)))
    return random.normal(size=(rows, width)) * 3.0 ** -np.arange(width) @ turn + offset


def trained(folder, rows, **hyperparameters):
    job = job_of(
        folder, [write_csv(folder, "train", rows)], feature_dim=rows.shape[1], mini_batch_size=50, **hyperparameters
    )
    train(job)
    return load(job.model_folder)


def same_up_to_sign(ours, theirs, *, tolerance):
    """Both are n×k projections; a direction may point either way."""
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=tolerance)


@pytest.mark.parametrize("subtract_mean", ["true", "false"])
def test_projections_must_equal_scikit_learns_strongest_last(tmp_path, capsys, subtract_mean):
    """In blocks, far from 0: scikit-learn's projections (1e-5, the CSV's digits), weakest component first."""
    rows = stretched(730, offset=100.0 if subtract_mean == "true" else 1.0)
    model = trained(tmp_path, rows, num_components=3, subtract_mean=subtract_mean)
    theirs = PCA(3) if subtract_mean == "true" else TruncatedSVD(3, algorithm="arpack")
    expected = theirs.fit_transform(rows)[:, ::-1]
    same_up_to_sign(model.predict(rows).columns["projection"], expected, tolerance=1e-5)
    np.testing.assert_allclose(model.saved.arrays["singular_values"], theirs.singular_values_[::-1], rtol=1e-6)
    assert reported(capsys)["train", "explained_variance_ratio"][0] > 0.98
    model.check_self_test(model.predict(model.self_test_rows()))


def test_the_sketch_must_find_what_stands_out(tmp_path):
    """Mode randomized: the strongest of its directions is scikit-learn's (cosine above 0.95), from one pass."""
    rows = stretched(2000, width=8)
    model = trained(tmp_path, rows, num_components=2, algorithm_mode="randomized", extra_components=60)
    strongest = PCA(1).fit(rows).components_[0]
    assert abs(model.saved.arrays["components"][-1] @ strongest) > 0.95
    vectors = model.saved.arrays["components"]
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=1e-9)


def test_the_sketch_must_get_better_with_more_extra_components():
    """`extra_components` buys accuracy: the singular value comes nearer to the true one (mean over ten seeds)."""
    rows = stretched(500, width=20)
    truth = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)[0]
    errors = []
    for size in (3, 100):
        found = []
        for seed in range(10):
            sketch = Sketch(20, size=size, reference=rows[0], rng=np.random.default_rng(seed))
            sketch.add(rows)
            found.append(abs(sketch.components(1, subtract_mean=True).singular_values[0] / truth - 1))
        errors.append(np.mean(found))
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("subtract_mean", [True, False])
@pytest.mark.parametrize("kind", ["regular", "randomized"])
def test_summaries_must_not_depend_on_the_reference(kind, subtract_mean):
    """The point that sums are taken around changes digits, not the result."""
    rows, found = stretched(200, width=4, offset=2.0), []
    for reference in (np.zeros(4), rows.mean(axis=0)):
        if kind == "regular":
            summary = Covariance(4, reference=reference)
        else:
            summary = Sketch(4, size=30, reference=reference, rng=np.random.default_rng(3))
        for start in range(0, 200, 64):
            summary.add(rows[start : start + 64])
        np.testing.assert_allclose(summary.mean(), rows.mean(axis=0))
        found.append(summary.components(2, subtract_mean=subtract_mean))
    np.testing.assert_allclose(found[0].vectors, found[1].vectors, atol=1e-6)
    np.testing.assert_allclose(found[0].singular_values, found[1].singular_values, rtol=1e-6)


def test_summaries_of_several_hosts_must_add_up():
    """The sums of two halves give the components of the whole."""
    rows = stretched(300, width=5)
    halves = [Covariance(5, reference=rows[0]) for _ in range(2)]
    for half, part in zip(halves, np.split(rows, 2), strict=True):
        half.add(part)
    halves[0].replace([a + b for a, b in zip(halves[0].sums(), halves[1].sums(), strict=True)])
    whole = Covariance(5, reference=rows[0])
    whole.add(rows)
    ours, theirs = (one.components(3, subtract_mean=True) for one in (halves[0], whole))
    np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-9)


def predictor(vectors, mean):
    count, width = vectors.shape
    arrays = {"components": vectors, "mean": mean, "singular_values": np.ones(count)}
    return PcaPredictor(saved({"num_components": count}, arrays, width=width))


def test_answers_must_have_sagemakers_form():
    """The list is called `projections`, each entry has one `projection`."""
    answer = predictor(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])).predict(np.array([[3.0, 2.0]]))
    encoder = encoder_for("application/json", default="application/json")
    assert encoder.encode(answer, counts=[1]) == [b'{"projections":[{"projection":[2.0,2.0]}]}']


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 20), st.integers(0, 99))
def test_answers_must_equal_scikit_learns_transform(count, width, rows, seed):
    """Over random models and rows: scikit-learn's own transform with the same components (1e-9)."""
    random = np.random.default_rng(seed)
    fitted = PCA(min(count, width)).fit(random.normal(size=(50, width)))
    asked = random.normal(size=(rows, width)) * 100
    answer = predictor(fitted.components_.copy(), fitted.mean_).predict(asked)
    np.testing.assert_allclose(answer.columns["projection"], fitted.transform(asked), rtol=1e-9, atol=1e-9)


def test_rows_must_be_refused_where_they_overflow():
    """The row whose projection is infinite is named."""
    with pytest.raises(RowError) as problem:
        predictor(np.ones((1, 2)), np.zeros(2)).predict(np.array([[1.0, 1.0], [1.7e308, 1.7e308]]))
    assert problem.value.row == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_components": "7"}, "num_components=7: it must not be above feature_dim=6"),
        ({"algorithm_mode": "random"}, "must be regular or randomized"),
        ({"extra_components": "-2"}, "must be -1 or a whole number of at least 0"),
        ({"extra_components": "5"}, "extra_components has an effect only with algorithm_mode=randomized"),
        ({"epochs": "2"}, "epochs='2' can't be honoured: one pass"),
        ({"subtract_mean": "maybe"}, "must be true or false"),
    ],
)
def test_what_the_user_can_mend_must_be_named(tmp_path, changes, says):
    """Each mistake is a ClientError that names the hyperparameter and what would be right."""
    with pytest.raises(ClientError, match=says):
        trained(tmp_path, stretched(20), **{"num_components": 2, **changes})


def test_values_too_large_must_be_refused(tmp_path):
    """Squares that overflow end training with a reason, not with components of NaN."""
    with pytest.raises(ClientError, match="values are too large for their squares"):
        trained(tmp_path, stretched(20) * 1e200, num_components=2)
