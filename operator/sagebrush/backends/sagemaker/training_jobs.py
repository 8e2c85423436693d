"""TrainingJob on SageMaker: looks at the job, its tags and its inputs, and lets the core decide."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sagebrush.api.training_job import TrainingJobSpec, TrainingJobStatus
from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.backends.sagemaker.storage import is_missing
from sagebrush.backends.stalled import stalled_plan
from sagebrush.core.plan import Plan
from sagebrush.core.resource import Key, Manifest, Meta, dig, parse_time
from sagebrush.core.sagemaker import identity, training_request
from sagebrush.core.sagemaker.calls import Account, Resource, Service
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.training_case import Observed, account_for
from sagebrush.core.sagemaker.training_job import reconcile

log = logging.getLogger(__name__)


class SageMakerTrainingJobs:
    """TrainingJob as a training job of SageMaker. See :class:`sagebrush.backends.base.Kind`."""

    def __init__(self, *, gateway: Gateway, defaults: Callable[[], AwsDefaults]) -> None:
        self._gateway, self._defaults = gateway, defaults

    async def plan(self, key: Key, body: Manifest, *, now: datetime) -> Plan[TrainingJobStatus]:  # noqa: ARG002 - all is in the body
        """See :class:`sagebrush.backends.base.Kind`. Raises AwsError where SageMaker can't be asked."""
        meta, status, defaults = Meta.of(body), self._status(body), self._defaults()
        marked = identity.FINALIZER in dig(body, "metadata", "finalizers", default=[])
        if meta.deleting and not marked:  # nothing was ever asked of AWS, and a spec that can't be read is no matter
            return Plan(status=None)
        spec = TrainingJobSpec.model_validate(body["spec"])
        observed = Observed(has_finalizer=marked, deleted_at=parse_time(dig(body, "metadata", "deletionTimestamp")))
        if _is_of_interest(meta, spec, status):
            observed = await self._observe(meta, spec, status, observed, defaults=defaults)
        return reconcile(meta, spec, status, observed, defaults=defaults, now=now)

    async def _observe(
        self,
        meta: Meta,
        spec: TrainingJobSpec,
        status: TrainingJobStatus,
        marks: Observed,
        *,
        defaults: AwsDefaults,
    ) -> Observed:
        account = account_for(meta, spec, status, defaults=defaults)
        name = training_request.job_name(meta, spec)
        # What we have not seen yet, or are removing, must not be answered from memory.
        known = status.sage_maker is not None and not meta.deleting
        job = await self._job(account, name, max_age=defaults.polling.active / 2 if known else timedelta(0))
        missing: tuple[str, ...] = ()
        if job is None and status.start_time is None and not (meta.deleting or spec.suspend):
            missing = await self._missing_inputs(account, spec)
        return Observed(job, marks.has_finalizer, marks.deleted_at, missing)

    async def _job(self, account: Account, name: str, *, max_age: timedelta) -> Resource | None:
        body = await self._gateway.read(
            account,
            service=Service.SAGEMAKER,
            operation="DescribeTrainingJob",
            parameters={"TrainingJobName": name},
            max_age=max_age,
        )
        if body is None:
            return None
        tags = await self._gateway.tags(account, arn=body["TrainingJobArn"], created=body.get("CreationTime"))
        return Resource(body, tags)

    async def _missing_inputs(self, account: Account, spec: TrainingJobSpec) -> tuple[str, ...]:
        """Channels of which S3 has nothing, in words."""
        missing = [
            f"{channel.uri} (channel {channel.name})"
            for channel in spec.channels
            if await is_missing(self._gateway, account, uri=channel.uri, prefix=channel.data_type == "S3Prefix")
        ]
        return tuple(missing)

    def _status(self, body: Manifest) -> TrainingJobStatus:
        # A newer version of the operator may have written fields that this one does not know.
        return TrainingJobStatus.model_validate(body.get("status") or {}, extra="ignore")

    def forget(self, key: Key) -> None:
        """Nothing is kept for an object here."""

    async def watch(self, key: Key, body: Manifest, *, now: datetime) -> Plan[Any] | None:  # noqa: ARG002
        """Nothing: a job whose spec was refused does not run."""
        return None

    def acted(self, meta: Meta, plan: Plan[Any]) -> None:
        """Nothing is kept for an object here."""

    def stalled(
        self, meta: Meta, body: Manifest, *, reason: str, message: str, final: bool, now: datetime
    ) -> Plan[TrainingJobStatus]:
        """See :class:`sagebrush.backends.base.Kind`."""
        return stalled_plan(meta, self._status(body), reason=reason, message=message, final=final, now=now)


def _is_of_interest(meta: Meta, spec: TrainingJobSpec, status: TrainingJobStatus) -> bool:
    """Whether the decision depends on AWS at all: a record doesn't, nor what is to be kept."""
    if meta.deleting:
        return training_request.location(spec).deletion_policy != "Retain"
    return not (status.phase and status.phase.is_final)
