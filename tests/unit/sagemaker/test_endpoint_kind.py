"""What the Kind asks of AWS, how often, and what it keeps between passes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from sagebrush.backends.sagemaker.endpoints import SageMakerModelEndpoints
from sagebrush.core.conditions import find
from sagebrush.core.plan import Apply
from sagebrush.core.resource import Key, Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.calls import Account, AwsError, Call, Problem, Service
from sagebrush.kube.cache import Cache
from tests.fakes.metrics import FakeMetrics, sources
from tests.unit.sagemaker.endpoint_builders import DEFAULTS, META, NAME, FakeAws, document, scaled

KEY = Key("ModelEndpoint", "demo", "kdd")
OTHER = "s3://bucket/other/model.tar.gz"


@dataclass
class FakeGateway:
    """The fake account behind the gateway's face."""

    aws: FakeAws = field(default_factory=FakeAws)
    asked: list[tuple[str, timedelta]] = field(default_factory=list)
    log: list[str] | Problem = field(default_factory=list)
    storage: Problem | None = None
    """What S3 says of every object; None: it is there."""

    async def read(
        self,
        account: Account,
        *,
        service: Service,
        operation: str,
        parameters: Mapping[str, Any],
        max_age: timedelta = timedelta(0),
    ) -> Mapping[str, Any] | None:
        self.asked.append((operation, max_age))
        if service is Service.LOGS:
            assert f"/aws/sagemaker/Endpoints/{NAME}" == parameters["logGroupName"]
            if isinstance(self.log, Problem):
                raise AwsError(self.log, "no", operation=operation)
            return {"events": [{"timestamp": n, "message": line} for n, line in enumerate(self.log)]}
        if service is Service.S3:
            if self.storage not in (None, Problem.ABSENT):
                raise AwsError(self.storage, "no", operation=operation)
            return None if self.storage else {}
        if service is not Service.SAGEMAKER:
            found = {"DescribeScalableTargets": self.aws.targets, "DescribeScalingPolicies": self.aws.policies}
            names = {"DescribeScalableTargets": "ScalableTargets", "DescribeScalingPolicies": "ScalingPolicies"}
            return {names[operation]: list(found[operation].values())} if operation in names else {}
        if operation == "DescribeEndpoint":
            return self.aws.endpoint
        if operation.startswith("List"):
            configs = operation == "ListEndpointConfigs"
            what, things = ("EndpointConfig", self.aws.configs) if configs else ("Model", self.aws.models)
            named = (
                self._with_arn(what, thing) for name, thing in things.items() if parameters["NameContains"] in name
            )
            return {f"{what}s": list(named)}
        what, things = (
            ("EndpointConfig", self.aws.configs)
            if operation == "DescribeEndpointConfig"
            else ("Model", self.aws.models)
        )
        thing = things.get(parameters[f"{what}Name"])
        return None if thing is None else self._with_arn(what, thing)

    @staticmethod
    def _with_arn(what: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        return {**thing, f"{what}Arn": f"arn:aws:sagemaker:eu-west-1:1:{what.lower()}/{thing[f'{what}Name']}"}

    async def tags(self, account: Account, *, arn: str, created: datetime | None) -> Mapping[str, str]:
        assert created is not None
        return self.aws.tags[arn.rpartition("/")[2]]

    async def act(self, call: Call) -> Mapping[str, Any]:
        self.aws.act(call)
        return {}


@dataclass
class Operator:
    """Passes of the Kind over one object."""

    gateway: FakeGateway = field(default_factory=FakeGateway)
    metrics: FakeMetrics = field(default_factory=lambda: FakeMetrics(50))
    cache: Cache = field(default_factory=Cache)
    body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kind = SageMakerModelEndpoints(
            gateway=self.gateway, defaults=lambda: DEFAULTS, cache=self.cache, scaling=sources(self.metrics)
        )
        self.body = {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "ModelEndpoint", "metadata": {"name": "kdd", "namespace": "demo", "uid": META.uid, "generation": 1, "resourceVersion": "1"}}  # fmt: skip

    def change(self, **spec: Any) -> None:
        self.body["spec"] = document(**spec)
        self.body["metadata"]["generation"] += 1

    async def look(self) -> Any:
        self.gateway.asked.clear()
        plan = await self.kind.plan(KEY, self.body, now=self.gateway.aws.now)
        for action in plan.actions:
            if isinstance(action, Call):
                await self.gateway.act(action)
            elif isinstance(action, Apply):
                self.body["metadata"]["finalizers"] = action.manifest["metadata"]["finalizers"]
        self.kind.acted(Meta.of(self.body), plan)
        if plan.status:
            self.body["status"] = plan.status.to_dict()
        return plan

    async def until_quiet(self) -> None:
        for _ in range(20):
            plan = await self.look()
            if not plan.actions and not (plan.status and self.ready()[0] == "False"):
                return
            self.gateway.aws.step(60)
        raise AssertionError(self.ready())

    def ready(self) -> tuple[str, str]:
        found = next(c for c in self.body["status"]["conditions"] if c["type"] == "Ready")
        return found["status"], found["reason"]

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.gateway.asked]


