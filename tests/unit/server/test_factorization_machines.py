"""Factorization machines: the sum, its gradients, training on sparse records, the answer in SageMaker's form."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics import accuracy_score, f1_score, log_loss

from sagebrush_server.algorithms.factorization_machines import hyperparameters
from sagebrush_server.algorithms.factorization_machines.machine import Machine
from sagebrush_server.algorithms.factorization_machines.optimiser import Optimiser, start
from sagebrush_server.algorithms.factorization_machines.prediction import MachinePredictor, load
from sagebrush_server.algorithms.factorization_machines.training import Tally, train
from sagebrush_server.algorithms.model import RowError, SparseRows
from sagebrush_server.codecs.negotiation import encoder_for
from sagebrush_server.codecs.recordio import write_rows
from sagebrush_server.errors import ClientError
from sagebrush_server.training.job import Channel
from tests.unit.server.algorithm_jobs import job_of, reported, saved, sparse_rows, write_csv, write_records

REQUIRED = {"feature_dim": "4", "num_factors": "2", "predictor_type": "regressor"}


def read(**given):
    return hyperparameters.read({**REQUIRED, **{name: str(value) for name, value in given.items()}})


def rated(rows, *, seed=0, noise=0.1, users=8, items=8):
    """One user and one item a row (as 1s); the label depends on the pair, as an inner product of hidden tastes."""
    random = np.random.default_rng(seed)
    tastes = np.random.default_rng(7)
    user, item = random.integers(0, users, rows), random.integers(0, items, rows)
    features = np.zeros((rows, users + items))
    features[np.arange(rows), user] = features[np.arange(rows), users + item] = 1.0
    hidden = tastes.normal(size=(users, 2)) @ tastes.normal(size=(2, items))
    return features, hidden[user, item] + random.normal(scale=noise, size=rows)


def plain_output(row, *, bias, linear, factors):
    """The definition, pair by pair."""
    pairs = sum(factors[i] @ factors[j] * row[i] * row[j] for i, j in combinations(range(len(row)), 2))
    return bias + linear @ row + pairs


def predictor(*, bias, linear, factors, kind="regressor"):
    facts = {"predictor_type": kind, "num_factors": factors.shape[1], "bias": bias}
    return MachinePredictor(saved(facts, {"linear": linear, "factors": factors}, width=len(linear)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_answers_must_equal_the_definition_dense_and_sparse(width, count, rows, seed):
    """Over random models and rows (empty ones too): the sum over all pairs, within 1e-9, from both kinds of rows."""
    random = np.random.default_rng(seed)
    parts = {"bias": 0.3, "linear": random.normal(size=width), "factors": random.normal(size=(width, count))}
    asked = random.normal(size=(rows, width)) * (random.random((rows, width)) < 0.5)
    expected = [plain_output(row, **parts) for row in asked]
    model = predictor(**parts)
    for given_rows in (asked, sparse_rows(asked)):
        np.testing.assert_allclose(model.predict(given_rows).columns["score"], expected, rtol=1e-9, atol=1e-9)


def test_many_sparse_values_must_be_taken_in_groups(monkeypatch):
    """Groups of rows are cut where they should be: the same answers with a bound so small that each row is one."""
    monkeypatch.setattr("sagebrush_server.algorithms.factorization_machines.machine._CHUNK_VALUES", 4)
    random = np.random.default_rng(0)
    asked = random.normal(size=(40, 6)) * (random.random((40, 6)) < 0.4)
    machine = Machine(bias=0.0, linear=random.normal(size=6), factors=random.normal(size=(6, 2)))
    np.testing.assert_allclose(machine.outputs(sparse_rows(asked)), machine.outputs(asked), rtol=1e-9, atol=1e-12)


def test_answers_must_have_sagemakers_form():
    """A classifier answers score and predicted_label, a regressor the score."""
    parts = {"bias": 0.0, "linear": np.zeros(2), "factors": np.zeros((2, 1))}
    encoder = encoder_for("application/json", default="application/json")
    answers = [predictor(**parts, kind=kind).predict(np.ones((1, 2))) for kind in ("binary_classifier", "regressor")]
    assert [encoder.encode(answer, counts=[1])[0] for answer in answers] == [
        b'{"predictions":[{"score":0.5,"predicted_label":1}]}',
        b'{"predictions":[{"score":0.0}]}',
    ]


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
def test_steps_must_go_down_the_losss_own_gradient(kind):
    """Adam's first step is the sign of the gradient: as found by moving each parameter a little and looking at the loss."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(20, 4)) * (random.random((20, 4)) < 0.6)
    labels = (random.random(20) < 0.5).astype(float)
    values = read(predictor_type=kind, factors_init_sigma=0.5, factors_lr=1e-3, factors_wd=0, linear_wd=0, bias_wd=0)
    optimiser = Optimiser(values, rng=random)
    before = {
        "bias": np.array([optimiser.bias]),
        "linear": optimiser.linear.copy(),
        "factors": optimiser.factors.copy(),
    }

    def loss(parts):
        machine = Machine(bias=float(parts["bias"][0]), linear=parts["linear"], factors=parts["factors"])
        outputs = machine.outputs(rows)
        if kind == "regressor":
            return np.mean((outputs - labels) ** 2) / 2
        return log_loss(labels, 1 / (1 + np.exp(-outputs)), labels=[0, 1])

    optimiser.step(csr_matrix(rows), labels=labels)
    after = {"bias": np.array([optimiser.bias]), "linear": optimiser.linear, "factors": optimiser.factors}
    for name, values in before.items():
        for place in np.ndindex(values.shape):
            moved = [{**before, name: values.copy()} for _ in range(2)]
            for one, step in zip(moved, (1e-6, -1e-6), strict=True):
                one[name][place] += step
            slope = (loss(moved[0]) - loss(moved[1])) / 2e-6
            if abs(slope) > 1e-6:
                assert np.sign(after[name][place] - values[place]) == -np.sign(slope), (name, place)


