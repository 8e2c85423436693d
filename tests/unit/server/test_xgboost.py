"""XGBoost as SageMaker's algorithm: hyperparameters, training, metrics, and answers equal to the library's own."""

import json
import re

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.algorithms.xgboost.hyperparameters import TABLE, library_parameters, read
from sagebrush_server.algorithms.xgboost.prediction import load
from sagebrush_server.algorithms.xgboost.training import train
from sagebrush_server.errors import ClientError
from sagebrush_server.models.loading import ModelError, load_model
from sagebrush_server.models.settings import LoadingSettings
from sagebrush_server.training import blocks
from sagebrush_server.training.job import Channel, TrainingInput

BINARY = {"objective": "binary:logistic", "num_round": "5", "nthread": "1"}
HIDDEN = "#011"


@pytest.fixture
def job(tmp_path):
    """Build a training input over 300 training and 150 validation rows of 4 features."""

    def build(
        label=lambda x: (x[:, 0] * x[:, 1] > 0).astype(float), channels=("train", "validation"), **hyperparameters
    ):
        random = np.random.default_rng(7)
        made = {}
        for name, rows in (("train", 300), ("validation", 150)):
            features = random.normal(size=(rows, 4)).round(3)
            (tmp_path / name).mkdir(exist_ok=True)
            table = np.column_stack((label(features), features))
            np.savetxt(tmp_path / name / "part-0.csv", table, delimiter=",", fmt="%.6g")
            if name in channels:
                made[name] = Channel(name, tmp_path / name, content_type="text/csv")
        (tmp_path / "model").mkdir(exist_ok=True)
        return TrainingInput(tmp_path / "model", {**BINARY, **hyperparameters}, made, ("algo-1",), "algo-1", 3)

    return build


@pytest.fixture
def pages(monkeypatch):
    """Keep no rows in memory, and make pages of 50 rows."""
    monkeypatch.setattr(blocks.open_rows, "__kwdefaults__", {**blocks.open_rows.__kwdefaults__, "keep_bytes": 0})
    monkeypatch.setattr("sagebrush_server.algorithms.xgboost.matrices.PAGE_BYTES", 50 * 4 * 8)


def table_of(task, channel):
    return np.loadtxt(task.channels[channel].folder / "part-0.csv", delimiter=",")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_hyperparameter_must_refuse_nonsense_with_name_value_and_range(row):
    """Every hyperparameter's refusal names it, the value given, and what is legal."""
    with pytest.raises(ClientError) as caught:
        read({"num_round": "5", row.name: "?"})
    assert f"hyperparameter {row.name}='?': must be {row.legal}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("eta", "1.5", "a number from 0 to 1"),
        ("subsample", "0", "above 0"),
        ("num_round", "0", "at least 1"),
        ("eval_metric", "auc,magic", "a list, with commas, of rmse"),
        ("tree_method", "gpu_hist", "can't be honoured: training runs on CPUs"),
        ("sketch_eps", "0.1", "max_bin (1/sketch_eps) took its place"),
        ("_kfold", "5", "validate with a validation channel"),
        ("objective", "rank:ndcg", "can't be honoured"),
        ("rate_drop", "0.1", "has an effect only with booster=dart"),
        ("num_class", "3", "has an effect only with objective=multi:softmax or multi:softprob"),
        ("process_type", "update", "can't be honoured"),
        ("monotone_constraints", "(1,2)", "must be -1, 0 or 1 for each feature"),
        ("max_dept", "3", "unknown hyperparameter max_dept; there are: _kfold"),
    ],
)
def test_hyperparameter_must_be_honoured_or_refused(name, value, says):
    """What is out of range, unknown, without effect, or beyond this version is refused with the reason."""
    with pytest.raises(ClientError) as caught:
        read({"num_round": "5", name: value})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "num_round is required"),
        ({"num_round": "5", "objective": "multi:softprob"}, "num_class is required with objective=multi:softprob"),
        ({"num_round": "5", "eta": "0.1", "learning_rate": "0.2"}, "eta and learning_rate are two names of the same"),
        (
            {"num_round": "5", "booster": "gblinear", "max_depth": "3"},
            "max_depth=3 has an effect only with booster=gbtree",
        ),
    ],
)
def test_hyperparameters_must_not_contradict_each_other(given, says):
    """Combinations that make no sense are refused by name."""
    with pytest.raises(ClientError) as caught:
        read(given)
    assert says in str(caught.value)


def test_only_what_was_given_must_reach_the_library():
    """The library's own defaults hold for the rest."""
    handed = library_parameters(
        read({"num_round": "5", "max_depth": "3", "eval_metric": "auc,error@0.7"}), seed=9, threads=2
    )
    assert handed == {
        "objective": "reg:squarederror", "booster": "gbtree", "tree_method": "auto", "max_depth": 3, "seed": 9,
        "nthread": 2, "eval_metric": ["auc", "error@0.7"], "verbosity": 1, "validate_parameters": True,
    }  # fmt: skip


