"""What is known of one endpoint in one pass, what it needs, and so what must be looked up. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sagebrush.api.meta import ConditionStatus
from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.sagemaker_hosting import SageMakerEndpointStatus, SageMakerHosting, UpdateAttempt
from sagebrush.core.conditions import READY, RECONCILING, SCALING_ACTIVE, Reason, find
from sagebrush.core.model_source import Finding, SourceJob
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.autoscaling import Registered
from sagebrush.core.sagemaker.calls import Account, Resource
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_goal import Goal, goal_of
from sagebrush.core.sagemaker.endpoint_request import Caller, account_for, hosting_of, variants_of
from sagebrush.core.sagemaker.endpoint_revisions import Inventory, due
from sagebrush.core.sagemaker.endpoint_state import SETTLE, Seen, Step, Verdict, seen_of, verdict
from sagebrush.core.sagemaker.endpoint_variants import AWS_ENGINE, scaled_by
from sagebrush.core.scaling.facts import Knowledge
from sagebrush.core.scaling.history import History
from sagebrush.core.variant_scaling import ScalingFacts

_AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as one ModelEndpoint on SageMaker sees it."""

    endpoint: Resource | None = None
    inventory: Inventory = field(default_factory=lambda: Inventory({}, {}))
    """What was looked up, and what was listed."""
    registered: Registered | None = None
    missing_artifacts: tuple[str, ...] = ()
    """Artifacts of models that are yet to be made, of which S3 has nothing."""
    log_tail: tuple[str, ...] = ()
    jobs: Mapping[str, SourceJob] = field(default_factory=dict)
    """TrainingJobs referred to, by name."""
    scaling: Mapping[str, ScalingFacts] = field(default_factory=dict)
    """What is known of each variant that our own policy scales."""
    finalizer: bool = False
    """Whether the object has our finalizer."""
    deleting_since: datetime | None = None

    @property
    def histories(self) -> Mapping[str, History]:
        """What the last decisions left, by variant."""
        return {name: facts.history for name, facts in self.scaling.items() if facts.history}

    @property
    def knowledge(self) -> Mapping[str, Knowledge]:
        """By variant."""
        return {name: facts.knowledge for name, facts in self.scaling.items()}


@dataclass(frozen=True, slots=True)
class Lookups:
    """What must be asked of AWS beyond DescribeEndpoint. Nothing, in peace."""

    configs: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    listed: bool = False
    """All configurations and models whose names bear our mark."""
    log: bool = False
    """The end of the container's log."""
    registrations: timedelta | None = None
    """What Application Auto Scaling has, at most this old."""
    alarms: bool = False
    """And what alarms it may have left, before the endpoint is deleted."""


@dataclass(frozen=True, slots=True)
class Case:
    """One endpoint at one moment."""

    meta: Meta
    spec: ModelEndpointSpec
    status: ModelEndpointStatus
    goal: Goal | Finding
    seen: Seen | None
    foreign: Resource | None
    """An endpoint of our name that isn't ours."""
    account: Account
    defaults: AwsDefaults
    now: datetime

    @property
    def hosting(self) -> SageMakerHosting:
        """``spec.sageMaker``."""
        return hosting_of(self.spec)

    @property
    def name(self) -> str:
        """Name of the endpoint in SageMaker."""
        return endpoint_name(self.meta, self.hosting)

    @property
    def before(self) -> SageMakerEndpointStatus:
        """What status said."""
        return self.status.sage_maker or SageMakerEndpointStatus(endpoint_name=self.name)

    @property
    def last(self) -> UpdateAttempt | None:
        """The newest attempt to bring a revision; also one that only AWS remembers, since we died before telling."""
        told, seen = self.before.last_update, self.seen
        if seen is None or seen.pending_config is None or (told and told.endpoint_config == seen.pending_config):
            return told
        time = min(seen.pending_since or seen.modified, self.now)
        return UpdateAttempt(endpoint_config=seen.pending_config, time=time, generation=self.meta.generation)

    @property
    def verdict(self) -> Verdict | None:
        """What the endpoint needs; None where there is no endpoint, or nothing to bring."""
        if self.seen is None or isinstance(self.goal, Finding):
            return None
        return verdict(
            self.seen,
            before=self.before.status,
            desired=self.goal.config_name,
            last=self.last,
            recreations=self.before.recreations,
            generation=self.meta.generation,
            now=self.now,
        )

    @property
    def was_just_created(self) -> bool:
        """Whether the endpoint may be there although AWS doesn't show it yet."""
        last = self.before.last_update
        return bool(self.before.status == "Creating" and last and self.now - last.time < SETTLE)

    @property
    def aws_scales(self) -> bool:
        """Whether the spec leaves scaling to Application Auto Scaling."""
        return bool(scaled_by(variants_of(self.spec), AWS_ENGINE))

    @property
    def aws_scaled(self) -> bool:
        """Whether Application Auto Scaling may know the endpoint."""
        return is_aws_scaled(self.spec, self.status)

    def attempt(self, config: str, *, attempts: int) -> UpdateAttempt:
        """An attempt that is made now."""
        return UpdateAttempt(endpoint_config=config, time=self.now, generation=self.meta.generation, attempts=attempts)

    def caller(self) -> Caller:
        """Makes the calls."""
        tags = identity.tags(self.meta, cluster_id=self.defaults.cluster_id, users=self.hosting.tags)
        return Caller(self.account, self.name, tuple(tags), self.hosting.deployment)

    def types(self, inventory: Inventory) -> dict[str, str]:
        """Instance types of the variants in service, which DescribeEndpoint doesn't tell: by what else tells them."""
        if self.seen is None:
            return {}
        goal = self.goal
        if isinstance(goal, Goal) and goal.content and goal.config_name == self.seen.config:
            return {each.name: each.instance_type for each in goal.variants if each.instance_type}
        config = inventory.configs.get(self.seen.config)
        if config:
            return types_in(config)
        if self.before.endpoint_config != self.seen.config:
            return {}
        return {each.name: each.instance_type for each in self.before.variants if each.instance_type}

    def lacks_types(self) -> bool:
        """Whether the configuration in service must be looked up for its instance types."""
        if self.seen is None or not self.seen.config:
            return False
        known = self.types(Inventory({}, {}))
        return any(not each.serverless and each.name not in known for each in self.seen.variants)