def test_features_that_dont_occur_must_not_move():
    """Neither linear nor factor terms of a feature that no row of the mini-batch has change, weight decay included."""
    optimiser = Optimiser(read(linear_init_method="constant", linear_init_value=1), rng=np.random.default_rng(0))
    before = optimiser.factors.copy()
    optimiser.step(csr_matrix(np.array([[1.0, 0.0, 2.0, 0.0]])), labels=np.array([5.0]))
    assert (optimiser.linear[[1, 3]] == 1).all()
    assert (optimiser.linear[[0, 2]] != 1).all()
    assert (optimiser.factors[[1, 3]] == before[[1, 3]]).all()
    assert (optimiser.factors[[0, 2]] != before[[0, 2]]).all()


def test_the_optimisers_hyperparameters_must_have_their_effect():
    """rescale_grad scales, clip_gradient bounds, wd decays, eps slows, use_bias and use_linear switch off."""
    rows, labels = csr_matrix(np.eye(4)), np.full(4, 100.0)

    def after(steps=2, **given):
        optimiser = Optimiser(
            read(linear_init_method="constant", linear_init_value=1, **given), rng=np.random.default_rng(0)
        )
        for step in range(steps):
            # The second step's gradient differs, or Adam would not show its size.
            optimiser.step(rows, labels=labels * (1 - 2 * step))
        return optimiser

    plain = after().linear[0]
    assert after(rescale_grad=1e-3).linear[0] == pytest.approx(plain, abs=1e-4)
    assert after(rescale_grad=1e-9).linear[0] != plain
    assert after(clip_gradient=1e-4).linear[0] != plain
    assert after(eps=1.0).linear[0] < plain
    assert after(linear_wd=50).linear[0] < plain
    assert after(use_bias="false").bias == 0.0
    assert after().bias != 0.0
    without = Optimiser(read(use_linear="false"), rng=np.random.default_rng(0))
    without.step(rows, labels=labels)
    assert (without.linear == 0).all()


