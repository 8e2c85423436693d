"""Random cut forest: the trees, the score, what it finds, the answer in SageMaker's form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.algorithms.random_cut_forest.forest import grow
from sagebrush_server.algorithms.random_cut_forest.prediction import load
from sagebrush_server.algorithms.random_cut_forest.training import deal, quality, train
from sagebrush_server.algorithms.reservoir import Reservoir
from sagebrush_server.codecs.negotiation import encoder_for
from sagebrush_server.errors import ClientError
from tests.unit.server.algorithm_jobs import job_of, reported, write_csv


def mixed(rows, *, anomalies, seed=0):
    """Two dense clusters, and a few rows far from both; labels 1 for those."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 3)) * 0.3 + np.where(random.random((rows, 1)) < 0.5, -2.0, 2.0)
    labels = np.zeros(rows)
    odd = random.choice(rows, size=anomalies, replace=False)
    labels[odd] = 1
    features[odd] = random.uniform(-12, 12, size=(anomalies, 3)) * [1, 1, 3]
    return features, labels


def depths_by_insertion(points, row, *, rng):
    """Put a row into one tree by growing a tree of the points and the row; return the depth of its leaf."""
    table, depth = np.vstack((points, row)), 0
    mine = len(points)
    while True:
        low, high = table.min(axis=0), table.max(axis=0)
        if (high == low).all():
            return depth + np.log2(len(table))
        drawn = rng.random() * (high - low).sum()
        edges = np.cumsum(high - low)
        dimension = int(np.searchsorted(edges, drawn, side="right"))
        cut = low[dimension] + drawn - (edges[dimension - 1] if dimension else 0.0)
        side = table[:, dimension] <= cut
        keep = side == side[mine]
        mine, table = int(keep[:mine].sum()), table[keep]
        depth += 1


@pytest.mark.parametrize("row", [[0.1, 0.2], [9.0, -9.0], [1.0, 1.0]])
def test_the_score_must_be_the_expected_one_over_the_depth_of_the_inserted_row(row):
    """By the paper, a tree with the row put in is a tree of both: the mean over many trees agrees (4 standard errors)."""
    rng = np.random.default_rng(1)
    points = np.vstack((rng.normal(size=(14, 2)), [[1.0, 1.0], [1.0, 1.0]]))
    row = np.array(row)
    forest = grow([points] * 4000, rng=rng)
    ours = forest.scores(row[np.newaxis])[0] / np.log2(17)
    plain = np.array([1.0 / max(depths_by_insertion(points, row, rng=rng), 1.0) for _ in range(2000)])
    assert abs(ours - plain.mean()) < 4 * plain.std() / np.sqrt(2000) + 0.003


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_trees_must_hold_every_point_once(points, width, trees, coarse, seed):
    """Leaves are points, boxes contain their children's, the points of a node are those of its children."""
    random = np.random.default_rng(seed)
    samples = [random.normal(size=(points, width)) for _ in range(trees)]
    if coarse:
        samples = [np.round(sample) for sample in samples]
    forest = grow(samples, rng=random)
    for root, sample in enumerate(samples):
        leaves, stack = [], [root]
        while stack:
            node = stack.pop()
            child = forest.left[node]
            if child == 0:
                assert (forest.low[node] == forest.high[node]).all()
                leaves += [tuple(forest.low[node])] * forest.mass[node]
                continue
            assert forest.mass[node] == forest.mass[child] + forest.mass[child + 1]
            np.testing.assert_array_equal(forest.low[node], forest.low[[child, child + 1]].min(axis=0))
            np.testing.assert_array_equal(forest.high[node], forest.high[[child, child + 1]].max(axis=0))
            dimension = forest.dimension[node]
            assert forest.high[child, dimension] <= forest.cut[node] < forest.low[child + 1, dimension]
            stack += [child, child + 1]
        assert sorted(leaves) == sorted(map(tuple, sample))


def test_cuts_must_fall_in_proportion_to_the_side_lengths():
    """A side three times as long is cut three times as often (binomial, 4 standard deviations)."""
    box = np.array([[0.0, 0.0], [3.0, 1.0]])
    forest = grow([box] * 4000, rng=np.random.default_rng(2))
    assert abs((forest.dimension[:4000] == 0).mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(0, 99))
