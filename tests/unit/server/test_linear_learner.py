"""Linear learner: hyperparameters, training, threshold, model file."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.linear_learner.evaluation import ThresholdRule, binary_metrics, choose_threshold
from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor, load
from sagebrush_server.algorithms.linear_learner.training import train
from sagebrush_server.errors import ClientError
from sagebrush_server.models.loading import ModelError, load_model
from sagebrush_server.training.job import Channel, TrainingInput
from tests.unit.server.conftest import tiny_model

BINARY = {"predictor_type": "binary_classifier"}


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
        given = {"epochs": "5", "mini_batch_size": "100", "learning_rate": "0.02", **BINARY, **hyperparameters}
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


def test_training_must_stop_after_the_epoch_at_sigterm_and_save(job, capsys):
    """A stop request ends training after the epoch under way, with a model."""
    task = job(epochs="500", early_stopping_patience="500")
    task.stop.set()
    train(task)
    assert capsys.readouterr().out.count("train objective_loss") == 2
    assert task.cut_short.is_set()
    assert load(task.model_folder).feature_dim == 4


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
        ("0,1,2\n2,1,2\n", "part-0.csv, row 2: the label (first column) is 2; for binary_classifier it must be 0 or 1"),
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
    """Several instances, a wrong feature_dim and unknown channels are refused with both sides named."""
    with pytest.raises(ClientError, match="trains on one instance, the job has 2"):
        train(job(hosts=("algo-1", "algo-2")))
    with pytest.raises(ClientError, match="rows have 4 features beside the label; feature_dim says 9"):
        train(job(feature_dim="9"))
    task = job()
    task.channels["extra"] = task.channels["train"]
    with pytest.raises(ClientError, match="not extra"):
        train(task)


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
        chosen = choose_threshold(scores, labels=labels, rule=ThresholdRule(criterion=criterion), neutral=0.5)
        best = max(
            binary_metrics(scores, labels=labels, threshold=threshold, f_beta=1.0)[metric]
            for threshold in [*scores, 2.0]
        )
        assert binary_metrics(scores, labels=labels, threshold=chosen, f_beta=1.0)[metric] == pytest.approx(best)


def test_threshold_must_meet_its_target():
    """Precision is maximised where the recall target is met, and the other way round."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    labels = np.array([1.0, 1, 0, 1, 0, 1])
    for criterion, recall, precision in (
        ("precision_at_target_recall", 0.75, 0.75),
        ("recall_at_target_precision", 0.5, 1.0),
    ):
        rule = ThresholdRule(criterion=criterion, target_recall=0.7, target_precision=0.9)
        chosen = choose_threshold(scores, labels=labels, rule=rule, neutral=0.5)
        metrics = binary_metrics(scores, labels=labels, threshold=chosen, f_beta=1.0)
        assert (metrics["recall"], metrics["precision"]) == (recall, precision)


def test_roc_auc_must_agree_with_counting_pairs():
    """The area is the share of (positive, negative) pairs in the right order, ties half."""
    random = np.random.default_rng(3)
    scores, labels = random.integers(0, 5, 60) / 4, random.integers(0, 2, 60).astype(float)
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    assert binary_metrics(scores, labels=labels, threshold=0.5, f_beta=1)["roc_auc_score"] == pytest.approx(
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
