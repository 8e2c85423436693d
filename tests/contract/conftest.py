"""The simulator that contract tests call by unmodified boto3: one server, emptied before each test."""

from collections.abc import Iterator

import pytest

from tests.contract.aws import Aws
from tests.sagemaker_simulator import ManualClock, Simulator


@pytest.fixture(scope="session")
def running() -> Iterator[Simulator]:
    """A simulator on a clock that only tests advance."""
    with Simulator(clock=ManualClock()) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def clients(running: Simulator) -> Aws:
    return Aws(running)


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    """An empty world."""
    running.reset()
    return running


@pytest.fixture
def aws(simulator: Simulator, clients: Aws) -> Aws:
    """boto3's clients at that world, and short forms of its longer calls."""
    return clients
