"""What the suites share: a real Kubernetes API without a node, a namespace for each test, and what explains a failure."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from devcluster.controlplane import ControlPlane
from devcluster.errors import DevclusterError
from tests.integration.kube import Kube, wait_for

ROOT = Path(__file__).resolve().parent.parent
EXPLAINING = "trainingjobs,modelendpoints,jobs,deployments,services,pods"
TAIL_LINES = 60

_numbers = itertools.count(1)

# A machine that is busy with something else makes single examples slow: that is no finding about the code.
settings.register_profile("local", deadline=None)
# A change is judged by the examples that it was judged by before; new ones are found where people work.
settings.register_profile("CI", deadline=None, derandomize=True)
settings.load_profile("CI" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver and the controllers that make pods and collect garbage; one for each xdist worker."""
    with ControlPlane(
        tmp_path_factory.mktemp("control-plane"), start_controller_manager=True, build_missing=True
    ) as running:
        yield running


@pytest.fixture(scope="session")
def apiserver(control_plane: ControlPlane) -> ControlPlane:
    """The same, bare of our CRDs unless somebody has applied them: `.kubeconfig` is an administrator's."""
    return control_plane


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    """Our CRDs, applied once and established."""
    control_plane.kubectl("apply", "-f", str(ROOT / "crds"))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(ROOT / "crds"))
    wait_for(lambda: _serves_ours(control_plane), "the API server to serve our kinds")


def _serves_ours(control_plane: ControlPlane) -> bool:
    """Whether our kinds can be listed and explained: a moment after their CRDs are Established."""
    try:
        control_plane.kubectl("get", "trainingjobs,modelendpoints", "--all-namespaces")
        for kind in ("trainingjobs", "modelendpoints"):
            control_plane.kubectl("explain", f"{kind}.spec")
    except DevclusterError:
        return False
    return True


@pytest.fixture(scope="session")
def kube(control_plane: ControlPlane, crds: None) -> Kube:
    """A client of the API server as administrator."""
    return Kube(control_plane.kubeconfig)


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the test's own, with its default service account; it goes away in the background."""
    name = f"test-{next(_numbers)}"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    kube.wait("ServiceAccount", name, "default")
    yield name
    # At once, and not when Kubernetes comes to it: an operator for all namespaces, of a later test, must not serve them.
    for kind in ("ModelEndpoint", "TrainingJob"):
        kube.delete(kind, name, None)
    kube.delete("Namespace", None, name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """To a failed test's report, add the objects and events of its namespace and the end of its operators' logs."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed or report.when == "teardown":
        return
    arguments = getattr(item, "funcargs", {})
    plane, name = arguments.get("control_plane"), arguments.get("namespace")
    if plane is not None and name is not None:
        report.sections.append((f"objects of namespace {name}", _objects(plane, name)))
    for operator in _operators(arguments):
        report.sections.append((f"log of {operator.name}", tail(operator.log, namespace=name)))


def _objects(plane: ControlPlane, name: str) -> str:
    parts = []
    for arguments in (
        ("get", EXPLAINING, "-o", "wide"),
        ("get", "trainingjobs,modelendpoints", "-o", "yaml"),
        ("get", "events", "--sort-by=.metadata.creationTimestamp"),
    ):
        with contextlib.suppress(Exception):
            parts.append(plane.kubectl(*arguments, f"--namespace={name}"))
    return "\n".join(parts)


def _operators(arguments: dict[str, Any]) -> list[Any]:
    found = []
    for value in arguments.values():
        several = value if isinstance(value, list) else getattr(value, "started", [value])
        found += [each for each in several if hasattr(each, "log") and hasattr(each, "stop")]
    return found


def tail(log: Path, *, namespace: str | None) -> str:
    """The last lines of an operator's log, without those about objects of other tests' namespaces."""
    if not log.exists():
        return "(no log)"
    lines = log.read_text(errors="replace").splitlines()
    ours = [line for line in lines if namespace is None or f" {namespace}/" in line or "] " not in line]
    return "\n".join(ours[-TAIL_LINES:])
