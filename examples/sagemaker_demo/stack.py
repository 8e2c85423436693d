"""What the demo runs on, all of it on this machine's loopback and gone at the end: a Kubernetes API, the operator, Prometheus,
S3, and the simulator in SageMaker's place."""

import json
import logging
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from devcluster import binaries, processes
from devcluster.controlplane import ControlPlane
from devcluster.errors import DevclusterError
from examples.demo.cluster import Cluster
from examples.demo.data import Store
from examples.demo.progress import DemoError, say, wait_for
from examples.demo.shell import REPOSITORY, run_long, tail
from examples.sagemaker_demo.manifests import ACCOUNT
from examples.sagemaker_demo.settings import Settings
from tests.sagemaker_simulator.control import Control

REGION = "us-east-1"  # that of the chart's default price table
OPERATOR_KEY, DEMO_KEY = "AKIAOPERATOR", "AKIADEMO"
CLUSTER_ID = "sagebrush-demo"
PROGRAMS = ("etcd", "kube-apiserver", "kubectl", "prometheus")
VALUES = REPOSITORY / "charts" / "sagebrush" / "values.yaml"
BUILD_SECONDS, START_SECONDS = 3600, 60
SCRAPE_SECONDS = 1
CALLS_PER_SECOND, BURST = 10, 20
"""The operator's defaults for an account. They stay although time runs faster here, so the budget is a tight one."""


@dataclass(kw_only=True)
class Stack:
    """Everything that runs, and how to reach it."""

    cluster: Cluster
    control: Control
    simulator_url: str
    s3_url: str
    prometheus_url: str
    folder: Path
    running: list[processes.Process] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The S3 server, as the data module takes it."""
        return Store(in_cluster_url=self.s3_url, access_key=DEMO_KEY, secret_key="demo", region=REGION)

    @property
    def operator_log(self) -> Path:
        """What the operator says."""
        return self.folder / "logs" / "operator.log"

    def aws(self, service: str) -> Any:
        """Return a boto3 client of the simulated account, with a key of its own: the audit tells its calls from the operator's."""
        return boto3.client(
            service,
            endpoint_url=self.s3_url if service == "s3" else self.simulator_url,
            region_name=REGION,
            aws_access_key_id=DEMO_KEY,
            aws_secret_access_key="demo",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )

    def check(self) -> None:
        """Raise DemoError where one of the processes has ended, with its last words."""
        for process in self.running:
            if not process.alive:
                raise DemoError(f"{process.name} has ended\n{tail(Path(process.log))}")


def ensure_programs(out: Path) -> Mapping[str, Path]:
    """Build what is missing, minutes when all is cold, and return where each program lies."""
    if any(binaries.find(name) is None for name in PROGRAMS):
        command = [sys.executable, "-m", "devcluster", "tools", "--only", ",".join(PROGRAMS)]
        log = out / "logs" / "tools.log"
        run_long(command, what="programs of the demo", log=log, timeout=BUILD_SECONDS, through=True)
    try:
        return binaries.ensure(PROGRAMS)
    except DevclusterError as error:
        raise DemoError(str(error)) from error


