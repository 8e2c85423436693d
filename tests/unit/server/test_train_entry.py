"""`train` as a container's entry point: exit codes, the failure file, and what it may import."""

import json
import signal
import subprocess
import sys

import pytest

from sagebrush_server.datasets.kdd import prepare
from sagebrush_server.models.loading import load_model
from sagebrush_server.training.entry import run_training
from sagebrush_server.training.fetch import fetch_channels
from sagebrush_server.training.job import TrainingInput
from sagebrush_server.training.plan import TrainingPlan
from tests.unit.server.conftest import plan_environment

ENVIRONMENT = {"SAGEBRUSH_ALGORITHM": "linear-learner"}


@pytest.fixture
def pod(paths, plan_document, tmp_path):
    """Build a training pod with generated intrusion data and the given hyperparameters."""

    def build(rows=2500, **hyperparameters):
        options = {"validation_fraction": 0.2, "seed": 0, "encoding": "ordered"}
        prepare("generated", out=tmp_path / "claims" / "data", rows=rows, **options)
        plan_document["hyperParameters"] |= hyperparameters
        plan_document["channels"].append(
            {**plan_document["channels"][0], "name": "validation", "uri": "pvc://data/validation"}
        )
        fetch_channels(TrainingPlan.from_environment(plan_environment(plan_document)), paths=paths)
        return paths

    return build


def test_train_must_reach_the_accuracy_of_the_example(pod, capsys):
    """On the intrusion data the defaults give at least 94 % on validation, and a model that loads."""
    paths = pod(epochs="15")
    assert run_training(paths, environment=ENVIRONMENT) == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if "validation binary_classification_accuracy" in line
    ]
    assert float(lines[-1].partition("<score>=")[2]) >= 0.94
    assert load_model(paths.model).feature_dim == 41
    assert not paths.failure.exists()


@pytest.mark.parametrize(
    ("environment", "damage", "code", "says"),
    [
        (
            ENVIRONMENT,
            {"hyperparameters.json": {"predictor_type": "oracle"}},
            2,
            "ClientError: hyperparameter predictor_type",
        ),
        (
            {"SAGEBRUSH_ALGORITHM": "magic"},
            {},
            2,
            "ClientError: SAGEBRUSH_ALGORITHM: there is no built-in algorithm 'magic'",
        ),
        ({**ENVIRONMENT, "SAGEBRUSH_SEED": "x"}, {}, 2, "ClientError: SAGEBRUSH_SEED='x'"),
        (
            ENVIRONMENT,
            {"inputdataconfig.json": {}},
            2,
            "ClientError: the channel 'train' is required; channels given: none",
        ),
        (ENVIRONMENT, {"hyperparameters.json": []}, 1, "AlgorithmError: "),
        (ENVIRONMENT, {"resourceconfig.json": {}}, 1, "AlgorithmError: KeyError"),
    ],
)
def test_train_must_leave_one_sentence_and_the_right_code(pod, caplog, environment, damage, code, says):
    """The failure file says who can mend it; 2 is the user, 1 the rest; the log's last line is the same sentence."""
    paths = pod(rows=60)
    for name, document in damage.items():
        (paths.input_config / name).write_text(json.dumps(document))
    assert run_training(paths, environment=environment) == code
    assert paths.failure.read_text().startswith(says)
    assert caplog.records[-1].message == paths.failure.read_text()


@pytest.mark.parametrize(
    ("hyperparameters", "code"),
    [
        ({"epochs": "500", "early_stopping_patience": "500"}, 143),
        ({"epochs": "1"}, 0),
        ({"epochs": "500", "early_stopping_patience": "1", "early_stopping_tolerance": "1"}, 0),
    ],
    ids=["under way", "in the last epoch", "no longer improving"],
)
def test_train_must_end_with_143_where_sigterm_cut_it_short(pod, caplog, monkeypatch, hyperparameters, code):
    """The model so far is saved and no failure written, but 0 would count a drained or suspended run as finished."""
    reports = []

    def report(self, metric, *, channel, value):
        reports.append(metric)
        if len(reports) == 3:  # train and validation of epoch 1, then of epoch 2 or, after the last, of the end
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingInput, "report", report)
    caplog.set_level("INFO")
    paths = pod(rows=200, **hyperparameters)
    assert run_training(paths, environment=ENVIRONMENT) == code
    assert load_model(paths.model).feature_dim == 41
    assert not paths.failure.exists()
    assert ("SIGTERM cut training short" in caplog.records[-1].message) == (code == 143)


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        (
            "sagebrush_server.http.server, sagebrush_server.algorithms.linear_learner.prediction",
            ("boto3", "sklearn", "scipy"),
        ),
        *(
            (f"sagebrush_server.algorithms.{algorithm}.prediction", ("boto3", "sklearn", "scipy", "xgboost", "pandas"))
            for algorithm in ("kmeans", "pca", "random_cut_forest", "knn", "factorization_machines")
        ),
        ("sagebrush_server.models.fetch", ("boto3", "sklearn", "numpy", "uvloop")),
        ("sagebrush_server.training.fetch, sagebrush_server.training.upload", ("boto3", "sklearn", "numpy", "uvloop")),
    ],
)
def test_commands_must_import_only_what_they_need(module, forbidden):
    """Start-up time is import time: serving knows no boto3 or scikit-learn, fetching no numpy."""
    code = f"import sagebrush_server.cli, {module}, sys; print([m for m in {forbidden!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"
