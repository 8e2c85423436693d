"""The hosts of a training job, as real processes on loopback addresses."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sagebrush_server.errors import AlgorithmError
from sagebrush_server.models.loading import load_model
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.job import TrainingInput

ROOT = Path(__file__).parents[3]
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
LEARNERS = {
    "linear-learner": {"predictor_type": "binary_classifier", "epochs": "8", "mini_batch_size": "50"},
    "xgboost": {"objective": "binary:logistic", "num_round": "20", "eval_metric": "error", "nthread": "1"},
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run all jobs with several hosts, in one process that forks, and return the folder with logs and models."""
    folder = tmp_path_factory.mktemp("hosts")
    channels = {}
    random = np.random.default_rng(0)
    for channel, rows in (("train", 900), ("validation", 300)):
        features = random.normal(size=(rows, 3))
        table = np.column_stack((features[:, 0] > 0.5 * features[:, 1], features))
        channels[channel] = str(folder / channel)
        (folder / channel).mkdir()
        np.savetxt(folder / channel / "a.csv", table, delimiter=",", fmt="%.5f")
    jobs = [{"name": "meet", "run": "meet", "hosts": HOSTS}, {"name": "lose", "run": "lose", "hosts": HOSTS}]
    jobs += [
        {"name": name, "run": name, "hosts": HOSTS[:2], "hyperparameters": given, "channels": channels}
        for name, given in LEARNERS.items()
    ]
    (folder / "jobs.json").write_text(json.dumps([{**job, "port": free_port()} for job in jobs]))
    command = [sys.executable, "-m", "tests.unit.server.training_hosts", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=200)
    return folder


def test_hosts_must_agree_on_sums_means_and_the_first_hosts_word(ran):
    """Three processes see the same sum, mean and answer, ranked as the job lists them."""
    said = []
    for host in HOSTS:
        lines = (ran / f"meet-{host}.log").read_text().splitlines()
        said.append(json.loads(next(line for line in lines if line.startswith("{"))))
    assert [answer.pop("rank") for answer in said] == [0, 1, 2]
    # The mean of 0, 1, 2 with the weights 1, 2, 3.
    expected = {"sum": [[3.0, 3.0]], "mean": [8 / 6], "leader": [7.0], "any": [True, False]}
    assert [{**answer, "mean": pytest.approx(answer["mean"])} for answer in said] == [expected] * 3


def test_hosts_must_not_wait_for_one_that_is_gone(ran):
    """A host that dies ends the others at once, with a sentence that says so."""
    for host in (HOSTS[0], HOSTS[2]):
        assert "AlgorithmError: a host of this training job is gone" in (ran / f"lose-{host}.log").read_text()


@pytest.mark.parametrize("learner", LEARNERS)
def test_hosts_must_train_one_model_together(ran, learner):
    """Two hosts learn from their halves of the rows; the first one alone reports and saves, and the model is good."""
    logs = [(ran / f"{learner}-{host}.log").read_text() for host in HOSTS[:2]]
    assert not any("Traceback" in log for log in logs), logs
    assert list((ran / f"{learner}-{HOSTS[1]}").iterdir()) == []
    model = load_model(ran / f"{learner}-{HOSTS[0]}")
    table = np.loadtxt(ran / "validation" / "a.csv", delimiter=",")
    assert np.mean((model.predict(table[:, 1:]).columns["score"] > 0.5) == table[:, 0]) > 0.93
    assert "#quality_metric: host=127.0.0.1, validation" in logs[0]
    assert "#quality_metric" not in logs[1]
    rows = re.findall(r"(\d+) rows", logs[0])
    # All rows for the one, its own half for the other.
    assert rows[0] == {"linear-learner": "900", "xgboost": "450"}[learner]


def test_a_missing_host_must_be_named(tmp_path):
    """The first host says who never came, and the others that the first one didn't answer, after the time they were given."""
    settings = {"SAGEBRUSH_COLLECTIVE_PORT": str(free_port()), "SAGEBRUSH_HOSTS_TIMEOUT_SECONDS": "0.2"}
    for host, says in (
        ("127.0.0.1", "the hosts 127.0.0.2, 127.0.0.3 did not come to 127.0.0.1"),
        ("127.0.0.2", "the host 127.0.0.1:.* did not answer within 0 s: .*refused"),
    ):
        job = TrainingInput(tmp_path, {}, {}, HOSTS, host, 0)
        with pytest.raises(AlgorithmError, match=says), together(job, environment=settings):
            pass
    job = TrainingInput(tmp_path, {}, {}, ("no.such.host.invalid", "other"), "no.such.host.invalid", 0)
    with pytest.raises(AlgorithmError, match=r"the host no\.such\.host\.invalid has no address"), together(job):
        pass


def test_one_host_must_need_no_network(tmp_path):
    """A job of one host opens no socket, and its sums are its own values."""
    job = TrainingInput(tmp_path, {}, {}, ("algo-1",), "algo-1", 0)
    with together(job, environment={}) as collective:
        assert collective.leads
        assert collective.sum(np.array([1.0, 2.0])).tolist() == [1, 2]
        assert collective.mean(np.array([3.0]), weight=0).tolist() == [3]
    assert Collective().any(True)
