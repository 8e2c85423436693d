"""Where the chart and the programs are that the chart's tests drive."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.kube import wait_for

CHART = Path(__file__).parents[2] / "charts" / "sagebrush"


def program(name: str) -> str:
    """Path of a program: folder SAGEBRUSH_BIN, then what the dev cluster finds or builds; absent, the tests fail."""
    folder = os.environ.get("SAGEBRUSH_BIN")
    if folder and (found := shutil.which(name, path=folder)):
        return found
    from devcluster import binaries

    return str(binaries.ensure([name])[name])


@pytest.fixture(scope="session")
def chart() -> Path:
    """The chart's folder."""
    return CHART


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs helm and returns what came of it, failure included."""
    path = program("helm")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [path, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
        )

    return run


@pytest.fixture(scope="session")
def template(helm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `helm template` of the chart as release `demo` in namespace `ml-system`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # A helm built from source believes in Kubernetes 1.20 unless told.
        where = ("--namespace", "ml-system", "--kube-version", "1.36.0")
        return helm("template", "demo", str(CHART), *where, *arguments)

    return run


@pytest.fixture(scope="session")
def render(template) -> Callable[..., list[dict[str, Any]]]:
    """Renders the chart with the given arguments into its objects."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        done = template(*arguments)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return run


@pytest.fixture(scope="session")
def kubectl() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs kubectl against the given API server and returns what came of it, failure included."""
    path = program("kubectl")

    def run(server: Any, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        # Not in the user's home, where what is known of an address would outlive the server there.
        cache = f"--cache-dir={server.kubeconfig.parent / 'kubectl-cache'}"
        command = [path, f"--kubeconfig={server.kubeconfig}", cache, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def may(kubectl) -> Callable[..., bool]:
    """Whether the API server lets somebody do something in a namespace."""

    def ask(server: Any, verb: str, resource: str, *, namespace: str, who: str) -> bool:
        answer = kubectl(server, "auth", "can-i", verb, resource, f"--namespace={namespace}", f"--as={who}")
        assert answer.stdout.strip() in {"yes", "no"}, answer.stderr
        return answer.stdout.strip() == "yes"

    return ask


@pytest.fixture(scope="session")
def wait_may(may) -> Callable[..., None]:
    """Returns once somebody may do something: the API server heeds a role a moment after it has taken it."""

    def wait(server: Any, verb: str, resource: str, *, namespace: str, who: str) -> None:
        what = f"{who} to be let {verb} {resource} in {namespace}"
        wait_for(lambda: may(server, verb, resource, namespace=namespace, who=who), what)

    return wait
