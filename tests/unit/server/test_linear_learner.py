"""Linear learner: hyperparameters, training, threshold, model file."""

import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.linear_learner import evaluation
from sagebrush_server.algorithms.linear_learner.candidates import choose_candidates
from sagebrush_server.algorithms.linear_learner.evaluation import (
    BinaryTally,
    MulticlassTally,
    RegressionTally,
)
from sagebrush_server.algorithms.linear_learner.hyperparameters import read as read_hyperparameters
from sagebrush_server.algorithms.linear_learner.losses import loss_and_gradient
from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.algorithms.linear_learner.optimiser import Optimiser
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor, load
from sagebrush_server.algorithms.linear_learner.selection import Snapshots
from sagebrush_server.algorithms.linear_learner.threshold import ThresholdRule, choose_threshold
from sagebrush_server.algorithms.linear_learner.training import train
from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.errors import ClientError
from sagebrush_server.models.loading import ModelError, load_model
from sagebrush_server.training import blocks
from sagebrush_server.training.collective import Collective
from sagebrush_server.training.job import Channel, TrainingInput
from tests.unit.server.conftest import tiny_model

BINARY = {"predictor_type": "binary_classifier"}


def binary_figures(scores, *, labels, threshold, f_beta):
    tally = BinaryTally(threshold, f_beta)
    for part in np.array_split(np.arange(len(labels)), 3):
        tally.add(scores[part, np.newaxis], labels=labels[part])
    return tally.figures(Collective())


def write_channel(folder, name, labels, features):
    path = folder / name
    path.mkdir(exist_ok=True)
    np.savetxt(path / "part-0.csv", np.column_stack((labels, features)), delimiter=",", fmt="%.6g")
    return Channel(name, path, content_type="text/csv")


@pytest.fixture
def job(tmp_path):
    """Build a training input from labelling functions over 600 training and 200 validation rows of 4 features."""

    def build(label=lambda x: x[:, 0] + 2 * x[:, 1] > 0.5, seed=0, hosts=("algo-1",), **hyperparameters):
        random = np.random.default_rng(7)
        channels = {}
        for name, rows in (("train", 600), ("validation", 200)):
            # Features of very different size, as raw data have.
            features = random.normal(size=(rows, 4))
            channels[name] = write_channel(
                tmp_path, name, label(features).astype(float), features * [1, 1, 1000, 1] + [0, 0, 5e4, 7]
            )
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        given = {"epochs": "5", "mini_batch_size": "100", **BINARY, **hyperparameters}
        return TrainingInput(model, given, channels, hosts, "algo-1", seed)

    return build


def test_training_must_learn_and_report_in_the_contracts_form(job, capsys):
    """A separable problem is learned, and the log has SageMaker's metric lines for both channels."""
    task = job()
    train(task)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#quality_metric")]
    accuracy = [line for line in lines if "validation binary_classification_accuracy" in line]
    prefix = "#quality_metric: host=algo-1, validation binary_classification_accuracy <score>="
    assert accuracy[-1].startswith(prefix)
    assert float(accuracy[-1].removeprefix(prefix)) > 0.95
    assert sum("train objective_loss" in line for line in lines) == 6
    served = load(task.model_folder)
    answer = served.predict(np.array([[3.0, 3.0, 5e4, 7.0], [-3.0, -3.0, 5e4, 7.0]]))
    assert answer.columns["predicted_label"].tolist() == [1, 0]


