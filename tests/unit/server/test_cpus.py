"""Threads of a training process."""

import os

import pytest

from sagebrush_server.training.cpus import available_cpus, limit_threads


@pytest.mark.parametrize(
    ("text", "cpus"), [("50000 100000", 1), ("max 100000", None), ("nonsense", None), ("100000000 100000", None)]
)
def test_cpus_must_be_the_containers(tmp_path, text, cpus):
    """A limit of half a CPU is one thread; without a limit, or with a greater one, it is what the process may run on."""
    limit = tmp_path / "cpu.max"
    limit.write_text(text)
    assert available_cpus(limit) == (cpus or len(os.sched_getaffinity(0)))
    assert available_cpus(tmp_path / "none") == len(os.sched_getaffinity(0))


def test_the_users_threads_must_be_left_alone():
    """What the environment says already stays."""
    environment = {"OMP_NUM_THREADS": "7"}
    limit_threads(environment)
    assert environment == {"OMP_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "1"}
