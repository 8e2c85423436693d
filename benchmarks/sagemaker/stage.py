"""All that runs: a real Kubernetes API, S3, the simulator and the operator, each but S3 in a process of its own."""

import contextlib
import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import boto3
from kubernetes import client, config
from moto.server import ThreadedMotoServer

from benchmarks.sagemaker.manifests import NAMESPACE
from benchmarks.sagemaker.options import ROOT, Options
from benchmarks.sagemaker.usage import Usage, machine_busy_seconds, usage
from benchmarks.sagemaker.watching import ENDPOINTS, GROUP, JOBS, VERSION, Watching
from benchmarks.sagemaker.workload import SORTS
from devcluster.controlplane import ControlPlane
from tests.integration.operator_process import OperatorProcess
from tests.integration.sagemaker.aws import BUCKET, CLUSTER_ID, CREDENTIALS, REGION
from tests.sagemaker_simulator import Control

PRICES = """\
asOf: 2026-11-01
currency: USD
hosting: {us-east-1: {ml.m5.large: 0.12, ml.m5.xlarge: 0.24}}
training: {us-east-1: {ml.m5.large: 0.18, ml.m5.xlarge: 0.36}}
"""
_SUBMITTERS = 4


class Stage:
    """Everything started in `with`, and ended with it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        folder = self.options.out / "sagemaker"
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as starting:
            self._start(starting, folder)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self, stack: contextlib.ExitStack, folder: Path) -> None:
        plane = stack.enter_context(ControlPlane(folder / "control-plane", build_missing=True))
        plane.kubectl("apply", "-f", str(ROOT / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
        plane.kubectl("create", "namespace", NAMESPACE)
        s3 = self._start_s3(stack)
        self.simulator = self._start_simulator(stack, folder, s3=s3)
        self.api = client.CustomObjectsApi(
            config.new_client_from_config(str(plane.kubeconfig))  # type: ignore[no-untyped-call]
        )
        self.watching = Watching(self.api)
        self.watching.start()
        told = self.control.time()
        self._simulated, self._wall = told["now"], told["wall"]
        self.operator = self._start_operator(stack, folder, s3=s3, kubeconfig=plane.kubeconfig)
        self._submitters = stack.enter_context(ThreadPoolExecutor(_SUBMITTERS))

    def _start_s3(self, stack: contextlib.ExitStack) -> str:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        s3 = boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="train/part-0.csv", Body=b"1,2,3\n")
        s3.put_object(Bucket=BUCKET, Key="pretrained/model.tar.gz", Body=b"a model")
        return url

    def _start_simulator(self, stack: contextlib.ExitStack, folder: Path, *, s3: str) -> "subprocess.Popen[str]":
        # JSON is YAML.
        plan = [sort.rule() for sort in SORTS.values()]
        delay = self.options.latency / self.options.speed
        plan.append({"kind": "delay", "seconds": delay, "times": None})
        (folder / "plan.yaml").write_text(json.dumps(plan))
        command = [sys.executable, "-m", "tests.sagemaker_simulator", "--port", "0", "--s3-endpoint", s3]
        command += ["--speed", str(self.options.speed), "--faults", str(folder / "plan.yaml"), "--region", REGION]
        log = stack.enter_context((folder / "simulator.log").open("w"))
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        stack.callback(_end, process)
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError(f"the simulator did not start: see {folder / 'simulator.log'}")
        self.control = Control(json.loads(line)["url"])
        return process

    def _start_operator(
        self, stack: contextlib.ExitStack, folder: Path, *, s3: str, kubeconfig: Path
    ) -> OperatorProcess:
        (folder / "prices.yaml").write_text(PRICES)
        (folder / "operator.log").unlink(missing_ok=True)
        operator = OperatorProcess(
            kubeconfig=kubeconfig,
            folder=folder,
            lease_namespace=NAMESPACE,
            name="operator",
            flags=[
                f"--namespaces={NAMESPACE}",
                f"--cluster-id={CLUSTER_ID}",
                "--leader-election=false",
                f"--price-table={folder / 'prices.yaml'}",
                *self.flags(),
            ],
            environment={
                **CREDENTIALS,
                "AWS_REGION": REGION,
                "AWS_ENDPOINT_URL": self.control.url,
                "AWS_ENDPOINT_URL_S3": s3,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )
        stack.callback(operator.kill)
        operator.wait_ready()
        return operator

    def flags(self) -> list[str]:
        """The operator's settings that matter here."""
        speed = self.options.speed
        return self.options.flags(origin=(self._wall * speed - self._simulated) / (speed - 1))

    def simulated(self, wall: float | None = None) -> float:
        """The simulated time of a moment of the wall's clock; of now where none is given."""
        at = time.time() if wall is None else wall
        return float(self._simulated + (at - self._wall) * self.options.speed)

    def used(self) -> dict[str, Usage]:
        """What operator and simulator have used until now."""
        return {"operator": usage(self.operator.process.pid), "simulator": usage(self.simulator.pid)}

    def machine_busy_seconds(self) -> float:
        """CPU seconds of all that runs on the machine."""
        return machine_busy_seconds()

    def submit(self, manifests: list[dict[str, Any]]) -> None:
        """Create objects, several at a time; returns when all are there. Raises what the API server answers."""
        list(self._submitters.map(self._create, manifests))

    def _create(self, manifest: dict[str, Any]) -> None:
        plural = JOBS if manifest["kind"] == "TrainingJob" else ENDPOINTS
        self.api.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, plural, manifest)

    def patch_endpoint(self, name: str, spec: dict[str, Any]) -> None:
        """Change the spec of an endpoint."""
        self.api.patch_namespaced_custom_object(GROUP, VERSION, NAMESPACE, ENDPOINTS, name, {"spec": spec})

    def delete_all(self) -> None:
        """Ask for the end of all objects."""
        for plural in (JOBS, ENDPOINTS):
            self.api.delete_collection_namespaced_custom_object(GROUP, VERSION, NAMESPACE, plural)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
