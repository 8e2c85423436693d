"""The command from beginning to end: the endpoint, a replica of it, the load, the report; the copy goes whatever happens."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from kubernetes.aio import config as kubernetes_config

from sagebrush.api.model_endpoint import ModelEndpointSpec
from sagebrush.capacity_test import report
from sagebrush.capacity_test.generator import Generator, Target
from sagebrush.capacity_test.measurement import Bound, Step
from sagebrush.capacity_test.options import Options
from sagebrush.capacity_test.reach import reach
from sagebrush.capacity_test.record import NO_POLICY, capacity_of, write_capacity
from sagebrush.capacity_test.replica import (
    CapacityTestError,
    Endpoint,
    clear_the_way,
    copy_name,
    copy_of,
    find_endpoint,
    running_replica,
    state_of,
    with_deployment,
)
from sagebrush.capacity_test.search import Finding, Pace, find_capacity
from sagebrush.core.resource import Manifest, dig
from sagebrush.kube.client import ApiError, Client, KubernetesClient
from sagebrush.kube.resources import PODS

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_POLL_SECONDS = 0.5
_SAY_EVERY_SECONDS = 10.0
_TIMEOUT_BOUNDS = 10
_OVERTIME = 3
INTERRUPTED = 130


def run(options: Options) -> int:
    """Do it; the exit code: 0 a capacity was found, 1 not, 130 interrupted."""
    try:
        return asyncio.run(_interruptible(options))
    except KeyboardInterrupt:
        return _interrupted()
    except (CapacityTestError, ApiError, kubernetes_config.ConfigException) as error:
        print(f"sagebrush capacity-test: {error}", file=sys.stderr)
        return 1


def _interrupted() -> int:
    print("interrupted: what was made for the test is removed", file=sys.stderr)
    return INTERRUPTED


async def _interruptible(options: Options) -> int:
    """SIGINT and SIGTERM end the test and let it tidy up; a second one does not cut that short."""
    task = asyncio.create_task(_test(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        return _interrupted()


async def _test(options: Options) -> int:
    if options.plot:
        report.check_plot_possible()
    async with AsyncExitStack() as stack:
        client: KubernetesClient | None = None
        endpoint: Endpoint | None = None
        if not options.url or options.write:
            client = await _connect()
            stack.push_async_callback(client.close)
            namespace = options.namespace or default_namespace()
            endpoint = await find_endpoint(client, namespace=namespace, name=options.name)
            if options.write and (endpoint.spec.scaling is None or endpoint.status.scaling is None):
                raise CapacityTestError(NO_POLICY)
        bound = _bound(options, endpoint.spec if endpoint else None)
        url, way, replica = await _address(options, stack, client=client, endpoint=endpoint)
        print(f"testing {replica}, reached by {way}; bound: {bound.late_percent:g} % over {bound.seconds * 1000:g} ms")
        finding = await _measure(options, url=url, bound=bound)
        result = report.Result(
            name=options.name,
            namespace=endpoint.meta.namespace if endpoint else options.namespace,
            revision=endpoint.status.revision if endpoint else None,
            way=way,
            replica=replica,
            bound=bound,
            measured_at=datetime.now(UTC),
            finding=finding,
        )
    # The replica is gone by now; what follows needs only the API server.
    return await _tell(options, result)


async def _tell(options: Options, result: report.Result) -> int:
    print(report.summary(result))
    for warning in report.warnings(result.finding):
        print(f"WARNING: {warning}.")
    for path in report.write_files(result, report=options.report, plot=options.plot):
        print(f"wrote {path}")
    if result.finding.held is None:
        return 1
    if options.write and result.namespace:
        client = await _connect()
        try:
            capacity = capacity_of(
                result.finding.throughput,
                concurrency=result.finding.concurrency,
                revision=result.revision,
                measured_at=result.measured_at,
            )
            await write_capacity(client, namespace=result.namespace, name=result.name, capacity=capacity)
            print(f"status.scaling.capacity of {result.namespace}/{result.name} says so now")
        finally:
            await client.close()
    return 0


def _bound(options: Options, spec: ModelEndpointSpec | None) -> Bound:
    """The command line's, else the policy's own, else the defaults."""
    target = spec.scaling.target if spec and spec.scaling else None
    latency = target.latency if target else None
    seconds = None
    if latency:
        seconds = float(latency[:-2]) / 1000 if latency.endswith("ms") else float(latency[:-1])
    return options.bound(latency=seconds, late_percent=target.late_percent if target else None)


async def _address(
    options: Options, stack: AsyncExitStack, *, client: KubernetesClient | None, endpoint: Endpoint | None
) -> tuple[str, str, str]:
    """URL of the replica, the way there, and which it is."""
    if options.url:
        return options.url, options.url, f"what answers at {options.url}"
    if client is None or endpoint is None:  # pragma: no cover - both are there without --url
        raise CapacityTestError("no cluster to test in")
    endpoint = await with_deployment(client, endpoint)
    if options.live:
        pod = await running_replica(client, endpoint)
        replica = f"pod {pod['metadata']['name']}, which takes live traffic too"
    else:
        await clear_the_way(client, endpoint)
        seconds = endpoint.startup_seconds + _OVERTIME * options.duration
        pod = await stack.enter_async_context(copied(client, endpoint, seconds=seconds))
        replica = f"pod {pod['metadata']['name']}, a copy without other traffic"
    sha256 = endpoint.status.model.sha256 if endpoint.status.model else None
    url, way = await stack.enter_async_context(reach(client, pod, via=options.via, sha256=sha256))
    return url, way, f"{replica}, on node {dig(pod, 'spec', 'nodeName', default='unknown')}"


@asynccontextmanager
async def copied(client: Client, endpoint: Endpoint, *, seconds: float) -> AsyncIterator[Manifest]:
    """A Ready copy of the endpoint's pod, removed at the end. Raises CapacityTestError where it does not become Ready."""
    namespace, name = endpoint.meta.namespace, copy_name(endpoint.meta.name)
    print(f"making pod {name}, a copy of revision {endpoint.status.revision}")
    try:
        await client.create(PODS, copy_of(endpoint, name=name, seconds=seconds))
        yield await _ready(client, namespace=namespace, name=name, seconds=endpoint.startup_seconds)
    finally:
        # Also where create was cut short, and the pod may be there or not.
        await asyncio.shield(client.delete(PODS, namespace=namespace, name=name))
        print(f"removed pod {name}")