async def served(**spec: Any) -> Operator:
    operator = Operator()
    operator.change(**spec)
    await operator.until_quiet()
    assert ("True", "Serving") == operator.ready()
    return operator


async def test_peace_must_cost_one_describe_a_minute() -> None:
    """A tick of the metrics costs nothing more: the description may be as old as the steady poll."""
    operator = await served(more={"scaling": scaled()})
    await operator.look()
    assert [("DescribeEndpoint", 0.8 * DEFAULTS.polling.steady)] == operator.gateway.asked
    assert {("demo", "kdd", "AllTraffic")} == set(operator.metrics.asked)


async def test_missing_artifact_must_be_told_before_anything_is_made() -> None:
    """A model that isn't in S3 is waited for, by name; what S3 may not tell is no obstacle, and a made model isn't asked about."""
    operator = Operator()
    operator.change()
    operator.gateway.storage = Problem.ABSENT
    plan = await operator.look()
    assert () == plan.actions
    assert ("False", "DownloadFailed") == operator.ready()
    told = next(each["message"] for each in operator.body["status"]["conditions"] if each["type"] == "Ready")
    assert "nothing found at s3://" in told
    operator.gateway.storage = Problem.DENIED
    await operator.until_quiet()
    assert ("True", "Serving") == operator.ready()
    await operator.look()
    assert "HeadObject" not in operator.operations()


async def test_change_must_be_seen_sooner() -> None:
    """While something is under way, or the spec is new, no description of a minute ago is good enough."""
    operator = await served()
    operator.gateway.aws.become("SystemUpdating")
    await operator.look()
    await operator.look()
    assert [("DescribeEndpoint", 0.8 * DEFAULTS.polling.active)] == operator.gateway.asked
    operator.gateway.aws.become("InService")
    await operator.look()
    operator.change(uri=OTHER)
    await operator.look()
    assert ("DescribeEndpoint", 0.8 * DEFAULTS.polling.active) == operator.gateway.asked[0]


async def test_no_list_must_be_in_the_hot_path() -> None:
    """Lists are throttled hardest: only where a collection is due, and at the end."""
    operator = await served(revisionHistoryLimit=0)
    operator.change(uri=OTHER, revisionHistoryLimit=0)
    seen: set[str] = set()
    for _ in range(4):
        await operator.look()
        seen |= set(operator.operations())
        operator.gateway.aws.step(20)
    assert not {"ListModels", "ListEndpointConfigs"} & seen
    operator.gateway.aws.step(300)
    await operator.look()
    assert {"ListModels", "ListEndpointConfigs"} < set(operator.operations())
    assert 1 == len(operator.gateway.aws.configs)


async def test_endpoint_must_go_with_all_that_is_its() -> None:
    """From the deletion's mark to an object without finalizer."""
    operator = await served()
    operator.gateway.aws.step(3600)
    operator.body["metadata"]["deletionTimestamp"] = "2026-08-01T14:00:00Z"
    for _ in range(3):
        await operator.look()
        operator.gateway.aws.step()
    assert [] == operator.body["metadata"]["finalizers"]
    aws = operator.gateway.aws
    assert ({}, {}, None) == (aws.models, aws.configs, aws.endpoint)


