"""ModelEndpoint on SageMaker: gathers from AWS, the cache and the metrics what the core decides on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from sagebrush.api.meta import ConditionStatus
from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.training_job import TrainingJobSpec, TrainingJobStatus
from sagebrush.backends.sagemaker.autoscaling import read_registered
from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.backends.sagemaker.scaling import VariantScaling
from sagebrush.backends.sagemaker.storage import is_missing
from sagebrush.backends.scaling_sources import ScalingSources
from sagebrush.core.conditions import READY, RECONCILING, Outlook, Reason, find, set_conditions, summary
from sagebrush.core.model_source import SourceJob
from sagebrush.core.plan import Announcement, Plan, SpecError
from sagebrush.core.resource import Key, Manifest, Meta, dig, parse_time
from sagebrush.core.sagemaker import endpoint, identity
from sagebrush.core.sagemaker.calls import Account, AwsError, Problem, Resource, Service
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_case import (
    Case,
    Lookups,
    Observed,
    case_of,
    endpoint_name,
    lookups_meanwhile,
    wanted_lookups,
)
from sagebrush.core.sagemaker.endpoint_deletion import deletion_lookups
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_request import account_for, hosting_of, variants_of
from sagebrush.core.sagemaker.endpoint_revisions import Inventory
from sagebrush.core.sagemaker.endpoint_state import IN_SERVICE
from sagebrush.core.sagemaker.endpoint_words import log_group
from sagebrush.kube.cache import Cache

_NEARLY = 0.8
"""A look that comes a little sooner than its period must not be answered from memory."""
_LOG_LINES = 5
_LINE_LENGTH = 300
_LOG_REACH = timedelta(minutes=5)
"""AWS gives the oldest lines first: of a container that starts again and again, the last minutes fit into one answer."""
_LOG_AGE = timedelta(minutes=10)


class SageMakerModelEndpoints:
    """ModelEndpoint as models, an endpoint configuration and an endpoint in SageMaker."""

    def __init__(
        self, *, gateway: Gateway, defaults: Callable[[], AwsDefaults], cache: Cache, scaling: ScalingSources
    ) -> None:
        self._gateway, self._defaults, self._cache = gateway, defaults, cache
        self._scaling = VariantScaling(gateway, scaling)

    async def plan(self, key: Key, body: Manifest, *, now: datetime) -> Plan[ModelEndpointStatus]:  # noqa: ARG002
        """See :class:`sagebrush.backends.base.Kind`. Raises AwsError where AWS can't be asked."""
        meta, spec, status, observed, defaults = await self._gathered(body, now=now)
        return endpoint.reconcile(meta, spec, status, observed, defaults=defaults, now=now)

    async def watch(self, key: Key, body: Manifest, *, now: datetime) -> Plan[ModelEndpointStatus] | None:  # noqa: ARG002
        """See :class:`sagebrush.backends.base.Kind`. Raises AwsError where AWS can't be asked."""
        try:
            meta, spec, status, observed, defaults = await self._gathered(body, now=now, refused=True)
            return endpoint.go_on(meta, spec, status, observed, defaults=defaults, now=now)
        except (SpecError, ValidationError):  # it can't even be read: nothing tells what it should scale to
            return None

    async def _gathered(
        self, body: Manifest, *, now: datetime, refused: bool = False
    ) -> tuple[Meta, ModelEndpointSpec, ModelEndpointStatus, Observed, AwsDefaults]:
        """All that a decision is made from."""
        meta, defaults = Meta.of(body), self._defaults()
        spec = ModelEndpointSpec.model_validate(body["spec"])
        status = _status(body)
        observed = Observed(
            jobs=self._jobs(meta, spec),
            finalizer=identity.FINALIZER in dig(body, "metadata", "finalizers", default=[]),
            deleting_since=parse_time(dig(body, "metadata", "deletionTimestamp")),
        )
        if _asks_aws(meta, spec, observed):
            observed = await self._observe(meta, spec, status, observed, defaults=defaults, now=now, refused=refused)
        if not meta.deleting:
            case = case_of(meta, spec, status, observed, defaults=defaults, now=now)
            observed = replace(observed, scaling=await self._scaling.facts(case))
        return meta, spec, status, observed, defaults

    def acted(self, meta: Meta, plan: Plan[Any]) -> None:
        """Keep the scaling histories; not that of a change that could not be made."""
        self._scaling.acted(meta.uid, plan.decisions)

    def forget(self, key: Key) -> None:  # noqa: ARG002 - by uid: the name may have been given anew
        """Drop what is remembered of endpoints that are gone."""
        self._scaling.forget_gone(self._cache)

    def stalled(
        self, meta: Meta, body: Manifest, *, reason: str, message: str, final: bool, now: datetime
    ) -> Plan[ModelEndpointStatus]:
        """See :class:`sagebrush.backends.base.Kind`."""
        status = _status(body)
        before = find(status.conditions, READY)
        wanted = summary(Outlook.STALLED if final else Outlook.PROGRESSING, reason=reason, message=message)
        if (
            before
            and before.status == ConditionStatus.TRUE
            and before.observed_generation == meta.generation
            and not final
        ):
            # What serves goes on serving while a call about its size is refused, or AWS doesn't answer.
            wanted = ((READY, True, before.reason, before.message), *wanted[1:])
            before = find(status.conditions, RECONCILING)
        kept = tuple(
            (each.type, each.status == "True", each.reason, each.message)
            for each in status.conditions
            if each.type not in {kind for kind, *_ in wanted}
        )
        # Others stay: by one of them we know that Application Auto Scaling has a say.
        conditions = set_conditions(status.conditions, (*wanted, *kept), generation=meta.generation, now=now)
        new = status.model_copy(update={"observed_generation": meta.generation, "conditions": conditions})
        known = before is not None and (before.reason, before.message) == (reason, message)
        return Plan(status=new, events=() if known else (Announcement(reason, message, warning=True),))

    async def _observe(
        self,
        meta: Meta,
        spec: ModelEndpointSpec,
        status: ModelEndpointStatus,
        observed: Observed,
        *,
        defaults: AwsDefaults,
        now: datetime,
        refused: bool,
    ) -> Observed:
        account = account_for(meta, spec, status, defaults=defaults)
        name = endpoint_name(meta, hosting_of(spec))
        known = await self._asked(
            account,
            "DescribeEndpoint",
            {"EndpointName": name},
            arn="EndpointArn",
            max_age=_age(meta, status, defaults),
        )
        found = replace(observed, endpoint=known)
        if meta.deleting:
            wanted = deletion_lookups(meta, spec, status, found, defaults=defaults)
        else:
            case = case_of(meta, spec, status, found, defaults=defaults, now=now)
            wanted = lookups_meanwhile(case) if refused else wanted_lookups(case)
            found = await self._looked_up(account, name, meta, spec=spec, observed=found, wanted=wanted)
            return replace(found, missing_artifacts=await self._missing(account, case, found.inventory, wanted=wanted))
        return await self._looked_up(account, name, meta, spec=spec, observed=found, wanted=wanted)

    async def _missing(self, account: Account, case: Case, inventory: Inventory, *, wanted: Lookups) -> tuple[str, ...]:
        """Artifacts of models that are to be made and that S3 has not."""
        content = case.goal.content if isinstance(case.goal, Goal) else None
        new = [each for each in (content.models if content else ()) if each.name in wanted.models]
        containers = [each.parameters["PrimaryContainer"] for each in new if inventory.models.get(each.name) is None]
        uris = sorted({container["ModelDataUrl"] for container in containers if "ModelDataUrl" in container})
        return tuple([uri for uri in uris if await is_missing(self._gateway, account, uri=uri)])

    async def _looked_up(
        self, account: Account, name: str, meta: Meta, *, spec: ModelEndpointSpec, observed: Observed, wanted: Lookups
    ) -> Observed:
        # What we change ourselves the gateway forgets; each tick of the metrics must not ask again.
        age = timedelta(0) if meta.deleting else self._defaults().polling.active
        configs: dict[str, Resource | None] = {}
        models: dict[str, Resource | None] = {}
        if wanted.listed:
            mark = identity.uid_mark(meta)
            configs |= await self._listed(account, "EndpointConfig", "EndpointConfigs", mark=mark)
            models |= await self._listed(account, "Model", "Models", mark=mark)
        for config in sorted(wanted.configs - configs.keys()):
            asked = {"EndpointConfigName": config}
            configs[config] = await self._asked(
                account, "DescribeEndpointConfig", asked, arn="EndpointConfigArn", max_age=age
            )
        for model in sorted(wanted.models - models.keys()):
            asked = {"ModelName": model}
            models[model] = await self._asked(account, "DescribeModel", asked, arn="ModelArn", max_age=age)
        registered = None
        if wanted.registrations is not None:
            registered = await read_registered(
                self._gateway,
                account,
                endpoint=name,
                variants=_variants(spec, observed.endpoint),
                max_age=wanted.registrations,
                alarms=wanted.alarms,
            )
        return replace(
            observed,
            inventory=Inventory(configs, models),
            registered=registered,
            log_tail=await self._log_tail(account, observed.endpoint) if wanted.log else (),
        )

    async def _asked(
        self,
        account: Account,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        arn: str,
        max_age: timedelta = timedelta(0),
    ) -> Resource | None:
        """One thing with its tags."""
        body = await self._gateway.read(
            account, service=Service.SAGEMAKER, operation=operation, parameters=parameters, max_age=max_age
        )
        return None if body is None else await self._tagged(account, body, arn=arn)

    async def _tagged(self, account: Account, body: Mapping[str, Any], *, arn: str) -> Resource:
        tags = await self._gateway.tags(account, arn=body[arn], created=body.get("CreationTime"))
        return Resource(body, tags)

    async def _listed(self, account: Account, what: str, member: str, *, mark: str) -> dict[str, Resource | None]:
        """Everything of one sort whose name bears our mark, as List shows it."""
        answer = await self._gateway.read(
            account, service=Service.SAGEMAKER, operation=f"List{what}s", parameters={"NameContains": mark}
        )
        entries: Iterable[Mapping[str, Any]] = (answer or {}).get(member, ())
        return {entry[f"{what}Name"]: await self._tagged(account, entry, arn=f"{what}Arn") for entry in entries}

    async def _log_tail(self, account: Account, found: Resource | None) -> tuple[str, ...]:
        """The end of the container's log, without which the reason of a failure is mostly "did not pass the ping"."""
        if found is None:
            return ()
        since = max(found.body["CreationTime"], found.body["LastModifiedTime"] - _LOG_REACH)
        parameters = {
            "logGroupName": log_group(found.body["EndpointName"]),
            "startTime": int(since.timestamp() * 1000),
        }
        try:
            answer = await self._gateway.read(
                account, service=Service.LOGS, operation="FilterLogEvents", parameters=parameters, max_age=_LOG_AGE
            )
        except AwsError as error:
            if error.problem in (Problem.DENIED, Problem.ABSENT, Problem.INVALID):
                return ()
            raise
        events = sorted((answer or {}).get("events", ()), key=lambda event: event.get("timestamp", 0))
        lines = (str(event.get("message", "")).rstrip()[:_LINE_LENGTH] for event in events)
        return tuple(line for line in lines if line)[-_LOG_LINES:]

    def _jobs(self, meta: Meta, spec: ModelEndpointSpec) -> dict[str, SourceJob]:
        references = (variant.model.training_job_ref for variant in variants_of(spec))
        out: dict[str, SourceJob] = {}
        for name in {reference.name for reference in references if reference}:
            body = self._cache.get(Key("TrainingJob", meta.namespace, name))
            if body is not None and "deletionTimestamp" not in body["metadata"]:
                out[name] = SourceJob(
                    TrainingJobSpec.model_validate(body["spec"], extra="ignore"),
                    TrainingJobStatus.model_validate(body.get("status") or {}, extra="ignore"),
                )
        return out