@pytest.mark.parametrize("where", ["memory", "pages"])
def test_training_must_learn_and_report_in_both_forms(job, capsys, where, request):
    """Each round's line is SageMaker's, the final figures are the contract's, and they agree; from memory or pages."""
    if where == "pages":
        request.getfixturevalue("pages")
    train(job(eval_metric="auc,error@0.3", num_round="30"))
    out = capsys.readouterr().out
    rounds = re.findall(r"\[(\d+)\].*#011validation-auc:(\S+?)#011validation-error@0.3:(\S+)", out)
    assert [int(number) for number, *_ in rounds] == list(range(30))
    final = dict(re.findall(r"#quality_metric: host=algo-1, validation (\w+) <score>=(\S+)", out))
    assert float(final["auc"]) == pytest.approx(float(rounds[-1][1]), abs=1e-5)
    assert float(final["error_0_3"]) == pytest.approx(float(rounds[-1][2]), abs=1e-5)
    assert float(final["auc"]) > 0.95


def test_pages_must_give_the_model_that_memory_gives(job, request):
    """Where the rows come from changes nothing but rounding: with all values as bins the trees are the same."""
    rows = np.random.default_rng(1).normal(size=(50, 4))
    task = job(tree_method="hist", max_bin="512")
    train(task)
    expected = load_model(task.model_folder).predict(rows).columns["score"]
    request.getfixturevalue("pages")
    train(task)
    assert load_model(task.model_folder).predict(rows).columns["score"] == pytest.approx(expected, rel=1e-4)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_served_scores_must_be_the_librarys_own(data, tmp_path_factory):
    """For random models and rows the answer is bit for bit what the library's Booster.predict says."""
    from sagebrush_server.algorithms.xgboost.model_file import save

    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    objective = data.draw(st.sampled_from(["reg:squarederror", "binary:logistic", "multi:softprob", "multi:softmax"]))
    width, rows = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 20))
    features = random.normal(size=(60, width)) * 10.0 ** random.integers(-3, 6, size=width)
    labels = random.integers(0, 2 if objective == "binary:logistic" else 3, 60)
    booster_name = data.draw(st.sampled_from(["gbtree", "gbtree", "dart", "gblinear"]))
    parameters = {"objective": objective, "booster": booster_name, "nthread": 1}
    if booster_name != "gblinear":
        parameters["max_depth"] = data.draw(st.integers(1, 5))
    if objective.startswith("multi"):
        parameters["num_class"] = 3
    matrix = xgboost.DMatrix(features, label=labels, nthread=1)
    booster = xgboost.train(parameters, matrix, num_boost_round=data.draw(st.integers(1, 6)))
    folder = tmp_path_factory.mktemp("model")
    save(booster, folder=folder, example=blocks.Block(features[:1]))
    asked = features[random.integers(0, 60, rows)] + random.normal(size=(rows, width))
    answer = load(folder).predict(asked).columns["score"]
    assert np.array_equal(answer, booster.predict(xgboost.DMatrix(asked, nthread=1)))
    model = load(folder)
    model.check_self_test(model.predict(model.self_test_rows()))


def test_sparse_rows_must_mean_absent_as_in_training(job, tmp_path):
    """LIBSVM training and sparse requests both take an absent value as missing, as the library does."""
    task = job()
    for channel in list(task.channels.values()):
        lines = [
            f"{row[0]:g} " + " ".join(f"{i}:{v!r}" for i, v in enumerate(row[1:].tolist()) if v > 0)
            for row in table_of(task, channel.name)
        ]
        folder = tmp_path / f"{channel.name}-libsvm"
        folder.mkdir()
        (folder / "part").write_text("\n".join(lines) + "\n")
        task.channels[channel.name] = Channel(channel.name, folder, content_type="text/libsvm")
    train(task)
    booster = xgboost.Booster(model_file=bytearray((task.model_folder / "xgboost-model").read_bytes()))
    rows = SparseRows(np.array([0, 1, 1]), np.array([2]), np.array([1.5]), 4)
    dense = np.array([[np.nan, np.nan, 1.5, np.nan], [np.nan] * 4])
    expected = booster.predict(xgboost.DMatrix(dense))
    assert load(task.model_folder).predict(rows).columns["score"] == pytest.approx(expected, rel=1e-6)


def test_early_stopping_must_keep_the_best_round(job, capsys):
    """Training ends after rounds without improvement; the figures, the file and the answers are those of the best round."""
    task = job(
        lambda x: (x[:, 0] + 3 * np.cos(99 * x[:, 1]) > 0).astype(float), num_round="200", early_stopping_rounds="4",
        eval_metric="logloss", eta="0.5",
    )  # fmt: skip
    train(task)
    out = capsys.readouterr().out
    losses = [float(value) for value in re.findall(r"#011validation-logloss:(\S+)", out)]
    assert len(losses) == int(np.argmin(losses)) + 5 < 200
    final = float(re.findall(r"validation logloss <score>=(\S+)", out)[-1])
    assert final == pytest.approx(min(losses), abs=1e-5)
    table = table_of(task, "validation")
    score = np.clip(load(task.model_folder).predict(table[:, 1:]).columns["score"].astype(float), 1e-7, 1 - 1e-7)
    mean = -np.mean(np.log(np.where(table[:, 0] == 1, score, 1 - score)))
    assert mean == pytest.approx(final, abs=1e-4)