def is_aws_scaled(spec: ModelEndpointSpec, status: ModelEndpointStatus) -> bool:
    """Whether Application Auto Scaling may know the endpoint: by the spec, or by what status said."""
    told = find(status.conditions, SCALING_ACTIVE)
    return bool(scaled_by(variants_of(spec), AWS_ENGINE)) or (told is not None and told.reason == AWS_ENGINE)


def types_in(config: Resource) -> dict[str, str]:
    """Variant → instance type, of an endpoint configuration; without serverless ones."""
    variants = config.body.get("ProductionVariants") or ()
    return {each["VariantName"]: each["InstanceType"] for each in variants if each.get("InstanceType")}


def endpoint_name(meta: Meta, hosting: SageMakerHosting) -> str:
    """Name of the endpoint in SageMaker."""
    return hosting.name or identity.own_name(meta)


def case_of(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    defaults: AwsDefaults,
    now: datetime,
) -> Case:
    """The case. Raises SpecError for a spec that SageMaker can't serve."""
    found = observed.endpoint
    ours = found is not None and identity.is_ours(found, meta)
    return Case(
        meta=meta,
        spec=spec,
        status=status,
        goal=goal_of(meta, spec, status, observed.jobs, defaults=defaults),
        seen=seen_of(found) if found is not None and ours else None,
        foreign=None if ours else found,
        account=account_for(meta, spec, status, defaults=defaults),
        defaults=defaults,
        now=now,
    )


def wanted_lookups(case: Case) -> Lookups:
    """What this pass must ask of AWS."""
    goal, found = case.goal, case.verdict
    types = frozenset({case.seen.config}) if case.seen and case.lacks_types() else frozenset()
    if case.foreign is not None or isinstance(goal, Finding):
        return Lookups(configs=types)
    things = Lookups(configs=types | {goal.config_name}, models=frozenset(goal.models))
    if case.seen is None or found is None:
        return Lookups() if case.was_just_created else things
    involved = _AT_ONCE if case.aws_scaled else None
    by_step = {
        Step.UPDATE: Lookups(
            things.configs | {case.seen.config},
            things.models | models_kept(case.status, case.seen.config),
            registrations=involved,
        ),
        Step.RECREATE: Lookups(types, registrations=involved, alarms=True),
        Step.RECREATE_LATER: Lookups(types, log=True),
        Step.UPDATE_LATER: Lookups(types, registrations=case.defaults.polling.active if case.aws_scaled else None),
        Step.ROLLED_BACK: Lookups(types, registrations=case.defaults.polling.active if case.aws_scaled else None),
        Step.GIVEN_UP: Lookups(types, log=True),
        Step.SERVE: _in_service(case, case.seen, goal, types),
    }
    return by_step.get(found.step, Lookups(configs=types))


def lookups_meanwhile(case: Case) -> Lookups:
    """What a pass must ask of AWS while the spec is refused and what serves goes on."""
    types = frozenset({case.seen.config}) if case.seen and case.lacks_types() else frozenset()
    return Lookups(types, registrations=case.defaults.polling.autoscaling if case.aws_scaled else None)


def models_kept(status: ModelEndpointStatus, config: str) -> frozenset[str]:
    """Names of the models of a configuration, as far as status remembers its revision."""
    return frozenset(name for each in status.revisions if each.endpoint_config == config for name in each.models)


def _in_service(case: Case, seen: Seen, goal: Goal, types: frozenset[str]) -> Lookups:
    told, scaling, busy = (find(case.status.conditions, kind) for kind in (READY, SCALING_ACTIVE, RECONCILING))
    peace = (
        told is not None
        and told.reason == Reason.SERVING
        and told.observed_generation == case.meta.generation
        and not (busy and busy.status is ConditionStatus.TRUE)
    )
    in_step = peace and scaling is not None and scaling.status is ConditionStatus.TRUE
    age = case.defaults.polling.autoscaling if in_step and case.aws_scales else _AT_ONCE
    # Something is new, or went wrong: perhaps since somebody deleted what the endpoint needs.
    doubted = not peace or bool(seen.failure_reason)
    remembered = any(each.endpoint_config == goal.config_name for each in case.status.revisions)
    recover = frozenset() if remembered or goal.content else frozenset({goal.config_name})
    return Lookups(
        types | recover | (frozenset({goal.config_name}) if doubted else frozenset()),
        frozenset(goal.models) if doubted else frozenset(),
        listed=bool(due(case.status.revisions, now=case.now)),
        registrations=age if case.aws_scaled else None,
    )
