"""A ModelEndpoint on SageMaker and a tiny AWS in a dictionary: states move when told to, and every call is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore import xform_name

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.core.conditions import find
from sagebrush.core.plan import Apply, Plan
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.autoscaling import Registered
from sagebrush.core.sagemaker.calls import Call, Problem, Resource
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint import reconcile
from sagebrush.core.sagemaker.endpoint_case import Lookups, Observed, case_of, wanted_lookups
from sagebrush.core.sagemaker.endpoint_deletion import deletion_lookups
from sagebrush.core.sagemaker.endpoint_revisions import Inventory
from sagebrush.core.scaling.facts import Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.window import Reading
from sagebrush.core.variant_scaling import ScalingFacts

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/execution"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagebrush:1"
ARTIFACT = "s3://bucket/kdd/output/model.tar.gz"
META = Meta(name="kdd", namespace="demo", uid="uid-1", generation=1)
DEFAULTS = AwsDefaults(cluster_id="cluster-1", region="eu-west-1", server_image=IMAGE)
NAME = identity.own_name(META)
CHANGEABLE = {"InService", "Failed", "OutOfService", "UpdateRollbackFailed"}
CREATES = ["CreateModel", "CreateEndpointConfig"]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def document(*, uri: str = ARTIFACT, more: Mapping[str, Any] | None = None, **hosting: Any) -> dict[str, Any]:
    """The spec of a ModelEndpoint as a user writes it; *hosting* goes to spec.sageMaker."""
    aws = {"roleArn": ROLE, **hosting}
    if not {"variants", "serverless", "instanceType"} & aws.keys():
        aws["instanceType"] = "ml.m5.xlarge"
    return {"backend": "SageMaker", "model": {"artifact": {"uri": uri}}, "sageMaker": aws, **(more or {})}


def spec_of(**more: Any) -> ModelEndpointSpec:
    return ModelEndpointSpec.model_validate(document(**more))


def scaled(engine: str = "Sagebrush", minimum: int = 1, maximum: int = 8, target: float = 100) -> dict[str, Any]:
    return {
        "engine": engine,
        "minReplicas": minimum,
        "maxReplicas": maximum,
        "target": {"requestsPerMinute": target},
    }


def reading(rate: float, *, seconds: float = 0) -> tuple[Reading, Reading]:
    one = Reading(rate, at(seconds), complete=True, span=timedelta(seconds=60))
    return one, one


class RefusedError(Exception):
    """AWS refused a call."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass
