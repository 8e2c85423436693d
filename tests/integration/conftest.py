"""Operators to test: one for each module that watches everything, and as many more as a test wants."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.controlplane import ControlPlane
from tests.fakes.kubelet import Kubelet
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess, Operators

TEST_SECONDS = 900
"""For a test and the fixtures that it is the first to need, where every wait takes long; a bound, not an expectation."""
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Time for tests that start operators and wait for them on a busy machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, kube: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """One operator for the whole cluster and all tests of the module; modules that start their own don't ask for it."""
    home = f"operator-{next(_numbers)}"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    running = Operators(kubeconfig=control_plane.kubeconfig, folder=tmp_path_factory.mktemp("operator"))
    try:
        yield running.start(lease_namespace=home)
    finally:
        running.end()
        kube.delete("Namespace", None, home)


@pytest.fixture
def operators(control_plane: ControlPlane, kube: Kube, tmp_path: Path) -> Iterator[Operators]:
    """Starts operators of the test's own."""
    starting = Operators(kubeconfig=control_plane.kubeconfig, folder=tmp_path)
    yield starting
    starting.end()


@pytest.fixture
def kubelet(kube: Kube, namespace: str) -> Kubelet:
    """Plays the kubelet for pods of the test's namespace."""
    return Kubelet(kube, namespace)