def test_training_must_be_repeatable_for_a_seed(job):
    """The same data and seed give the same bytes, another seed other weights."""
    files = []
    for seed in (1, 1, 2):
        task = job(seed=seed)
        train(task)
        files.append((task.model_folder / "model.json").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("loss", ["auto", "hinge_loss"])
def test_training_must_weigh_positive_examples(job, loss):
    """With a great weight on positive examples (and no threshold to undo it) the recall goes up."""
    shares = []
    for weight in ("0.05", "20"):
        task = job(
            lambda x: x[:, 0] + np.sin(40 * x[:, 1]) > 1.2, loss=loss, positive_example_weight_mult=weight,
            binary_classifier_model_selection_criteria="loss_function",
        )  # fmt: skip
        train(task)
        table = np.loadtxt(task.channels["validation"].folder / "part-0.csv", delimiter=",")
        shares.append(load(task.model_folder).predict(table[:, 1:]).columns["predicted_label"].mean())
    assert shares[0] < shares[1]


def test_regressor_must_answer_in_the_labels_units(job):
    """A linear relation is recovered although labels are normalised inside."""
    task = job(lambda x: 1000 + 50 * x[:, 0], predictor_type="regressor")
    train(task)
    score = load(task.model_folder).predict(np.array([[1.0, 0.0, 5e4, 7.0]])).columns["score"]
    assert score[0] == pytest.approx(1050, abs=10)


def test_multiclass_must_score_every_class(job):
    """Scores of a row sum to 1 and the label is the greatest."""
    task = job(lambda x: np.digitize(x[:, 0], [-0.5, 0.5]), predictor_type="multiclass_classifier", num_classes="3")
    train(task)
    answer = load(task.model_folder).predict(np.array([[-3.0, 0, 5e4, 7.0], [3.0, 0, 5e4, 7.0]]))
    assert answer.columns["score"].shape == (2, 3)
    assert answer.columns["score"].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert answer.columns["predicted_label"].tolist() == [0, 2]


def test_training_must_stop_at_sigterm_and_save(job, capsys):
    """A stop request ends training in the epoch under way, with a model, and costs no pass over the training rows."""
    task = job(epochs="500", early_stopping_patience="500")
    task.stop.set()
    train(task)
    assert capsys.readouterr().out.count("train objective_loss") == 1
    assert task.cut_short.is_set()
    assert load(task.model_folder).feature_dim == 4


def test_training_cut_short_in_its_last_epoch_must_say_so(job, monkeypatch):
    """SIGTERM between two batches of the last epoch leaves a model, but not a finished run."""
    task = job(epochs="1")
    step = Optimiser.step

    def stopping(self, batch):
        task.stop.set()
        return step(self, batch)

    monkeypatch.setattr(Optimiser, "step", stopping)
    train(task)
    assert task.cut_short.is_set()
    finished = job(epochs="1", mini_batch_size="600")
    monkeypatch.setattr(Optimiser, "step", step)
    finished.stop.set()
    train(finished)
    assert not finished.cut_short.is_set()


def test_training_must_stop_early_when_it_no_longer_pays(job, capsys):
    """Without improvement over the tolerance for `patience` epochs, training ends before `epochs`."""
    train(job(epochs="200", early_stopping_patience="2", early_stopping_tolerance="0.5"))
    assert capsys.readouterr().out.count("train objective_loss") < 20


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,1,2\n1,x,2\n", "channel train: part-0.csv, row 2, column 2: 'x' is not a finite number"),
        (
            "label,a,b\n1,1,2\n",
            "row 1, column 1: 'label' is not a finite number (the data must come without a header line)",
        ),
        ("0,1,2\n1,nan,2\n", "row 2, column 2: 'nan'"),
        ("0,1,2\n1,1\n", "row 2 has 2 columns, the rows before it 3"),
        ("0,1,2\n2,1,2\n", "part-0.csv, row 2: the label is 2; for binary_classifier it must be 0 or 1"),
        ("1,1,2\n1,1,2\n", "every label is 1"),
        ("1\n0\n", "at least one feature"),
        ("", "part-0.csv is empty"),
        ("0,1e308,2,3,4\n1,1e308,2,3,4\n1,1e308,2,3,4\n", "feature 1 is too large"),
    ],
)
def test_training_data_must_be_refused_by_file_row_and_column(job, text, says):
    """The user learns which file, row and column to mend."""
    task = job()
    (task.channels["train"].folder / "part-0.csv").write_text(text)
    with pytest.raises(ClientError) as caught:
        train(task)
    assert says in str(caught.value)