@pytest.mark.parametrize(
    ("method", "holds"),
    [
        ({"linear_init_method": "normal", "linear_init_sigma": 3}, lambda x: abs(x.std() - 3) < 0.2),
        ({"linear_init_method": "uniform", "linear_init_scale": 2}, lambda x: 1.8 < np.abs(x).max() <= 2),
        ({"linear_init_method": "constant", "linear_init_value": -4}, lambda x: (x == -4).all()),
    ],
)
def test_starts_must_be_as_asked(method, holds):
    """Each method draws from its own distribution."""
    drawn = start("linear", shape=(2000,), settings=read(**method), rng=np.random.default_rng(0))
    assert holds(drawn)


LEARNING = {
    "num_factors": 4,
    "epochs": 40,
    "mini_batch_size": 100,
    "factors_lr": 0.02,
    "linear_lr": 0.02,
    "factors_init_sigma": 0.1,
    "factors_wd": 0.0001,
    "linear_wd": 0.0001,
}


def test_regression_must_learn_pairs_that_no_linear_model_can(tmp_path, capsys):
    """The error on new rows comes near the noise, far below that of least squares on the same features."""
    features, labels = rated(1200)
    test, truth = rated(400, seed=1)
    channels = [
        write_records(tmp_path, "train", features, labels=labels),
        write_records(tmp_path, "test", test, labels=truth),
    ]
    job = job_of(tmp_path, channels, feature_dim=16, predictor_type="regressor", **LEARNING)
    train(job)
    metrics = reported(capsys)
    linear, *_ = np.linalg.lstsq(features, labels, rcond=None)
    of_linear = np.sqrt(np.mean((test @ linear - truth) ** 2))
    assert metrics["test", "rmse"][0] < of_linear / 3
    assert len(metrics["train", "rmse"]) == 40
    model = load(job.model_folder)
    expected = np.sqrt(np.mean((model.predict(sparse_rows(test)).columns["score"] - truth) ** 2))
    assert metrics["test", "rmse"][0] == pytest.approx(expected, abs=1e-6)
    model.check_self_test(model.predict(model.self_test_rows()))


def test_classification_must_learn_and_report_sagemakers_metrics(tmp_path, capsys):
    """Accuracy, cross-entropy and F1 are scikit-learn's, for the model that is saved."""
    features, labels = rated(1500, noise=0.0)
    channels = [
        write_records(tmp_path, name, features[rows], labels=labels[rows] > 0)
        for name, rows in (("train", slice(0, 1200)), ("test", slice(1200, 1500)))
    ]
    job = job_of(tmp_path, channels, feature_dim=16, predictor_type="binary_classifier", **LEARNING)
    train(job)
    answer = load(job.model_folder).predict(features[1200:]).columns
    metrics, truth = reported(capsys), labels[1200:] > 0
    called = answer["predicted_label"]
    assert metrics["test", "binary_classification_accuracy"] == [pytest.approx(accuracy_score(truth, called))]
    assert metrics["test", "binary_classification_cross_entropy"] == [pytest.approx(log_loss(truth, answer["score"]))]
    assert metrics["test", "binary_f_beta"] == [pytest.approx(f1_score(truth, called))]
    assert accuracy_score(truth, called) > 0.95


def test_wide_data_must_cost_what_its_values_cost(tmp_path):
    """A million features with a few values a row train without a dense row anywhere."""
    indptr, indices = np.arange(0, 601, 2), np.random.default_rng(0).permutation(1_000_000)[:600]
    indices = np.sort(indices.reshape(300, 2), axis=1).ravel()
    rows = SparseRows(indptr, indices, np.ones(600), 1_000_000)
    folder = tmp_path / "train"
    folder.mkdir()
    with (folder / "part-0.pbr").open("wb") as stream:
        write_rows(stream, features=rows, labels=np.ones(300))
    channel = Channel("train", folder, content_type="application/x-recordio-protobuf")
    job = job_of(
        tmp_path, [channel], feature_dim=1_000_000, num_factors=1, predictor_type="regressor", mini_batch_size=50
    )
    train(job)
    assert load(job.model_folder).feature_dim == 1_000_000


