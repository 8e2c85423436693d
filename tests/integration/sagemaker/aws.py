"""The operator against the SageMaker simulator: one world a test, time that runs fast, and the smallest manifests."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

import boto3
from botocore.config import Config

from tests.integration.kube import Kube, Manifest, wait_for
from tests.integration.operator_process import OperatorProcess, Operators
from tests.sagemaker_simulator.audit import Entry
from tests.sagemaker_simulator.bursts import Budget, bursts
from tests.sagemaker_simulator.clock import ScaledClock
from tests.sagemaker_simulator.simulator import Simulator

SPEED = 120.0
"""Virtual seconds in a second: an endpoint that takes four minutes to start takes two seconds."""
REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/sagemaker-execution"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
BUCKET = "models"
OWN_KEY = "AKIATESTER"
"""Access key of the tests' own calls, which tells them from the operator's."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}
CLUSTER_ID = "test-cluster"
DEFAULT_BUDGET = Budget(rate=10.0, burst=20)
JITTER_SECONDS = 2.0
"""By so much of the wall's time calls may be late: two busy cores let a process stand still so long."""


class Aws:
    """The simulated account of one test, and what the operator needs to reach it."""

    def __init__(self, *, s3: str, speed: float = SPEED) -> None:
        self.s3_url = s3
        clock = ScaledClock(speed)
        self.speed, self.origin = speed, clock.epoch
        self.simulator = Simulator(clock=clock, s3_endpoint=s3, region=REGION)
        self.budgets: dict[str, Budget] = {}
        """By access key: each operator that was started has one of its own."""

    def environment(self) -> dict[str, str]:
        """Variables of the operator: boto3 finds the simulator by them, and nothing else is changed."""
        return {
            **CREDENTIALS,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.simulator.url,
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(
        self, operators: Operators, namespace: str, *flags: str, everywhere: bool = False, **environment: str
    ) -> OperatorProcess:
        """An operator of this namespace (or of all) that lives in the simulator's time; all else is as users have it."""
        key = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']}{len(self.budgets) + 1}"
        self.budgets[key] = _budget(flags)
        return operators.start(
            f"--namespaces={'' if everywhere else namespace}",
            f"--cluster-id={CLUSTER_ID}",
            "--leader-election=false",
            f"--aws-clock={self.speed:g}@{self.origin:.6f}",
            *flags,
            lease_namespace=namespace,
            environment={**self.environment(), "AWS_ACCESS_KEY_ID": key, **environment},
        )

    def client(self, service: str) -> Any:
        """A boto3 client of the account."""
        url = self.s3_url if service == "s3" else self.simulator.url
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=OWN_KEY,
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}),
        )

    def bursts(self) -> list[str]:
        """The calls by which operators went beyond their budgets."""
        # Keys that STS gave out are some operator's, nobody knows whose.
        loosest = max(self.budgets.values(), key=lambda each: (each.rate, each.burst), default=DEFAULT_BUDGET)

        def budget_of(key: str) -> Budget | None:
            return self.budgets.get(key) or (None if key == OWN_KEY else loosest)

        return bursts(self.simulator.audit.calls(), budget_of=budget_of, jitter=JITTER_SECONDS * self.speed)

    def wait_clean(self) -> None:
        """Return once the account has nothing of ours any more: deletions take a moment there."""
        wait_for(
            lambda: not self.simulator.orphans(), "an empty account", otherwise=lambda: str(self.simulator.orphans())
        )

    def put(self, key: str, body: bytes = b"1,2,3\n") -> str:
        """An object in the bucket; its address."""
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def put_model(self, key: str = "pretrained/model.tar.gz") -> str:
        """A packed model in the bucket; its address."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            info = tarfile.TarInfo("model.json")
            info.size = 2
            archive.addfile(info, io.BytesIO(b"{}"))
        return self.put(key, packed.getvalue())


def _budget(flags: tuple[str, ...]) -> Budget:
    """What an operator with these flags may call."""
    given = dict(flag.removeprefix("--").split("=", 1) for flag in flags if "=" in flag)
    return Budget(
        rate=float(given.get("aws-calls-per-second", DEFAULT_BUDGET.rate)),
        burst=int(given.get("aws-burst", DEFAULT_BUDGET.burst)),
    )


def training_job(name: str, namespace: str, *, sagemaker: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A TrainingJob of the built-in algorithm on SageMaker; *spec* and *sagemaker* replace fields."""
    return {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "backend": "SageMaker",
            "algorithm": {"name": "linear-learner"},
            "hyperParameters": {"predictor_type": "binary_classifier"},
            "channels": [{"name": "train", "uri": f"s3://{BUCKET}/train/", "contentType": "text/csv"}],
            "output": {"uri": f"s3://{BUCKET}/output"},
            "sageMaker": {"roleArn": ROLE, "instanceType": "ml.m5.xlarge", **(sagemaker or {})},
            **spec,
        },
    }


def endpoint(name: str, namespace: str, *, sagemaker: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A ModelEndpoint of a pre-trained artifact on SageMaker; *spec* and *sagemaker* replace fields."""
    hosting = {"roleArn": ROLE, "instanceType": "ml.m5.large", **(sagemaker or {})}
    return {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "backend": "SageMaker",
            "model": {
                "artifact": {"uri": f"s3://{BUCKET}/pretrained/model.tar.gz"},
                "container": {"image": IMAGE},
            },
            "sageMaker": {key: value for key, value in hosting.items() if value is not None},
            **spec,
        },
    }


def over_budget(entries: Iterable[Entry], *, since: float, rate: float, burst: int) -> float:
    """
    By how many calls there were more, at any moment, than a full budget gave since then (virtual seconds); at most 0 is none.

    Calls that were let go in time and arrive late, together, as they do on a busy machine, are within it.
    """
    return max(count - burst - rate * (each.virtual_time - since) for count, each in enumerate(entries, start=1))


def uid(kube: Kube, body: Manifest) -> str:
    """The uid of the object as stored."""
    found = kube.get(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
    assert found is not None
    text: str = found["metadata"]["uid"]
    return text
