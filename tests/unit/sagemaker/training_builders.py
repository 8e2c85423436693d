"""Readable test objects: TrainingJobs for SageMaker, and training jobs as DescribeTrainingJob shows them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sagebrush.api.training_job import TrainingJobSpec, TrainingJobStatus
from sagebrush.core.plan import Plan
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.calls import Account, Call, Resource
from sagebrush.core.sagemaker.cost import PriceTable
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.training_case import Observed
from sagebrush.core.sagemaker.training_job import reconcile

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
META = Meta(name="kdd", namespace="demo", uid="uid-1", generation=1)
DYING = Meta(name="kdd", namespace="demo", uid="uid-1", generation=2, deleting=True)
NAME = identity.own_name(META)
REGION = "eu-central-1"
ARN = f"arn:aws:sagemaker:{REGION}:123456789012:training-job/{NAME}"
ROLE = "arn:aws:iam::123456789012:role/execution"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/mine:1"
MODEL = f"s3://bucket/output/{NAME}/output/model.tar.gz"
ACCOUNT = Account(REGION)
PRICES = PriceTable(as_of="2026-08-01", training={REGION: {"ml.m5.large": 0.36}})
DEFAULTS = AwsDefaults(cluster_id="cluster-1", region=REGION, prices=PRICES)
OURS = {identity.UID_TAG: META.uid}
THEIRS = {identity.UID_TAG: "uid-2", "sagebrush.dev/namespace": "else", "sagebrush.dev/name": "where"}
FINALS = ("Completed", "Failed", "Stopped")


def at(seconds: float) -> datetime:
    """NOON and so many seconds."""
    return NOON + timedelta(seconds=seconds)


def document(*, sage_maker: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The spec of a TrainingJob on SageMaker as a user writes it."""
    return {
        "backend": "SageMaker",
        "algorithm": {"image": IMAGE},
        "channels": [{"name": "train", "uri": "s3://bucket/train/"}],
        "output": {"uri": "s3://bucket/output"},
        "sageMaker": {"roleArn": ROLE, "instanceType": "ml.m5.large", **(sage_maker or {})},
        **more,
    }


def spec_of(*, sage_maker: Mapping[str, Any] | None = None, **more: Any) -> TrainingJobSpec:
    return TrainingJobSpec.model_validate(document(sage_maker=sage_maker, **more))


def steps(*path: str, every: float = 60, ended: bool = False) -> list[dict[str, Any]]:
    """Transitions through these secondary statuses, one a minute from NOON on; "Raw: words" gives a StatusMessage."""
    out: list[dict[str, Any]] = []
    for number, part in enumerate(path):
        raw, _, said = part.partition(": ")
        step: dict[str, Any] = {"Status": raw, "StartTime": at(number * every)}
        if said:
            step["StatusMessage"] = said
        if number + 1 < len(path) or ended:
            step["EndTime"] = at((number + 1) * every)
        out.append(step)
    return out


def described(primary: str = "InProgress", *path: str, **more: Any) -> dict[str, Any]:
    """DescribeTrainingJob's answer for a job that went this way; *more* replaces fields."""
    path = path or ("Starting",)
    return {
        "TrainingJobName": NAME,
        "TrainingJobArn": ARN,
        "TrainingJobStatus": primary,
        "SecondaryStatus": path[-1].partition(": ")[0],
        "CreationTime": NOON,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "SecondaryStatusTransitions": steps(*path, ended=primary in FINALS),
        **more,
    }


def job(primary: str = "InProgress", *path: str, tags: Mapping[str, str] | None = None, **more: Any) -> Resource:
    return Resource(described(primary, *path, **more), OURS if tags is None else tags)


class Story:
    """One object looked at again and again; the status is kept as the API server would, if the calls succeed."""

    def __init__(self, spec: TrainingJobSpec | None = None, status: TrainingJobStatus | None = None) -> None:
        self.spec, self.status = spec or spec_of(), status or TrainingJobStatus()
        self.events: list[tuple[str, str]] = []

    def look(
        self, found: Resource | None, *, seconds: float = 300, meta: Meta = META, marked: bool = True, **more: Any
    ) -> Plan[TrainingJobStatus]:
        """One pass in which everything succeeds."""
        observed = Observed(found, has_finalizer=marked, **more)
        plan = reconcile(meta, self.spec, self.status, observed, defaults=DEFAULTS, now=at(seconds))
        if plan.status is not None:  # through JSON, as the API server keeps it
            self.status = TrainingJobStatus.model_validate(plan.status.to_dict())
        self.events += [(str(event.reason), event.message) for event in plan.events]
        return plan


def calls(plan: Plan[Any]) -> list[str]:
    """What a plan does, in order: the operation of a call, or the finalizers that the object is left with."""
    return [
        action.operation if isinstance(action, Call) else f"finalizers={action.manifest['metadata']['finalizers']}"  # type: ignore[union-attr]
        for action in plan.actions
    ]


MARK, RELEASE = f"finalizers={[identity.FINALIZER]}", "finalizers=[]"


def ready(status: TrainingJobStatus) -> tuple[str, str]:
    """Which of Ready, Reconciling and Stalled is True, and the reason."""
    (found,) = [each for each in status.conditions if each.status == "True"]
    return found.type, found.reason