def _status(body: Manifest) -> ModelEndpointStatus:
    # A newer version of the operator may have written fields that this one does not know.
    return ModelEndpointStatus.model_validate(body.get("status") or {}, extra="ignore")


def _variants(spec: ModelEndpointSpec, found: Resource | None) -> list[str]:
    """The variants that may be registered: those wanted, and those that are there."""
    there = (found.body.get("ProductionVariants") or ()) if found else ()
    return sorted({each.name for each in variants_of(spec)} | {each["VariantName"] for each in there})


def _asks_aws(meta: Meta, spec: ModelEndpointSpec, observed: Observed) -> bool:
    """Whether there is anything to ask: not for the end of an object that has, or leaves, everything as it is."""
    return not meta.deleting or (observed.finalizer and hosting_of(spec).deletion_policy == "Delete")


def _age(meta: Meta, status: ModelEndpointStatus, defaults: AwsDefaults) -> timedelta:
    """How old the description of the endpoint may be."""
    told = find(status.conditions, READY)
    peace = (
        told is not None
        and told.reason == Reason.SERVING
        and told.observed_generation == meta.generation
        and bool(status.sage_maker and status.sage_maker.status == IN_SERVICE)
        and not meta.deleting
    )
    return _NEARLY * (defaults.polling.steady if peace else defaults.polling.active)