def test_early_stopping_must_have_something_to_judge_by(job):
    """Without a validation channel it is refused."""
    with pytest.raises(ClientError, match="early_stopping_rounds needs a validation channel"):
        train(job(channels=("train",), early_stopping_rounds="3"))


@pytest.mark.parametrize("keep", ["true", "false"])
def test_sigterm_must_end_after_the_round_and_save_as_asked(job, capsys, keep):
    """The round under way is finished; save_model_on_termination says whether the model is kept."""
    task = job(num_round="500", save_model_on_termination=keep)
    task.stop.set()
    train(task)
    assert task.cut_short.is_set()
    assert len(re.findall(r"^\[\d+\]", capsys.readouterr().out, re.MULTILINE)) == 1
    assert (task.model_folder / "xgboost-model").exists() == (keep == "true")


def test_weights_and_gaps_of_csv_must_reach_the_library(job):
    """csv_weights=1 takes the second column as weights, and an empty cell is a missing value."""
    task = job(
        csv_weights="1", channels=("train",), objective="reg:squarederror", base_score="0", num_round="1", eta="1"
    )
    lines = ["1,1,0.5\n", "9,0,0.5\n", "4,1,\n", "0,0,\n"] * 20
    (task.channels["train"].folder / "part-0.csv").write_text("".join(lines))
    train(task)
    booster = xgboost.Booster(model_file=bytearray((task.model_folder / "xgboost-model").read_bytes()))
    # Rows of weight 0 count nothing; lambda 1 shrinks 20 rows' mean by 20/21.
    found = booster.predict(xgboost.DMatrix(np.array([[0.5], [np.nan]])))
    assert found == pytest.approx([20 / 21, 4 * 20 / 21], rel=1e-4)


@pytest.mark.parametrize(
    ("objective", "label", "says"),
    [
        (
            "binary:logistic",
            2.0,
            "part-0.csv, row 5: the label is 2; with objective=binary:logistic it must be from 0 to 1",
        ),
        (
            "multi:softmax",
            1.5,
            "row 5: the label is 1.5; with objective=multi:softmax it must be a whole number from 0 to 2",
        ),
        ("count:poisson", -1.0, "XGBoost refuses: .*label"),
    ],
)
def test_labels_must_be_refused_by_file_and_row(job, objective, label, says):
    """What an objective can't have is the user's to mend."""

    def labels(x):
        found = np.zeros(len(x))
        found[4] = label
        return found

    more = {"num_class": "3"} if objective.startswith("multi") else {}
    with pytest.raises(ClientError, match=says):
        train(job(labels, objective=objective, **more))


def test_several_classes_must_be_scored_as_sagemaker_does(job):
    """multi:softprob answers a list for each row, and SAGEMAKER_INFERENCE_OUTPUT selects other columns."""
    task = job(lambda x: np.digitize(x[:, 0], [-0.5, 0.5]), objective="multi:softprob", num_class="3")
    train(task)
    rows = np.array([[-3.0, 0, 0, 0], [3.0, 0, 0, 0]])
    score = load(task.model_folder).predict(rows).columns["score"]
    assert score.shape == (2, 3)
    assert score.argmax(axis=1).tolist() == [0, 2]
    chosen = load(task.model_folder, settings=LoadingSettings(outputs=("predicted_label", "probability")))
    columns = chosen.predict(rows).columns
    assert columns["predicted_label"].tolist() == [0, 2]
    assert columns["probability"] == pytest.approx(score.max(axis=1), rel=1e-6)


@pytest.mark.parametrize("booster", ["gblinear", "dart"])
@pytest.mark.parametrize("where", ["memory", "pages"])
def test_other_boosters_must_train_and_serve(job, booster, where, request):
    """gblinear works in memory only, and gets its rows there; dart works on pages."""
    if where == "pages":
        request.getfixturevalue("pages")
    task = job(lambda x: 2 * x[:, 0], objective="reg:squarederror", booster=booster, num_round="30")
    train(task)
    score = load(task.model_folder).predict(np.array([[1.0, 0, 0, 0]])).columns["score"]
    assert score[0] == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 9}, "format_version 9"),
        ({"booster": "../other"}, "the file is called xgboost-model"),
        ({"feature_dim": 7}, "don't agree"),
    ],
)
def test_damaged_model_must_be_refused_by_name(job, change, says):
    """A model folder that doesn't hang together is refused at loading."""
    task = job(channels=("train",), num_round="1")
    train(task)
    path = task.model_folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=says):
        load_model(task.model_folder)
    (task.model_folder / "xgboost-model").write_bytes(b"nonsense")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 1, "booster": "xgboost-model"}))


def test_channels_must_be_known(job):
    """A channel that the algorithm doesn't read is refused."""
    task = job()
    task.channels["test"] = task.channels["train"]
    with pytest.raises(ClientError, match="train and validation, not test"):
        train(task)