def test_training_must_read_several_files_and_leave_markers_alone(job):
    """Files of a channel are read together; `_SUCCESS` and hidden files are no data. A bad row names its own file."""
    task = job()
    folder = task.channels["train"].folder
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden").write_text("x")
    (folder / "part-1.csv").write_text("0,1,2,3,4\n7,1,2,3,4\n")
    with pytest.raises(ClientError, match=r"part-1\.csv, row 2: the label"):
        train(task)


def test_training_must_refuse_what_this_version_cannot_do(job):
    """A wrong feature_dim and unknown channels are refused with both sides named."""
    with pytest.raises(ClientError, match="channel train: rows have 4 features; feature_dim says 9"):
        train(job(feature_dim="9"))
    task = job()
    task.channels["extra"] = task.channels["train"]
    with pytest.raises(ClientError, match="not extra"):
        train(task)


REGRESSION_LOSSES = [
    *("squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss"),
    *("quantile_loss", "huber_loss"),
]


@pytest.mark.parametrize("loss", ["logistic", "hinge_loss", "softmax_loss", *REGRESSION_LOSSES])
def test_gradient_must_be_the_losses_derivative(loss):
    """For every loss the gradient is what the loss changes by when an output changes a little."""
    random = np.random.default_rng(5)
    classes = 3 if loss == "softmax_loss" else 1
    outputs = random.normal(size=(20, 4, classes))
    targets = random.normal(size=20) if loss in REGRESSION_LOSSES else random.integers(0, max(classes, 2), 20) * 1.0
    settings = {"loss": loss, "margin": 1.5, "huber_delta": 0.5, "quantile": 0.8, "loss_insensitivity": 0.1}
    _, gradient = loss_and_gradient(outputs, targets=targets, settings=settings)
    for k in range(classes):
        step = np.zeros_like(outputs)
        step[:, :, k] = 1e-6
        up, _ = loss_and_gradient(outputs + step, targets=targets, settings=settings)
        down, _ = loss_and_gradient(outputs - step, targets=targets, settings=settings)
        assert gradient[:, :, k] == pytest.approx((up - down) / 2e-6, abs=1e-4)


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_every_loss_of_a_regressor_must_fit(job, loss):
    """Each of them recovers a linear relation; the quantile loss the quantile that was asked for."""
    quantile = {"quantile": "0.9"} if loss == "quantile_loss" else {}
    task = job(
        lambda x: 50 * x[:, 0] + np.cos(99 * x[:, 1]), predictor_type="regressor", epochs="25", loss=loss, **quantile
    )
    train(task)
    table = np.loadtxt(task.channels["validation"].folder / "part-0.csv", delimiter=",")
    error = load(task.model_folder).predict(table[:, 1:]).columns["score"] - table[:, 0]
    assert np.abs(error).mean() < 5
    if quantile:
        assert 0.8 < np.mean(error > 0) < 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_every_optimizer_must_learn(job, capsys, optimizer):
    """Each gets better than 95 % on a separable problem with its own automatic learning rates."""
    train(job(optimizer=optimizer, epochs="15"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "validation binary_classification_acc" in line]
    assert float(lines[-1].partition(">=")[2]) > 0.95


def test_many_models_must_be_at_least_as_good_as_each_alone(job, capsys):
    """What num_models=auto chooses on validation has no higher loss than the models of single learning rates."""
    train(job(binary_classifier_model_selection_criteria="loss_function"))
    losses = []
    for more in ({}, *({"learning_rate": rate, "l1": "0", "wd": "1e-5"} for rate in ("0.1", "0.003"))):
        train(job(binary_classifier_model_selection_criteria="loss_function", **more))
        lines = [line for line in capsys.readouterr().out.splitlines() if "validation objective_loss" in line]
        losses.append(float(lines[-1].partition(">=")[2]))
    assert losses[0] <= min(losses[1:]) * 1.02


@pytest.mark.parametrize(
    ("settings", "models", "rates"),
    [
        ({}, 32, 8),
        ({"num_models": 3}, 3, 3),
        ({"learning_rate": 0.5}, 4, 1),
        ({"learning_rate": 0.5, "l1": 0.0, "wd": 0.0}, 1, 1),
        ({"learning_rate": 0.5, "l1": 0.0, "wd": 0.0, "num_models": 5}, 5, 1),
        ({"positive_example_weight_mult": "auto"}, 32, 8),
    ],
)
def test_candidates_must_vary_what_is_auto_and_keep_what_is_set(settings, models, rates):
    """What the user has set is the same in all models, and num_models is honoured."""
    everything = read_hyperparameters({**BINARY, **{name: str(value) for name, value in settings.items()}})
    found = choose_candidates(everything, weights=100, balanced=4.0)
    assert (len(found), len({candidate.learning_rate for candidate in found})) == (models, rates)
    for name in set(settings) & {"learning_rate", "l1", "wd"}:
        assert {getattr(candidate, name) for candidate in found} == {settings[name]}
    weights = {candidate.positive_weight for candidate in found}
    assert (len(weights) > 1) == ("positive_example_weight_mult" in settings)
    assert len(choose_candidates(everything, weights=2**24, balanced=4.0)) == settings.get("num_models", 1)


REGRESSOR = {"predictor_type": "regressor"}


@pytest.mark.parametrize(
    ("change", "beside"),
    [
        ({"wd": "0.5"}, {}),
        ({"l1": "0.01"}, {}),
        ({"learning_rate": "0.1"}, {}),
        ({"mini_batch_size": "50"}, {}),
        ({"epochs": "2"}, {}),
        ({"optimizer": "rmsprop"}, {}),
        ({"momentum": "0.5"}, {"optimizer": "sgd"}),
        ({"beta_1": "0.5"}, {}),
        ({"beta_2": "0.5"}, {}),
        ({"bias_lr_mult": "3"}, {}),
        ({"bias_wd_mult": "3"}, {"wd": "0.1", "init_bias": "1"}),
        ({"use_lr_scheduler": "false"}, {}),
        ({"lr_scheduler_step": "1"}, {}),
        ({"lr_scheduler_factor": "0.5"}, {}),
        ({"lr_scheduler_minimum_lr": "0.05"}, {}),
        ({"init_method": "normal"}, {}),
        ({"init_scale": "0.5"}, {}),
        ({"init_sigma": "0.5"}, {"init_method": "normal"}),
        ({"init_bias": "2"}, {}),
        ({"use_bias": "false"}, {}),
        ({"normalize_data": "false"}, {}),
        ({"unbias_data": "false"}, {}),
        ({"num_point_for_scaler": "50"}, {}),
        ({"positive_example_weight_mult": "balanced"}, {}),
        ({"margin": "3"}, {"loss": "hinge_loss"}),
        ({"huber_delta": "0.1"}, {**REGRESSOR, "loss": "huber_loss"}),
        ({"quantile": "0.9"}, {**REGRESSOR, "loss": "quantile_loss"}),
        ({"loss_insensitivity": "0.5"}, {**REGRESSOR, "loss": "eps_insensitive_squared_loss"}),
        ({"normalize_label": "false"}, REGRESSOR),
        ({"unbias_label": "false"}, REGRESSOR),
    ],
    ids=lambda value: "-".join(f"{name}={of}" for name, of in value.items()),
)
def test_every_hyperparameter_of_training_must_change_the_model(job, change, beside):
    """What is taken is honoured: another value gives another model, all else being the same."""
    fixed = {"epochs": "3", "learning_rate": "0.05", "l1": "0", "wd": "0", "num_models": "1", **beside}
    models = []
    for more in ({}, change):
        task = job(lambda x: (x[:, 0] + 2 * x[:, 1] > 0.8) * 1.0, **{**fixed, **more})
        train(task)
        model = LinearModel.read(task.model_folder)
        models.append((model.weights, model.bias, model.offset, model.scale, model.label_scale, model.label_offset))
    assert models[0] != models[1]


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        ({"f_beta": "3"}, "binary_f_beta"),
        ({"binary_classifier_model_selection_criteria": "recall_at_target_precision"}, "recall"),
        ({"num_calibration_samples": "12"}, "binary_classification_accuracy"),
    ],
)
def test_every_hyperparameter_of_judging_must_change_a_figure(job, capsys, change, figure):
    """Criterion, calibration sample and beta are honoured."""
    found = []
    for more in ({}, change):
        train(job(lambda x: x[:, 0] + np.sin(40 * x[:, 1]) > 0.3, num_models="1", **more))
        lines = [line for line in capsys.readouterr().out.splitlines() if f"validation {figure} " in line]
        found.append(lines[-1])
    assert found[0] != found[1]