def test_rows_must_be_refused_where_they_overflow():
    """The row whose score is not finite is named, dense and sparse."""
    model = predictor(bias=0.0, linear=np.ones(2), factors=np.ones((2, 1)))
    rows = np.array([[1.0, 1.0], [1e200, 1e200]])
    for given_rows in (rows, sparse_rows(rows)):
        with pytest.raises(RowError) as problem:
            model.predict(given_rows)
        assert problem.value.row == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bias_init_method": "uniform"}, "bias_init_scale is required with bias_init_method=uniform"),
        ({"linear_init_scale": "1"}, "linear_init_scale has an effect only with linear_init_method=uniform"),
        ({"use_linear": "false", "linear_lr": "1"}, "linear_lr has an effect only with use_linear=true"),
        ({"clip_gradient": "0"}, "must be a number above 0"),
        ({"factors_lr": "-1"}, "must be a number of at least 0"),
        ({"predictor_type": "multiclass_classifier"}, "must be binary_classifier or regressor"),
        ({"num_factors": "0"}, "must be a whole number of at least 1"),
    ],
)
def test_hyperparameters_that_contradict_must_be_refused(changes, says):
    """Each mistake is a ClientError that names the hyperparameter and what would be right."""
    with pytest.raises(ClientError, match=says):
        hyperparameters.read({**REQUIRED, **changes})


def test_csv_must_be_refused(tmp_path):
    """As SageMaker: the data of factorization machines is sparse, and what can be read is named."""
    channel = write_csv(tmp_path, "train", np.eye(4), labels=np.ones(4))
    with pytest.raises(ClientError, match=r"can't be trained on text/csv.*use application/x-recordio-protobuf"):
        train(job_of(tmp_path, [channel], **REQUIRED))


def test_labels_of_a_classifier_must_be_checked(tmp_path):
    """A label that isn't 0 or 1 is named with its file and row."""
    channel = write_records(tmp_path, "train", np.eye(4), labels=[0, 1, 1, 3])
    with pytest.raises(
        ClientError, match=r"channel train: part-0\.pbr, row 4: for binary_classifier the label must be"
    ):
        train(job_of(tmp_path, [channel], **{**REQUIRED, "predictor_type": "binary_classifier"}))


def test_training_must_say_that_it_diverged(tmp_path):
    """Rates that blow the model up end with advice, not with a model of NaN."""
    channel = write_records(tmp_path, "train", np.eye(4) * 1e100, labels=np.ones(4))
    job = job_of(tmp_path, [channel], **REQUIRED, factors_lr="1e200", epochs="5")
    with pytest.raises(ClientError, match="training diverged"):
        train(job)


def test_training_must_be_repeatable_and_stop_when_told(tmp_path):
    """The same seed gives the same model; after SIGTERM one mini-batch is learned from, and that is said."""
    features, labels = rated(300)
    channel = write_records(tmp_path, "train", features, labels=labels)
    given = {"feature_dim": 16, "num_factors": 2, "predictor_type": "regressor", "mini_batch_size": 50, "epochs": 3}
    found = []
    for seed in (1, 1, 2):
        job = job_of(tmp_path, [channel], seed=seed, **given)
        train(job)
        found.append(load(job.model_folder).saved.arrays["factors"].tolist())
    assert found[0] == found[1] != found[2]
    stopped = job_of(tmp_path, [channel], **given)
    stopped.stop.set()
    train(stopped)
    assert stopped.cut_short.is_set()
    assert load(stopped.model_folder).saved.arrays["factors"].tolist() != found[0]


def test_metrics_must_stand_labels_of_one_kind():
    """Where no label is positive and none is predicted, F1 is 0, not a division by 0."""
    tally = Tally("binary_classifier")
    tally.add(np.full(3, -5.0), truth=np.zeros(3))
    assert tally.values()["binary_f_beta"] == 0.0
    assert tally.values()["binary_classification_accuracy"] == 1.0
