"""Reads what Application Auto Scaling and CloudWatch have for an endpoint."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.core.sagemaker.autoscaling import Registered
from sagebrush.core.sagemaker.autoscaling_request import NAMESPACE, alarm_prefix, resource_id
from sagebrush.core.sagemaker.calls import Account, Service


async def read_registered(
    gateway: Gateway,
    account: Account,
    *,
    endpoint: str,
    variants: Sequence[str],
    max_age: timedelta,
    alarms: bool = False,
) -> Registered:
    """
    What is registered for these *variants* of *endpoint*, at most *max_age* old. Raises AwsError.

    One call where nothing is. Policies and scheduled actions are asked for only where there is a registration, since they
    go with it; alarms only where there is a step scaling policy, or with *alarms* (before an endpoint is deleted: its
    registrations may have gone without them).
    """
    reader = _Reader(gateway, account, max_age)
    targets: tuple[Mapping[str, Any], ...] = ()
    if variants:
        ids = [resource_id(endpoint, variant) for variant in sorted(set(variants))]
        targets = await reader.scaling("DescribeScalableTargets", key="ScalableTargets", ResourceIds=ids)
    policies: list[Mapping[str, Any]] = []
    actions: list[Mapping[str, Any]] = []
    for where in sorted({target["ResourceId"] for target in targets}):
        policies += await reader.scaling("DescribeScalingPolicies", key="ScalingPolicies", ResourceId=where)
        actions += await reader.scaling("DescribeScheduledActions", key="ScheduledActions", ResourceId=where)
    found: tuple[Mapping[str, Any], ...] = ()
    if alarms or any(policy["PolicyType"] == "StepScaling" for policy in policies):
        prefix = {"AlarmNamePrefix": alarm_prefix(endpoint), "AlarmTypes": ["MetricAlarm"]}
        found = await reader.read(Service.CLOUDWATCH, "DescribeAlarms", key="MetricAlarms", parameters=prefix)
    return Registered(targets=targets, policies=tuple(policies), actions=tuple(actions), alarms=found)


class _Reader:
    def __init__(self, gateway: Gateway, account: Account, max_age: timedelta) -> None:
        self._gateway, self._account, self._max_age = gateway, account, max_age

    async def scaling(self, operation: str, *, key: str, **parameters: Any) -> tuple[Mapping[str, Any], ...]:
        return await self.read(
            Service.AUTOSCALING, operation, key=key, parameters={"ServiceNamespace": NAMESPACE, **parameters}
        )

    async def read(
        self, service: Service, operation: str, *, key: str, parameters: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], ...]:
        answer = await self._gateway.read(
            self._account, service=service, operation=operation, parameters=parameters, max_age=self._max_age
        )
        return () if answer is None else tuple(answer.get(key) or ())
