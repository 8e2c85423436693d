"""K-means: mini-batches, Lloyd's method, the answer in SageMaker's form."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from sagebrush_server.algorithms.kmeans.lloyd import best_of, initial_centres, lloyd
from sagebrush_server.algorithms.kmeans.prediction import KMeansPredictor, load
from sagebrush_server.algorithms.kmeans.training import Centres, train
from sagebrush_server.algorithms.model import RowError
from sagebrush_server.codecs.negotiation import encoder_for
from sagebrush_server.errors import ClientError
from sagebrush_server.training.collective import Collective
from tests.unit.server.algorithm_jobs import job_of, reported, saved, write_csv

SEVERAL = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def blobs(rows, *, seed=0, spread=0.5):
    random = np.random.default_rng(seed)
    return SEVERAL[np.sort(random.integers(0, 4, rows))] + random.normal(scale=spread, size=(rows, 2))


def predictor(centres):
    return KMeansPredictor(saved({"k": len(centres)}, {"centres": centres}, width=centres.shape[1]))


@pytest.mark.parametrize("more", [{}, {"init_method": "kmeans++", "epochs": 3}, {"extra_center_factor": 5}])
def test_training_must_find_the_blobs_and_report_sagemakers_metrics(tmp_path, capsys, more):
    """The centres of well separated blobs are found although the file is sorted by blob; msd and ssd are logged."""
    rows = blobs(2000)
    channels = [write_csv(tmp_path, "train", rows), write_csv(tmp_path, "test", blobs(300, seed=1))]
    job = job_of(tmp_path, channels, k=4, feature_dim=2, mini_batch_size=200, eval_metrics='["msd","ssd"]', **more)
    train(job)
    model = load(job.model_folder)
    assert cdist(SEVERAL, model.saved.arrays["centres"]).min(axis=1).max() < 0.3
    metrics = reported(capsys)
    assert metrics["test", "ssd"][0] == pytest.approx(metrics["test", "msd"][0] * 300)
    assert 0.3 < metrics["test", "msd"][0] < 0.7
    assert len(metrics["train", "msd"]) == more.get("epochs", 1)
    model.check_self_test(model.predict(model.self_test_rows()))


def test_answers_must_be_floats_in_sagemakers_form():
    """`closest_cluster` and `distance_to_cluster` are floats, the distance is not squared."""
    answer = predictor(SEVERAL).predict(np.array([[10.0, 3.0]]))
    encoder = encoder_for("application/json", default="application/json")
    expected = b'{"predictions":[{"closest_cluster":1.0,"distance_to_cluster":3.0}]}'
    assert encoder.encode(answer, counts=[1]) == [expected]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 40), st.sampled_from([0.0, 1e6]), st.integers(0, 99))
def test_answers_must_equal_the_plain_distances(k, width, rows, offset, seed):
    """Over random models and rows, also far from 0: no centre is nearer (1e-9 of the size), the distance is exact."""
    random = np.random.default_rng(seed)
    centres, asked = (random.normal(size=(count, width)) + offset for count in (k, rows))
    answer = predictor(centres).predict(asked)
    plain = cdist(asked, centres)
    chosen = plain[np.arange(rows), answer.columns["closest_cluster"].astype(int)]
    np.testing.assert_allclose(answer.columns["distance_to_cluster"], chosen, rtol=1e-9)
    np.testing.assert_allclose(chosen, plain.min(axis=1), rtol=1e-6)


def test_rows_must_be_refused_where_no_distance_can_be_told():
    """A value whose square overflows is the row's fault, and the row is named."""
    with pytest.raises(RowError) as problem:
        predictor(SEVERAL).predict(np.array([[1.0, 1.0], [1e200, 1.0]]))
    assert problem.value.row == 1


def test_lloyds_method_must_end_where_scikit_learns_does():
    """From the same start, on weighted points, to the end: the same centres as scikit-learn's KMeans (1e-9)."""
    random = np.random.default_rng(5)
    points, weights = random.normal(size=(300, 4)), random.random(300) + 0.1
    start = initial_centres(points, weights=weights, count=6, method="kmeans++", rng=random)
    ours = lloyd(points, weights=weights, start=start, max_iterations=300, tolerance=0.0)
    theirs = KMeans(6, init=start, n_init=1, tol=0.0, max_iter=300).fit(points, sample_weight=weights)
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, rtol=1e-9, atol=1e-9)
    assert ours.loss == pytest.approx(theirs.inertia_)