def test_l1_must_make_weights_exactly_zero(job):
    """A great l1 leaves features out altogether, wd never does."""
    counts = []
    for penalty in ({"l1": "0.2", "wd": "0"}, {"l1": "0", "wd": "0.2"}):
        task = job(epochs="30", learning_rate="0.05", **penalty)
        train(task)
        counts.append(np.count_nonzero(LinearModel.read(task.model_folder).weights))
    assert counts[0] < counts[1] == 4


def test_normalisation_must_come_from_a_sample_of_the_size_asked_for(job):
    """num_point_for_scaler is honoured: from fewer rows come other, still sensible means."""
    offsets = []
    for points in ("20", "600"):
        task = job(num_point_for_scaler=points)
        train(task)
        offsets.append(LinearModel.read(task.model_folder).offset[3])
    assert offsets[0] != offsets[1]
    assert offsets == pytest.approx([7, 7], abs=1)


def test_sparse_rows_must_train_the_same_model_as_dense_ones(job):
    """LIBSVM and CSV of the same rows give the same weights but for rounding, and sparse rows the same scores."""
    models = []
    for sparse in (False, True):
        task = job()
        for channel in task.channels.values() if sparse else ():
            table = np.loadtxt(channel.folder / "part-0.csv", delimiter=",")
            lines = (f"{row[0]:g} " + " ".join(f"{i}:{v!r}" for i, v in enumerate(row[1:].tolist())) for row in table)
            (channel.folder / "part-0.csv").write_text("\n".join(lines) + "\n")
            task.channels[channel.name] = replace(channel, content_type="text/libsvm")
        train(task)
        models.append(load(task.model_folder))
    dense = np.array([[1.0, 0, 5e4, 7], [0, -1, 0, 3]])
    rows = SparseRows(np.array([0, 3, 5]), np.array([0, 2, 3, 1, 3]), np.array([1.0, 5e4, 7, -1, 3]), 4)
    expected = models[0].predict(dense).columns["score"]
    assert models[1].predict(dense).columns["score"] == pytest.approx(expected, rel=1e-6)
    assert models[1].predict(rows).columns["score"] == pytest.approx(expected, rel=1e-6)