async def test_retained_endpoint_must_cost_no_call() -> None:
    """deletionPolicy: Retain works without any permission in AWS."""
    operator = await served(deletionPolicy="Retain")
    operator.body["metadata"]["deletionTimestamp"] = "2026-08-01T14:00:00Z"
    await operator.look()
    assert [] == operator.operations()
    assert identity.FINALIZER not in operator.body["metadata"]["finalizers"]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([f"line {n}\n" for n in range(9)], "line 4 | line 5 | line 6 | line 7 | line 8"),
        (Problem.DENIED, None),
        (Problem.ABSENT, None),
    ],
)
async def test_failure_must_come_with_the_end_of_the_log(log: Any, words: str | None) -> None:
    """The last five lines, where they can be had; a failure is told all the same without."""
    operator = Operator()
    operator.gateway.log = log
    operator.gateway.aws.faults, operator.gateway.aws.reason = ["Failed"], "did not pass the ping health check."
    operator.change()
    for _ in range(3):
        await operator.look()
        operator.gateway.aws.step(5)
    ready = next(c for c in operator.body["status"]["conditions"] if c["type"] == "Ready")
    assert "Recreating" == ready["reason"]
    assert "did not pass the ping health check." in ready["message"]
    assert (words or "") in ready["message"]
    assert ("Last lines" in ready["message"]) == (words is not None)


async def test_log_that_cannot_be_asked_for_must_be_tried_again() -> None:
    """Throttled is not the same as none."""
    operator = Operator()
    operator.gateway.log = Problem.THROTTLED
    operator.gateway.aws.faults = ["Failed"]
    operator.change()
    for _ in range(2):
        await operator.look()
        operator.gateway.aws.step(5)
    with pytest.raises(AwsError):
        await operator.look()


async def test_history_must_be_kept_once_the_change_is_made() -> None:
    """By uid and variant; a plan that could not be carried out leaves no trace, and a deleted object none at all."""
    operator = await served(more={"scaling": scaled()})
    operator.metrics.rate = 350
    before = dict(operator.kind._scaling.histories)
    plan = await operator.kind.plan(KEY, operator.body, now=operator.gateway.aws.now)
    assert before == operator.kind._scaling.histories
    operator.kind.acted(META, plan)
    assert plan.decision is not None
    assert plan.decision.history == operator.kind._scaling.histories["uid-1", "AllTraffic"]
    operator.kind.forget(KEY)
    assert {} == operator.kind._scaling.histories


async def test_training_job_must_come_from_the_cache() -> None:
    """One of this namespace, and not one that is being deleted."""
    operator = Operator()
    operator.change(more={"model": {"trainingJobRef": {"name": "train"}}})
    await operator.look()
    assert ("False", "TrainingJobNotFound") == operator.ready()
    job = {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "train", "namespace": "demo", "uid": "uid-2", "generation": 1, "resourceVersion": "7"},
        "spec": {"algorithm": {"image": "mine:1"}, "output": {"uri": "s3://bucket/out"}},
        "status": {"phase": "Completed", "modelArtifact": {"uri": "s3://bucket/out/model.tar.gz"}},
    }
    operator.cache.put(job)
    await operator.until_quiet()
    (model,) = operator.gateway.aws.models.values()
    assert "mine:1" == model["PrimaryContainer"]["Image"]


async def test_stalled_must_keep_what_else_is_known() -> None:
    """The other conditions stay: by one of them we know that Application Auto Scaling has a say."""
    operator = await served(more={"scaling": scaled("ApplicationAutoScaling")})
    meta = Meta.of(operator.body)
    now = operator.gateway.aws.now
    plan = operator.kind.stalled(meta, operator.body, reason="InvalidSpec", message="no", final=True, now=now)
    assert plan.status is not None
    scaling, ready = (find(plan.status.conditions, kind) for kind in ("ScalingActive", "Ready"))
    assert scaling is not None
    assert ready is not None
    assert ("ApplicationAutoScaling", "InvalidSpec") == (scaling.reason, ready.reason)
    assert ["InvalidSpec"] == [event.reason for event in plan.events]
    operator.body["status"] = plan.status.to_dict()
    again = operator.kind.stalled(meta, operator.body, reason="InvalidSpec", message="no", final=True, now=now)
    assert () == again.events
