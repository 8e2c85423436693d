"""The stack on a real cluster, once for all tests; a namespace with data for each module; and why a test failed."""

import json
import random
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.demo import data
from examples.demo.addons import ADDONS_NAMESPACE
from examples.demo.cluster import Cluster
from examples.demo.explain import explain
from examples.demo.progress import DemoError
from examples.demo.settings import parse
from examples.demo.shell import prepare_environment
from examples.demo.stack import SYSTEM_NAMESPACE, Stack, install_stack
from examples.demo.start import start_cluster
from tests.e2e.manifests import OWN_IMAGE

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "test" / "e2e"
DEMO_NAMESPACE = parse([]).namespace
FIRST_TEST_SECONDS = 1800
WAIT_SECONDS = 300.0
"""Bound of a wait: generous, since it costs nothing while all goes well, and a busy machine needs it."""
POLL_SECONDS = 0.5
_run = secrets.token_hex(2)


class World:
    """One namespace of the cluster, and the vocabulary of the tests."""

    def __init__(self, cluster: Cluster, stack: Stack, namespace: str) -> None:
        self.cluster, self.stack, self.namespace = cluster, stack, namespace

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.ctl("-n", self.namespace, *arguments, stdin=stdin, check=check, timeout=180)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply objects as a user does."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def apply_example(self, path: str, **changes: str) -> None:
        """Apply a manifest of examples/ as it stands, but for *changes* of words in it."""
        text = (ROOT / "examples" / path).read_text()
        for word, other in changes.items():
            assert word in text
            text = text.replace(word, other)
        self.kubectl("apply", "-f", "-", stdin=text)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""
        return self.cluster.get(kind, name, namespace=self.namespace)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """The status of an object; empty while there is no object, or nobody has written a status yet."""
        found: dict[str, Any] = (self.get(kind, name) or {}).get("status") or {}
        return found

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Pods with these labels (dots and slashes: ``endpoint`` stands for ``sagebrush.dev/endpoint``)."""
        selector = ",".join(f"sagebrush.dev/{key.replace('_', '-')}={value}" for key, value in labels.items())
        return json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]

    def wait(
        self,
        what: str,
        check: Callable[[], Any],
        *,
        seconds: float = WAIT_SECONDS,
        seen: Callable[[], Any] | None = None,
    ) -> Any:
        """
        Look every half second until *check* gives something; fails after *seconds* with *what* and what *seen* then shows.

        A kubectl that fails, as it may on a busy machine, has seen nothing: it is called again.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                last = check()
                if last:
                    return last
                late = time.monotonic() > deadline
                last = seen() if late and seen else last
            except DemoError as error:
                last, late = error, time.monotonic() > deadline
            if late:
                pytest.fail(f"waited {seconds:.0f} s in vain for {what}; last seen: {last}")
            time.sleep(POLL_SECONDS)

    def wait_status(
        self, kind: str, name: str, what: str, until: Callable[[dict[str, Any]], Any], *, seconds: float = WAIT_SECONDS
    ) -> dict[str, Any]:
        """The status of an object once *until* is true of it, which is asked of an empty one too: there may be none yet."""

        def look() -> tuple[dict[str, Any]] | None:
            status = self.status(kind, name)
            return (status,) if until(status) else None

        found: tuple[dict[str, Any]] = self.wait(
            f"{what} of {kind} {name}", look, seconds=seconds, seen=lambda: self.status(kind, name)
        )
        return found[0]

    def condition(self, kind: str, name: str, condition: str = "Ready") -> dict[str, Any]:
        """A condition of an object; empty where there is none."""
        return _condition(self.get(kind, name), condition)

    def wait_reason(self, kind: str, name: str, *reasons: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Wait until Ready has one of these reasons for the present generation of the object; the condition."""
        seen: list[str] = []

        def look() -> dict[str, Any] | None:
            body = self.get(kind, name) or {}
            found = _condition(body, "Ready")
            if found and (not seen or seen[-1] != found["reason"]):
                seen.append(found["reason"])
            told = found.get("observedGeneration") == body.get("metadata", {}).get("generation")
            return found if told and found.get("reason") in reasons else None

        found: dict[str, Any] = self.wait(
            f"{kind} {name} to be {' or '.join(reasons)}",
            look,
            seconds=seconds,
            seen=lambda: f"{self.condition(kind, name)}, reasons in their order: {seen}",
        )
        return found

    def address(self, endpoint: str) -> str:
        """The NodePort of an endpoint on loopback, once it answers there: kube-proxy hears of a ready pod after the API does."""
        service = self.wait(f"Service {endpoint}", lambda: self.get("service", endpoint))
        url = f"http://127.0.0.1:{service['spec']['ports'][0]['nodePort']}"
        self.wait(f"an answer of {endpoint} at {url}", lambda: _answers(f"{url}/ping"))
        return url

    def wait_event(self, kind: str, name: str, *, reason: str, type_: str) -> None:
        """Wait for an Event of this type and reason on an object: it is posted after the status is written."""

        def told() -> list[tuple[str, str]]:
            return [(event["type"], event["reason"]) for event in self.events(kind, name)]

        self.wait(f"a {type_} Event {reason} on {kind} {name}", lambda: (type_, reason) in told(), seen=told)

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Events on an object."""
        field = f"involvedObject.kind={kind},involvedObject.name={name}"
        return json.loads(self.kubectl("get", "events", "--field-selector", field, "-o", "json"))["items"]

    def explain(self) -> str:
        """Objects, events and logs that tell why something went wrong; what can't be had is said instead."""

        def look(*arguments: str) -> str:
            try:
                return self.kubectl(*arguments, check=False)
            except DemoError as error:
                return str(error)

        kinds = "trainingjobs,modelendpoints,jobs,deployments,services,pods"
        parts = [
            look("get", kinds, "-o", "wide"),
            look("get", "trainingjobs,modelendpoints", "-o", "yaml")[-8000:],
            look("get", "events", "--sort-by=.lastTimestamp")[-6000:],
        ]
        for pod in (word for word in look("get", "pods", "-o", "name").split() if word.startswith("pod/")):
            parts.append(f"--- {pod}")
            parts.append(look("logs", pod, "--all-containers", "--prefix", "--tail=30"))
        return "\n".join(
            [*parts, "--- operator", look("logs", "-n", SYSTEM_NAMESPACE, "deploy/sagebrush", "--tail=60")]
        )


def _condition(body: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    status = (body or {}).get("status") or {}
    return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The one-node cluster, started where it is not. Without one no test can run: the reason is then said once, last."""
    prepare_environment()
    OUT.mkdir(parents=True, exist_ok=True)
    print()
    try:
        return start_cluster(parse(["--out", str(OUT)]))
    except DemoError as error:
        pytest.exit(f"there is no cluster to test on: {error}", returncode=1)


@pytest.fixture(scope="session")
def stack(cluster: Cluster) -> Stack:
    """Images, S3 server, Prometheus and the operator by its chart."""
    try:
        return install_stack(cluster, out=OUT)
    except Exception:
        print(explain(cluster, namespace=DEMO_NAMESPACE, system_namespace=SYSTEM_NAMESPACE,
                      addons_namespace=ADDONS_NAMESPACE))  # fmt: skip
        raise


@pytest.fixture(scope="session")
def own_image(cluster: Cluster) -> str:
    """The example image that uses none of our code."""
    command = ["build-image", "--tag", OWN_IMAGE, "--context", "examples/own-image", "--load"]
    subprocess.run([sys.executable, "-m", "devcluster", *command], cwd=ROOT, check=True)
    return OWN_IMAGE


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    """A small generated set of KDD's shape."""
    return data.prepare("generated", folder=tmp_path_factory.mktemp("kdd"))


@pytest.fixture(scope="session")
def bucket(cluster: Cluster, stack: Stack, dataset: data.Dataset) -> data.Store:
    """The store with the generated set in it, and rows for the example image."""
    store = stack.addons.store
    generator = random.Random(7)
    rows = [f"{label},{label * 4 + generator.random()},{generator.random()}" for label in (0, 1) for _ in range(20)]
    with stack.addons.reach_s3(cluster) as url:
        data.upload(dataset, store=store, url=url)
        client = store.client(url)
        client.put_object(Bucket=data.BUCKET, Key="own-image/train/rows.csv", Body="\n".join(rows).encode())
        for part in range(4):
            body = "\n".join(rows[part::4]).encode()
            client.put_object(Bucket=data.BUCKET, Key=f"own-image/parts/part-{part}.csv", Body=body)
    return store


@pytest.fixture(scope="session")
def remove_namespace(cluster: Cluster) -> Iterator[Callable[[str], None]]:
    """
    Tells a namespace to go, with all that is in it; when the session ends, each must have gone.

    Kubernetes looks again at a namespace with pods only after half the time that they may take to end, half a minute for
    ours: the next module needn't wait for that.
    """
    names = []

    def remove(name: str) -> None:
        names.append(name)
        cluster.ctl("delete", "namespace", name, "--ignore-not-found", "--wait=false")

    yield remove
    for name in names:
        cluster.ctl("delete", "namespace", name, "--ignore-not-found", "--wait", "--timeout=300s", timeout=320)


@pytest.fixture(scope="module")
def world(
    cluster: Cluster,
    stack: Stack,
    bucket: data.Store,
    remove_namespace: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """A namespace of the module's own, with the keys to the store; removed afterwards, and removing it must work."""
    name = f"e2e-{Path(request.node.fspath).stem.removeprefix('test_').replace('_', '-')}-{_run}"
    cluster.ensure_namespace(name)
    data.storage_secret(cluster, store=bucket, namespace=name)
    yield World(cluster, stack, name)
    remove_namespace(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Print what explains a failure, not just a red line."""
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, World):
        report.sections.append(("what the cluster says", world.explain()))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The main job first: when it is broken, nothing else is worth waiting for. Time for what the first test needs."""
    items.sort(key=lambda item: "test_main_job" not in str(item.path))
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FIRST_TEST_SECONDS))