def forget_aws() -> None:
    """Take from the environment whatever could lead to a real AWS account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def start_stack(settings: Settings) -> Iterator[Stack]:
    """Start everything, the operator last; stop it all when the block ends, however that ends."""
    forget_aws()
    programs = ensure_programs(settings.out)
    folder = settings.out / "run"
    for log in (folder / "logs").glob("*.log"):
        log.unlink()
    with ExitStack() as opened:
        plane = opened.enter_context(ControlPlane(folder))
        say(f"Kubernetes API at {plane.url}; look around in another terminal: export KUBECONFIG={plane.kubeconfig}")
        plane.kubectl("apply", "-f", str(REPOSITORY / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(REPOSITORY / "crds"))
        s3 = opened.enter_context(_s3_server())
        simulator = _simulator(opened, settings, folder=folder, s3=s3)
        prometheus, port = _prometheus(opened, programs["prometheus"], folder=folder, target=simulator[1])
        stack = Stack(
            cluster=Cluster(kind="current", kubectl=str(programs["kubectl"]), helm="", kubeconfig=plane.kubeconfig),
            control=Control(simulator[1]),
            simulator_url=simulator[1],
            s3_url=s3,
            prometheus_url=f"http://127.0.0.1:{port}",
            folder=folder,
            running=[simulator[0], prometheus],
        )
        say(f"S3 (moto) at {s3}; SageMaker (simulated, {settings.speed:g} × real time) at {simulator[1]}")
        say(f"Prometheus at {stack.prometheus_url}, scrapes the simulated instances every {SCRAPE_SECONDS} s")
        stack.running.append(_operator(opened, settings, stack=stack))
        try:
            yield stack
        finally:
            say("stopping everything that was started")


def _start(
    opened: ExitStack, name: str, command: Sequence[str], *, folder: Path, **environment: str
) -> processes.Process:
    process = processes.start(name, command, folder=folder, environment=environment, dies_with_us=True)
    opened.callback(processes.forget, process, folder=folder)
    opened.callback(processes.stop, process, grace_seconds=5)
    return process


@contextmanager
def _s3_server() -> Iterator[str]:
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise DemoError("moto's S3 server is missing: run `make env`, which installs it") from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _simulator(opened: ExitStack, settings: Settings, *, folder: Path, s3: str) -> tuple[processes.Process, str]:
    command = [sys.executable, "-m", "tests.sagemaker_simulator", f"--speed={settings.speed}", f"--s3-endpoint={s3}"]
    command += [f"--region={REGION}", f"--account={ACCOUNT}"]
    keys = {"AWS_ACCESS_KEY_ID": "simulator", "AWS_SECRET_ACCESS_KEY": "simulator", "AWS_REGION": REGION}
    process = _start(opened, "simulator", command, folder=folder, PYTHONPATH=str(REPOSITORY), **keys)

    def address() -> str | None:
        _alive(process)
        for line in Path(process.log).read_text().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                return str(json.loads(line)["url"])
        return None

    return process, wait_for("the simulator's address", check=address, timeout=START_SECONDS)


def _prometheus(opened: ExitStack, program: Path, *, folder: Path, target: str) -> tuple[processes.Process, int]:
    port, config = _free_port(), folder / "prometheus.yaml"
    jobs = [{"job_name": "sagemaker", "static_configs": [{"targets": [target.removeprefix("http://")]}]}]
    times = {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"}
    config.write_text(yaml.safe_dump({"global": times, "scrape_configs": jobs}))
    command = [str(program), f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    _removed_later(opened, folder / "prometheus")
    process = _start(opened, "prometheus", command, folder=folder)
    _wait_http(process, f"http://127.0.0.1:{port}/-/ready")
    return process, port


def _operator(opened: ExitStack, settings: Settings, *, stack: Stack) -> processes.Process:
    prices = stack.folder / "prices.yaml"
    prices.write_text(yaml.safe_dump(yaml.safe_load(VALUES.read_text())["aws"]["prices"]))
    port = _free_port()
    flags = operator_flags(settings, prices=prices, prometheus=stack.prometheus_url)
    say(f"$ sagebrush run {' '.join(flags)}")
    process = _start(
        opened,
        "operator",
        [sys.executable, "-m", "sagebrush", "run", f"--http-port={port}", "--log-format=text", *flags],
        folder=stack.folder,
        KUBECONFIG=str(stack.cluster.kubeconfig),
        AWS_ACCESS_KEY_ID=OPERATOR_KEY,
        AWS_SECRET_ACCESS_KEY="operator",
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL=stack.simulator_url,
        AWS_ENDPOINT_URL_S3=stack.s3_url,
    )
    _wait_http(process, f"http://127.0.0.1:{port}/readyz")
    return process


def operator_flags(settings: Settings, *, prices: Path, prometheus: str) -> list[str]:
    """Return the operator's flags: looks at SageMaker follow its faster clock, down to half a second; the budget is the default."""
    return [
        f"--namespaces={settings.namespace}",
        f"--cluster-id={CLUSTER_ID}",
        "--leader-election=false",
        f"--prometheus-url={prometheus}",
        f"--scaling-interval-seconds={SCRAPE_SECONDS}",
        f"--sagemaker-poll-seconds={max(0.5, 15 / settings.speed):g}",
        f"--sagemaker-steady-poll-seconds={max(1.0, 60 / settings.speed):g}",
        f"--aws-calls-per-second={CALLS_PER_SECOND}",
        f"--aws-burst={BURST}",
        f"--price-table={prices}",
    ]


def _removed_later(opened: ExitStack, folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    opened.callback(shutil.rmtree, folder, ignore_errors=True)


def _wait_http(process: processes.Process, url: str) -> None:
    def answers() -> bool | None:
        _alive(process)
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return True if answer.status == 200 else None
        except (urllib.error.URLError, OSError):
            return None

    wait_for(
        f"{process.name} to be ready",
        check=answers,
        timeout=START_SECONDS,
        detail=lambda: tail(Path(process.log), lines=3),
    )


def _alive(process: processes.Process) -> None:
    if not process.alive:
        raise DemoError(f"{process.name} ended while starting\n{tail(Path(process.log))}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