class FakeAws:
    """One account. `step` ends what is under way, the way that *faults* say."""

    now: datetime = NOON
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoint: dict[str, Any] | None = None
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    targets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Registrations by variant."""
    policies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """For each end of a creation or update in turn: ok, or how it fails."""
    reason: str = ""
    violations: list[str] = field(default_factory=list)

    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    def act(self, call: Call) -> None:
        self.calls.append(call)
        done: Callable[[Mapping[str, Any]], None] = getattr(self, f"_{xform_name(call.operation)}")
        try:
            done(call.parameters)
        except RefusedError as error:
            if error.problem not in call.fine:
                raise

    def _store(self, things: dict[str, dict[str, Any]], name: str, given: Mapping[str, Any]) -> None:
        if name in things:
            raise RefusedError(Problem.EXISTS)
        things[name] = {**given, "CreationTime": self.now}
        self.tags[name] = {tag["Key"]: tag["Value"] for tag in given["Tags"]}

    def _create_model(self, given: Mapping[str, Any]) -> None:
        self._store(self.models, given["ModelName"], given)

    def _create_endpoint_config(self, given: Mapping[str, Any]) -> None:
        for variant in given["ProductionVariants"]:
            if variant["ModelName"] not in self.models:
                raise RefusedError(Problem.ABSENT)
        self._store(self.configs, given["EndpointConfigName"], given)

    def _variants(self, config: str) -> list[dict[str, Any]]:
        out = []
        for each in self.configs[config]["ProductionVariants"]:
            old = next((v for v in self._live() if v["VariantName"] == each["VariantName"]), None)
            variant = {"VariantName": each["VariantName"], "DesiredWeight": each["InitialVariantWeight"]}
            if "ServerlessConfig" in each:
                variant["CurrentServerlessConfig"] = each["ServerlessConfig"]
            else:
                kept = (old or {}).get("DesiredInstanceCount")
                variant["DesiredInstanceCount"] = kept or each["InitialInstanceCount"]
                variant["CurrentInstanceCount"] = variant["DesiredInstanceCount"]
            variant["CurrentWeight"] = variant["DesiredWeight"]
            out.append(variant)
        return out

    def _live(self) -> list[dict[str, Any]]:
        return list(self.endpoint["ProductionVariants"]) if self.endpoint else []

    def _create_endpoint(self, given: Mapping[str, Any]) -> None:
        if self.endpoint is not None:
            raise RefusedError(Problem.EXISTS)
        name = given["EndpointConfigName"]
        if name not in self.configs:
            raise RefusedError(Problem.ABSENT)
        self.endpoint = {
            "EndpointName": given["EndpointName"],
            "EndpointArn": f"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/{given['EndpointName']}",
            "EndpointConfigName": name,
            "CreationTime": self.now,
            "ProductionVariants": self._variants(name),
        }
        self.tags[given["EndpointName"]] = {tag["Key"]: tag["Value"] for tag in given["Tags"]}
        self.become("Creating")

    def become(self, status: str, *, reason: str = "", config: str | None = None) -> None:
        """The endpoint changes its state."""
        assert self.endpoint is not None
        self.endpoint |= {"EndpointStatus": status, "FailureReason": reason, "LastModifiedTime": self.now}
        if config:
            self.endpoint["EndpointConfigName"] = config

    def _changeable(self, *, deleting: bool = False) -> dict[str, Any]:
        if self.endpoint is None:
            raise RefusedError(Problem.ABSENT)
        if self.endpoint["EndpointStatus"] not in CHANGEABLE:
            self.violations.append(f"{self.calls[-1]} while {self.endpoint['EndpointStatus']}")
            raise RefusedError(Problem.BUSY)
        if self.endpoint["EndpointStatus"] == "Failed" and not deleting:
            self.violations.append(f"{self.calls[-1]} of a failed endpoint")
            raise RefusedError(Problem.INVALID)
        return self.endpoint

    def _update_endpoint(self, given: Mapping[str, Any]) -> None:
        endpoint, name = self._changeable(), given["EndpointConfigName"]
        if name not in self.configs or endpoint["EndpointConfigName"] not in self.configs:
            raise RefusedError(Problem.ABSENT)
        if not given.get("RetainAllVariantProperties"):
            self.violations.append("an update that resets counts")
        wanted = {v["VariantName"]: v.get("InstanceType") for v in self.configs[name]["ProductionVariants"]}
        now = {
            v["VariantName"]: v.get("InstanceType")
            for v in self.configs[endpoint["EndpointConfigName"]]["ProductionVariants"]
        }
        if any(now.get(target) != wanted.get(target) for target in self.targets):
            self.violations.append("an update of a registered variant")
            raise RefusedError(Problem.INVALID)
        endpoint["PendingDeploymentSummary"] = {
            "EndpointConfigName": name,
            "StartTime": self.now,
            "ProductionVariants": [
                {**variant, "InstanceType": wanted[variant["VariantName"]]} for variant in self._variants(name)
            ],
        }
        self.become("Updating")

    def _update_endpoint_weights_and_capacities(self, given: Mapping[str, Any]) -> None:
        endpoint = self._changeable()
        for entry in given["DesiredWeightsAndCapacities"]:
            variant = next(v for v in endpoint["ProductionVariants"] if v["VariantName"] == entry["VariantName"])
            variant["DesiredWeight"] = entry.get("DesiredWeight", variant["DesiredWeight"])
            if "DesiredInstanceCount" in entry:
                variant["DesiredInstanceCount"] = entry["DesiredInstanceCount"]
        self.become("Updating")

    def _delete_endpoint(self, given: Mapping[str, Any]) -> None:
        self._changeable(deleting=True)
        if self.targets:
            self.violations.append("an endpoint deleted with registrations")
        self.become("Deleting")

    def _delete_endpoint_config(self, given: Mapping[str, Any]) -> None:
        name = given["EndpointConfigName"]
        pending = (self.endpoint or {}).get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        if self.endpoint and name in (self.endpoint["EndpointConfigName"], pending):
            self.violations.append(f"deleted {name}, which is in use")
        if self.configs.pop(name, None) is None:
            raise RefusedError(Problem.ABSENT)

    def _delete_model(self, given: Mapping[str, Any]) -> None:
        name = given["ModelName"]
        if any(name == v["ModelName"] for c in self.configs.values() for v in c["ProductionVariants"]):
            self.violations.append(f"deleted {name}, which is in use")
        if self.models.pop(name, None) is None:
            raise RefusedError(Problem.ABSENT)

    def _deregister_scalable_target(self, given: Mapping[str, Any]) -> None:
        self.targets.pop(given["ResourceId"].rpartition("/")[2], None)
        self.policies = {
            name: policy for name, policy in self.policies.items() if policy["ResourceId"] != given["ResourceId"]
        }

    def _register_scalable_target(self, given: Mapping[str, Any]) -> None:
        self.targets[given["ResourceId"].rpartition("/")[2]] = given

    def _put_scaling_policy(self, given: Mapping[str, Any]) -> None:
        self.policies[given["PolicyName"]] = {**given, "PolicyARN": f"arn:{given['PolicyName']}"}

    def step(self, seconds: float = 300) -> None:
        """Time passes, and what is under way ends."""
        self.now += timedelta(seconds=seconds)
        if self.endpoint is None:
            return
        state = self.endpoint["EndpointStatus"]
        pending = self.endpoint.get("PendingDeploymentSummary")
        if state == "Deleting":
            self.endpoint = None
        elif state in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
            fault = self.faults.pop(0) if self.faults and (state == "Creating" or pending) else "ok"
            self.endpoint.pop("PendingDeploymentSummary", None)
            if fault != "ok":
                self.become(fault, reason=self.reason)
                return
            if pending:
                self.endpoint["ProductionVariants"] = self._variants(pending["EndpointConfigName"])
                self.become("InService", config=pending["EndpointConfigName"])
            else:
                self.become("InService")
            for variant in self.endpoint["ProductionVariants"]:
                if "DesiredInstanceCount" in variant:
                    variant["CurrentInstanceCount"] = variant["DesiredInstanceCount"]
                variant["CurrentWeight"] = variant["DesiredWeight"]

    def resource(self, things: Mapping[str, Any], name: str) -> Resource | None:
        return Resource(things[name], self.tags[name]) if name in things else None


class KilledError(Exception):
    """The operator dies."""


@dataclass
class World:
    """An object, its operator and AWS."""

    document: dict[str, Any] = field(default_factory=document)
    aws: FakeAws = field(default_factory=FakeAws)
    meta: Meta = META
    status: ModelEndpointStatus = field(default_factory=ModelEndpointStatus)
    finalizer: bool = False
    gone: bool = False
    readings: dict[str, tuple[Reading, Reading]] = field(default_factory=dict)
    rivals: dict[str, str] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    jobs: dict[str, Any] = field(default_factory=dict)
    log_tail: tuple[str, ...] = ()
    defaults: AwsDefaults = DEFAULTS
    ahead: timedelta = timedelta(0)
    """How far AWS' clock is ahead of ours."""
    lookups: Lookups = field(default_factory=Lookups)
    events: list[str] = field(default_factory=list)

    def change(self, **spec: Any) -> None:
        """The user applies another spec."""
        self.document = document(**spec)
        self.meta = replace(self.meta, generation=self.meta.generation + 1)

    def delete(self) -> None:
        self.meta = replace(self.meta, deleting=True)
        self.deleted_at = self.now

    @property
    def now(self) -> datetime:
        """Our clock."""
        return self.aws.now - self.ahead

    @property
    def spec(self) -> ModelEndpointSpec:
        return ModelEndpointSpec.model_validate(self.document)

    def observe(self) -> Observed:
        """What the Kind would gather."""
        aws, spec = self.aws, self.spec
        found = None
        if aws.endpoint is not None:
            found = Resource(dict(aws.endpoint), aws.tags[aws.endpoint["EndpointName"]])
        observed = Observed(
            endpoint=found,
            jobs=self.jobs,
            scaling={
                name: ScalingFacts(Signals(*both), history=self.histories.get(name), rival=self.rivals.get(name, ""))
                for name, both in self.readings.items()
            },
            finalizer=self.finalizer,
            deleting_since=getattr(self, "deleted_at", None),
        )
        if self.meta.deleting:
            wanted = deletion_lookups(self.meta, spec, self.status, observed, defaults=self.defaults)
        else:
            case = case_of(self.meta, spec, self.status, observed, defaults=self.defaults, now=self.now)
            wanted = wanted_lookups(case)
        self.lookups = wanted
        configs, models = set(wanted.configs), set(wanted.models)
        if wanted.listed:
            mark = identity.uid_mark(self.meta)
            configs |= {name for name in aws.configs if mark in name}
            models |= {name for name in aws.models if mark in name}
        registered = Registered(tuple(aws.targets.values()), tuple(aws.policies.values()))
        return replace(
            observed,
            inventory=Inventory(
                {name: aws.resource(aws.configs, name) for name in configs},
                {name: aws.resource(aws.models, name) for name in models},
            ),
            registered=registered if wanted.registrations is not None else None,
            log_tail=self.log_tail if wanted.log else (),
        )

    def plan(self) -> Plan[ModelEndpointStatus]:
        """What the operator would do now."""
        return reconcile(self.meta, self.spec, self.status, self.observe(), defaults=self.defaults, now=self.now)

    def look(self, *, survive: int | None = None) -> Plan[ModelEndpointStatus]:
        """One pass. Dies after so many actions where *survive* is given; then nothing is reported."""
        plan = self.plan()
        for number, action in enumerate(plan.actions):
            if number == survive:
                raise KilledError
            if isinstance(action, Apply):
                self.finalizer = bool(action.manifest["metadata"]["finalizers"])
                self.gone = self.meta.deleting and not self.finalizer
            elif isinstance(action, Call):
                try:
                    self.aws.act(action)
                except RefusedError as error:
                    if error.problem in (Problem.EXISTS, Problem.ABSENT, Problem.BUSY):
                        return plan
                    raise
        if survive is not None and survive == len(plan.actions):
            raise KilledError
        if plan.status is not None:
            stored = plan.status.to_dict()
            self.status = ModelEndpointStatus.model_validate(stored)
        for variant, decision in plan.decisions.items():
            self.histories[variant] = decision.history
        self.events += [event.reason for event in plan.events]
        return plan

    def settle(self, *, passes: int = 40, seconds: float = 60) -> Plan[ModelEndpointStatus]:
        """Passes and time until the operator is Ready or stalled and calls nothing."""
        for _ in range(passes):
            plan = self.look()
            if self.gone or (not plan.actions and self.condition("Reconciling") != "True"):
                return plan
            self.aws.step(seconds)
        raise AssertionError(f"never quiet: {self.told()}")

    def condition(self, kind: str = "Ready") -> str:
        found = find(self.status.conditions, kind)
        return str(found.status) if found else ""

    def told(self) -> tuple[str, str]:
        """Ready's status and reason."""
        found = find(self.status.conditions, "Ready")
        return (str(found.status), found.reason) if found else ("", "")

    def message(self) -> str:
        found = find(self.status.conditions, "Ready")
        return found.message if found else ""

    def stalled(self) -> bool:
        return self.condition("Stalled") == "True"


def served(**spec: Any) -> World:
    """A world whose endpoint serves."""
    world = World(document=document(**spec))
    world.settle()
    assert world.told() == ("True", "Serving"), world.message()
    world.aws.calls.clear()
    world.events.clear()
    return world


def calls(plan: Plan[ModelEndpointStatus]) -> list[str]:
    """The operations of a plan."""
    return [action.operation for action in plan.actions if isinstance(action, Call)]


def parameters(plan: Plan[ModelEndpointStatus], operation: str) -> Mapping[str, Any]:
    """Of the one call of this operation."""
    (found,) = [a.parameters for a in plan.actions if isinstance(a, Call) and a.operation == operation]
    return found