def test_training_must_not_depend_on_whether_the_rows_stay_in_memory(job, monkeypatch):
    """Rows read anew in every pass train as well as those kept in memory."""
    monkeypatch.setattr(blocks.open_rows, "__kwdefaults__", {**blocks.open_rows.__kwdefaults__, "keep_bytes": 0})
    task = job()
    train(task)
    answer = load(task.model_folder).predict(np.array([[3.0, 3.0, 5e4, 7.0], [-3.0, -3.0, 5e4, 7.0]]))
    assert answer.columns["predicted_label"].tolist() == [1, 0]


def test_multiclass_weights_must_lift_a_rare_class(job):
    """balance_multiclass_weights makes a rare class count as much as the others."""
    shares = []
    for balance in ("false", "true"):
        task = job(
            lambda x: np.where(x[:, 0] + np.cos(77 * x[:, 1]) > 1.8, 2, np.cos(50 * x[:, 2]) > 0), num_classes="3",
            predictor_type="multiclass_classifier", balance_multiclass_weights=balance, learning_rate="0.05",
        )  # fmt: skip
        train(task)
        table = np.loadtxt(task.channels["validation"].folder / "part-0.csv", delimiter=",")
        shares.append(np.mean(load(task.model_folder).predict(table[:, 1:]).columns["predicted_label"] == 2))
    assert shares[0] < shares[1]