def test_the_best_of_several_starts_must_win():
    """Over ten seeds, trials beside the first one never do harm and are worth something."""

    def losses(trials):
        rest = {"count": 4, "method": "random", "trials": trials, "max_iterations": 300, "tolerance": 1e-4}
        points = blobs(200)
        runs = (best_of(points, weights=np.ones(200), rng=np.random.default_rng(seed), **rest) for seed in range(10))
        return np.array([run.loss for run in runs])

    assert (losses(10) <= losses(1)).all()
    assert losses(10).sum() < losses(1).sum()


def test_lloyds_method_must_give_idle_centres_work():
    """A centre that no point is nearest to moves to a point, so that no cluster stays empty."""
    points = np.array([[0.0], [1.0], [10.0]])
    start = np.array([[0.4], [-1e3], [-2e3]])
    found = lloyd(points, weights=np.ones(3), start=start, max_iterations=50, tolerance=0.0)
    assert sorted(found.centres.ravel()) == [0.0, 1.0, 10.0]


def test_first_centres_must_be_different_points():
    """Both methods choose no point twice, also where all points are equal."""
    for points in (np.arange(6.0).reshape(6, 1), np.ones((6, 1))):
        for method in ("random", "kmeans++"):
            rng = np.random.default_rng(0)
            chosen = initial_centres(points, weights=np.ones(6), count=6, method=method, rng=rng)
            assert sorted(chosen.ravel()) == sorted(points.ravel())


def test_earlier_rows_must_weigh_less_with_a_half_life():
    """Without a half-life a centre is the mean of all its rows; with one, rows of one half-life ago count half."""
    for half_life, expected in ((0, 1.0), (2, 4 / 3)):
        centres = Centres(np.zeros((1, 1)), np.zeros(1))
        centres.move(np.zeros((2, 1)), half_life=half_life, collective=Collective())
        centres.move(np.full((2, 1), 2.0), half_life=half_life, collective=Collective())
        assert centres.places[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": "0"}, "hyperparameter k='0': must be a whole number of at least 1"),
        ({"eval_metrics": '["mse"]'}, "hyperparameter eval_metrics=.*must be a JSON list of msd and ssd"),
        ({"local_lloyd_tol": "2"}, "must be a number from 0 to 1"),
        ({"init_method": "k-means++"}, "must be random or kmeans"),
        ({"force_dense": "false"}, "force_dense='false' can't be honoured: sparse rows are made dense here"),
        ({"half_life_time_unit": "s"}, "unknown hyperparameter half_life_time_unit"),
        ({"k": "41"}, "k=41: channel train has 40 rows"),
        ({"extra_center_factor": "11"}, "k=4 times extra_center_factor=11: channel train has 40 rows"),
        ({"feature_dim": "3"}, "channel train: rows have 2 features; feature_dim says 3$"),
    ],
)
def test_what_the_user_can_mend_must_be_named(tmp_path, changes, says):
    """Each mistake is a ClientError that names the hyperparameter and what would be right."""
    job = job_of(tmp_path, [write_csv(tmp_path, "train", blobs(40))], **{"k": 4, "feature_dim": 2, **changes})
    with pytest.raises(ClientError, match=says):
        train(job)


def test_a_first_column_that_is_dropped_must_be_told(tmp_path):
    """CSV without label_size has a label, as with SageMaker; where the width then doesn't fit, the message says so."""
    channel = replace(write_csv(tmp_path, "train", blobs(40)), content_type="text/csv")
    with pytest.raises(
        ClientError, match=r"rows have 1 features; feature_dim says 2 \(the first column was taken for a label"
    ):
        train(job_of(tmp_path, [channel], k=4, feature_dim=2))


def test_channels_must_be_known(tmp_path):
    """A channel the algorithm has no use for is refused, not ignored."""
    channels = [write_csv(tmp_path, name, blobs(40)) for name in ("train", "validation")]
    with pytest.raises(ClientError, match="kmeans knows the channels train and test, not validation"):
        train(job_of(tmp_path, channels, k=4, feature_dim=2))


def test_training_must_be_repeatable_and_stop_when_told(tmp_path):
    """The same seed gives the same centres; after SIGTERM the first block alone is learned from, and said to be."""
    channels = [write_csv(tmp_path, "train", blobs(400))]
    models = []
    for seed in (1, 1, 2):
        job = job_of(tmp_path, channels, seed=seed, k=4, feature_dim=2, mini_batch_size=50, epochs=2)
        train(job)
        models.append(load(job.model_folder).saved.arrays["centres"].tolist())
    assert models[0] == models[1] != models[2]
    stopped = job_of(tmp_path, channels, k=4, feature_dim=2, mini_batch_size=50)
    stopped.stop.set()
    train(stopped)
    assert stopped.cut_short.is_set()
    assert load(stopped.model_folder).predict(SEVERAL).columns["closest_cluster"].shape == (4,)
