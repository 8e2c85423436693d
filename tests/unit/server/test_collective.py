"""The hosts of a training job, as real processes on loopback addresses."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sagebrush_server.errors import AlgorithmError
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.job import TrainingInput

ROOT = Path(__file__).parents[3]
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def start_host(folder, host, *, port, hosts=HOSTS, **environment):
    path = folder / f"{host}.json"
    path.write_text(json.dumps({"hosts": hosts, "host": host}))
    settings = {"SAGEBRUSH_COLLECTIVE_PORT": str(port), "SAGEBRUSH_HOSTS_TIMEOUT_SECONDS": "60", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.server.host_process", str(path)],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_hosts_must_agree_on_sums_means_and_the_first_hosts_word(tmp_path):
    """Three processes see the same sum, mean and answer, ranked as the job lists them, and all end well."""
    port = free_port()
    processes = [start_host(tmp_path, host, port=port) for host in HOSTS]
    said = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        said.append(json.loads(next(line for line in out.splitlines() if line.startswith("{"))))
    assert [answer.pop("rank") for answer in said] == [0, 1, 2]
    # The mean of 0, 1, 2 with the weights 1, 2, 3.
    expected = {"sum": [[3.0, 3.0]], "mean": [8 / 6], "leader": [7.0], "any": [True, False]}
    assert [{**answer, "mean": pytest.approx(answer["mean"])} for answer in said] == [expected] * 3


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


def test_one_host_must_need_no_network(tmp_path):
    """A job of one host opens no socket, and its sums are its own values."""
    job = TrainingInput(tmp_path, {}, {}, ("algo-1",), "algo-1", 0)
    with together(job, environment={}) as collective:
        assert collective.leads
        assert collective.sum(np.array([1.0, 2.0])).tolist() == [1, 2]
        assert collective.mean(np.array([3.0]), weight=0).tolist() == [3]
    assert Collective().any(True)