def test_the_best_epoch_of_each_model_must_be_kept():
    """A model whose loss rises again, or isn't a number any more, stays as it was at its best; the others go on."""
    optimiser = SimpleNamespace(models=2, outputs=1, weights=np.array([[1.0, 1.0]]), bias=np.array([1.0, 1.0]))
    best = Snapshots(optimiser, candidates=[])
    for value, losses in ((2.0, [0.5, 0.5]), (3.0, [0.6, 0.4]), (4.0, [np.nan, 0.3])):
        optimiser.weights, optimiser.bias = np.array([[value, value]]), np.array([value, value])
        best.note(optimiser, losses=np.array(losses))
    assert [best.model(index)[0].item() for index in (0, 1)] == [2, 4]
    assert [best.model(index)[1].item() for index in (0, 1)] == [2, 4]
    assert best.lowest == 0.3


def test_old_one_vs_rest_models_must_stay_readable():
    """Model files of several classes with link logistic, as earlier versions wrote them, give shares that sum to 1."""
    old = tiny_model(
        predictor_type="multiclass_classifier", weights=[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], bias=[0.0, 0.0, 0.0],
        self_test_score=[1 / 3] * 3,
    )  # fmt: skip
    score = LinearPredictor(old).predict(np.array([[2.0, 0.0, -2.0]])).columns["score"][0]
    each = 1 / (1 + np.exp(-np.array([2.0, 0, -2.0])))
    assert score == pytest.approx(each / each.sum())


def test_figures_must_agree_with_their_definitions():
    """Figures added up block by block are those of all rows at once."""
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 4, 200).astype(float), random.normal(size=(200, 5))
    tally = MulticlassTally(5, top_k=2, f_beta=1.0)
    regression = RegressionTally()
    for part in np.array_split(np.arange(200), 7):
        tally.add(scores[part], labels=labels[part])
        regression.add(scores[part, :1], labels=labels[part])
    figures = tally.figures(Collective())
    predicted = scores.argmax(axis=1)
    assert figures["multiclass_accuracy"] == pytest.approx(np.mean(predicted == labels))
    ranks = (-scores).argsort(axis=1)[:, :2]
    assert figures["multiclass_top_k_accuracy"] == pytest.approx(np.mean((ranks == labels[:, None]).any(axis=1)))
    recalls = [np.mean(predicted[labels == label] == label) for label in range(4)]
    assert figures["macro_recall"] == pytest.approx(np.mean(recalls))
    found, error = regression.figures(Collective()), scores[:, 0] - labels
    assert found["mse"] == pytest.approx(np.mean(error**2))
    assert found["r2"] == pytest.approx(1 - np.mean(error**2) / labels.var())


def test_area_of_very_many_rows_must_take_a_part_of_them_from_everywhere(monkeypatch):
    """Beyond the bound the area comes from evenly thinned rows, and memory stays bounded."""
    monkeypatch.setattr(evaluation, "MOST_RANKED", 1000)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 20_000).astype(float)
    scores = labels + random.normal(size=20_000)
    tally = BinaryTally(0.5, 1.0)
    for part in np.array_split(np.arange(20_000), 31):
        tally.add(scores[part, np.newaxis], labels=labels[part])
    assert sum(len(kept) for kept, _ in tally._kept) <= 1000
    exact = evaluation.roc_auc(scores, positive=labels == 1)
    assert tally.figures(Collective())["roc_auc_score"] == pytest.approx(exact, abs=0.03)


def test_area_of_very_many_rows_must_keep_no_others_in_memory(monkeypatch):
    """What is kept of a block doesn't hold on to the rest of it."""
    monkeypatch.setattr(evaluation, "MOST_RANKED", 1000)
    tally = BinaryTally(0.5, 1.0)
    tracemalloc.start()
    try:
        for _ in range(200):
            tally.add(np.ones((5_000, 1)), labels=np.ones(5_000))
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()