def test_scores_must_not_depend_on_the_rows_beside(rows, seed):
    """A row alone has the score that it has among others (1e-12)."""
    random = np.random.default_rng(seed)
    forest = grow([random.normal(size=(20, 3)) for _ in range(10)], rng=random)
    asked = random.normal(size=(rows, 3)) * 2
    alone = np.concatenate([forest.scores(row[np.newaxis]) for row in asked])
    np.testing.assert_allclose(forest.scores(asked), alone, rtol=1e-12)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A forest of 4,000 rows with 20 anomalies, and a labelled test channel."""
    folder = tmp_path_factory.mktemp("forest")
    features, _ = mixed(4000, anomalies=20)
    test, labels = mixed(500, anomalies=5, seed=1)
    channels = [write_csv(folder, "train", features), write_csv(folder, "test", test, labels=labels)]
    job = job_of(folder, channels, feature_dim=3, num_trees=50, num_samples_per_tree=128)
    train(job)
    return load(job.model_folder), test, labels


def test_anomalies_must_score_higher(trained):
    """Anomalies stand out: area under the ROC curve above 0.98, mean score over twice that of the other rows."""
    model, features, labels = trained
    scores = model.predict(features).columns["score"]
    assert roc_auc_score(labels, scores) > 0.98
    assert scores[labels == 1].mean() > 2 * scores[labels == 0].mean()
    assert 0.3 < scores[labels == 0].mean() < 1.5
    model.check_self_test(model.predict(model.self_test_rows()))


def test_answers_must_have_sagemakers_form(trained):
    """The list is called `scores`, each entry has one `score`."""
    body = encoder_for("application/json", default="application/json").encode(
        trained[0].predict(np.zeros((1, 3))), counts=[1]
    )[0]
    assert body.startswith(b'{"scores":[{"score":')


def test_metrics_must_be_sagemakers(tmp_path, capsys):
    """accuracy, and precision, recall and F1 as scikit-learn counts them, above three standard deviations."""
    features, labels = mixed(1000, anomalies=10)
    channels = [write_csv(tmp_path, "train", features), write_csv(tmp_path, "test", features, labels=labels)]
    job = job_of(tmp_path, channels, feature_dim=3, num_trees=50, num_samples_per_tree=64)
    train(job)
    scores = load(job.model_folder).predict(np.loadtxt(tmp_path / "test/part-0.csv", delimiter=",")[:, 1:])
    score = scores.columns["score"]
    called = score > score.mean() + 3 * score.std()
    metrics = reported(capsys)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, called)
    assert metrics["test", "accuracy"] == [pytest.approx(np.mean(called == labels))]
    for place, prefix in ((1, ""), (0, "negative_")):
        assert metrics["test", f"{prefix}precision"] == [pytest.approx(precision[place])]
        assert metrics["test", f"{prefix}recall"] == [pytest.approx(recall[place])]
        assert metrics["test", f"{prefix}f1"] == [pytest.approx(f1[place])]
    assert metrics["test", "f1"][0] > 0.5


def test_quality_must_stand_rows_of_one_kind():
    """Where nothing is called an anomaly and nothing is one, no figure is divided by 0."""
    nothing = np.zeros(4, dtype=bool)
    assert quality(nothing, truth=nothing)["f1"] == 0.0
    assert quality(nothing, truth=nothing)["negative_f1"] == 1.0


def test_rows_must_be_dealt_to_one_tree_each():
    """With enough rows no two trees share one; with fewer each tree gets as many as there are."""
    rows = np.arange(60.0).reshape(60, 1)
    dealt = deal(rows, trees=5, size=12, rng=np.random.default_rng(0))
    assert sorted(np.concatenate(dealt).ravel()) == sorted(rows.ravel())
    few = deal(rows[:7], trees=5, size=12, rng=np.random.default_rng(0))
    assert all(sorted(sample.ravel()) == sorted(rows[:7].ravel()) for sample in few)


def test_the_reservoir_must_keep_every_row_with_the_same_chance():
    """Over 2,000 runs in uneven blocks each of 20 rows is kept in half of them (5 standard deviations), none twice."""
    kept = np.zeros(20)
    for seed in range(2000):
        reservoir = Reservoir(10, rng=np.random.default_rng(seed))
        for part in np.split(np.arange(20.0).reshape(20, 1), [3, 4, 13]):
            reservoir.add(part)
        rows = reservoir.rows().ravel().astype(int)
        assert len(set(rows)) == 10
        kept[rows] += 1
    assert np.abs(kept - 1000).max() < 5 * np.sqrt(2000 * 0.25)


def test_rows_must_be_refused_where_they_overflow(trained):
    """The row whose distance to the boxes is infinite is named."""
    rows = np.zeros((2, 3))
    rows[1] = 1.7e308
    with pytest.raises(RowError) as problem:
        trained[0].predict(rows)
    assert problem.value.row == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_trees": "49"}, "num_trees='49': must be a whole number from 50 to 1000"),
        ({"num_samples_per_tree": "2049"}, "must be a whole number from 1 to 2048"),
        ({"eval_metrics": "[]"}, "must be a JSON list of accuracy and precision_recall_fscore"),
        ({"feature_dim": "10001"}, "must be a whole number from 1 to 10000"),
    ],
)
def test_what_the_user_can_mend_must_be_named(tmp_path, changes, says):
    """Each mistake is a ClientError that names the hyperparameter and what would be right."""
    with pytest.raises(ClientError, match=says):
        train(job_of(tmp_path, [write_csv(tmp_path, "train", np.eye(3))], **{"feature_dim": 3, **changes}))


def test_labels_of_the_test_channel_must_be_checked(tmp_path):
    """A label that isn't 0 or 1 is named with its file and row, before anything is trained."""
    rows = np.eye(3)
    channels = [write_csv(tmp_path, "train", rows), write_csv(tmp_path, "test", rows, labels=[0, 1, 2])]
    with pytest.raises(ClientError, match=r"channel test: part-0\.csv, row 3: the label must be 1 for an anomaly or 0"):
        train(job_of(tmp_path, channels, feature_dim=3))


def test_values_too_large_must_be_refused(tmp_path):
    """Boxes whose sides add up to infinity end training with a reason."""
    rows = np.array([[1.7e308, 1.7e308], [-1.7e308, 0.0]])
    with pytest.raises(ClientError, match="values are too large for a distance"):
        train(job_of(tmp_path, [write_csv(tmp_path, "train", rows)], feature_dim=2))