async def _ready(client: Client, *, namespace: str, name: str, seconds: float) -> Manifest:
    begun = said = time.monotonic()
    while True:
        pod = await client.get(PODS, namespace=namespace, name=name)
        ready, over, doing = state_of(pod)
        if pod is not None and ready:
            return pod
        now = time.monotonic()
        if over or now - begun > seconds:
            raise CapacityTestError(over or f"the copy is not Ready after {seconds:.0f} s: {doing}")
        if now - said > _SAY_EVERY_SECONDS:
            said = now
            print(f"waiting for the copy ({now - begun:.0f} s): {doing}", flush=True)
        await asyncio.sleep(_POLL_SECONDS)


async def _measure(options: Options, *, url: str, bound: Bound) -> Finding:
    timeout = min(60.0, max(5.0, _TIMEOUT_BOUNDS * bound.seconds))
    target = Target.of(
        url, bodies=options.bodies, content_type=options.content_type, accept=options.accept, timeout=timeout
    )
    generator = Generator(target, bound, most_requests=options.max_requests)

    def say(step: Step) -> None:
        print(report.row(step), flush=True)

    try:
        print(report.HEADING, flush=True)
        async with asyncio.timeout(_OVERTIME * options.duration):
            return await find_capacity(
                generator,
                bound=bound,
                pace=Pace.of(options.duration),
                clock=time.monotonic,
                say=say,
                announce=lambda text: print(f"-- {text}", flush=True),
            )
    except TimeoutError:
        raise CapacityTestError(
            f"no end after {_OVERTIME} × {options.duration:.0f} s: the replica answers too slowly; give a longer --duration"
        ) from None
    finally:
        await generator.close()


async def _connect() -> KubernetesClient:
    try:
        return await KubernetesClient.connect()
    except kubernetes_config.ConfigException as error:
        raise CapacityTestError(
            f"no cluster to speak to ({error}): set KUBECONFIG, or test an address with --url"
        ) from error


def default_namespace() -> str:
    """The namespace that kubectl would take."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and _SERVICE_ACCOUNT.exists():
        return _SERVICE_ACCOUNT.read_text().strip()
    try:
        _, active = kubernetes_config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except (kubernetes_config.ConfigException, OSError):
        return "default"
    return str(dict(active["context"]).get("namespace") or "default") if active else "default"