def test_divergence_must_be_the_users_to_mend(job):
    """A learning rate that lets the weights overflow is a ClientError that says what to change."""
    with pytest.raises(ClientError, match="lower learning_rate"):
        train(
            job(
                predictor_type="regressor",
                normalize_data="false",
                normalize_label="false",
                unbias_data="false",
                learning_rate="1000",
            )
        )


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_threshold_must_be_at_least_as_good_as_every_other(data):
    """For accuracy and F1 no score used as threshold does better than the chosen one."""
    size = data.draw(st.integers(2, 30))
    scores = np.array(data.draw(st.lists(st.sampled_from(np.linspace(0, 1, 9).tolist()), min_size=size, max_size=size)))
    labels = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=size, max_size=size)))
    labels[:2] = [0, 1]
    for criterion, metric in (("accuracy", "binary_classification_accuracy"), ("f1", "binary_f_beta")):
        chosen, value = choose_threshold(scores, labels=labels, rule=ThresholdRule(criterion=criterion), neutral=0.5)
        best = max(
            binary_figures(scores, labels=labels, threshold=threshold, f_beta=1.0)[metric]
            for threshold in [*scores, 2.0]
        )
        assert binary_figures(scores, labels=labels, threshold=chosen, f_beta=1.0)[metric] == pytest.approx(best)
        assert value == pytest.approx(best)


def test_threshold_must_meet_its_target():
    """Precision is maximised where the recall target is met, and the other way round."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    labels = np.array([1.0, 1, 0, 1, 0, 1])
    for criterion, recall, precision in (
        ("precision_at_target_recall", 0.75, 0.75),
        ("recall_at_target_precision", 0.5, 1.0),
    ):
        rule = ThresholdRule(criterion=criterion, target_recall=0.7, target_precision=0.9)
        chosen, _ = choose_threshold(scores, labels=labels, rule=rule, neutral=0.5)
        metrics = binary_figures(scores, labels=labels, threshold=chosen, f_beta=1.0)
        assert (metrics["recall"], metrics["precision"]) == (recall, precision)


def test_roc_auc_must_agree_with_counting_pairs():
    """The area is the share of (positive, negative) pairs in the right order, ties half."""
    random = np.random.default_rng(3)
    scores, labels = random.integers(0, 5, 60) / 4, random.integers(0, 2, 60).astype(float)
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    assert binary_figures(scores, labels=labels, threshold=0.5, f_beta=1)["roc_auc_score"] == pytest.approx(
        np.mean(pairs)
    )


def test_normalisation_must_fold_into_the_weights():
    """Serving's one product gives what normalising first would give."""
    model = tiny_model(offset=[1.0, 2.0, 3.0], scale=[2.0, 4.0, 8.0])
    row = np.array([5.0, 1.0, 2.0])
    output = np.dot((row - model.offset) / np.array(model.scale), model.weights[0]) + model.bias[0]
    assert LinearPredictor(model).predict(row[np.newaxis]).columns["score"][0] == pytest.approx(
        1 / (1 + np.exp(-output))
    )


def test_model_file_must_survive_writing_and_reading(tmp_path):
    """What is saved is what is read."""
    tiny_model().save(tmp_path)
    assert LinearModel.read(tmp_path) == tiny_model()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"algorithm": "k-means"}, "no built-in algorithm 'k-means'; there are: "),
        ({"algorithm": None}, "names no algorithm"),
        ({"format_version": 99}, "format_version 99"),
        ({"weights": [[1.0, 2.0]]}, "weights[0] has 2 values; feature_dim is 3"),
        ({"bias": [1e999]}, "not finite"),
        ({"scale": [1.0, 0.0, 1.0]}, "not positive"),
        ({"threshold": None}, "model"),
        ({"predictor_type": "oracle"}, "oracle"),
    ],
)
def test_damaged_model_must_be_refused_by_name(tmp_path, change, says):
    """A model file that doesn't hang together is refused at loading, not at the first request."""
    tiny_model().save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}).replace("Infinity", "1e400"))
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    assert says in str(caught.value) or "can't be read" in str(caught.value)
