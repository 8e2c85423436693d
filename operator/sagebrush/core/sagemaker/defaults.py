"""What the operator's settings bring to decisions about SageMaker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sagebrush.api.aws import AwsLocation
from sagebrush.core.plan import SpecError
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker.calls import Account
from sagebrush.core.sagemaker.cost import PriceTable


@dataclass(frozen=True, slots=True)
class Polling:
    """How old a description may be, and so how soon we look again."""

    active: timedelta = timedelta(seconds=15)
    """Something is under way: a job that runs, an endpoint that changes."""
    steady: timedelta = timedelta(seconds=60)
    """Nothing is: an endpoint in service."""
    after_change: timedelta = timedelta(seconds=2)
    """We have just changed something."""
    autoscaling: timedelta = timedelta(minutes=5)
    """Registrations at Application Auto Scaling, which nobody else should change."""


@dataclass(frozen=True, slots=True)
class AwsDefaults:
    """Part of the operator's settings that decisions about SageMaker depend on."""

    cluster_id: str
    """Tells this cluster's objects from another's in the same account."""
    region: str | None = None
    """Region where the object names none."""
    server_image: str | None = None
    """Image of the built-in model server in a registry that SageMaker can pull from (ECR)."""
    namespace_roles: Mapping[str, str] = field(default_factory=dict)
    """Role that is assumed for the objects of a namespace, where the object names none."""
    polling: Polling = field(default_factory=Polling)
    prices: PriceTable = field(default_factory=PriceTable)


def account_of(meta: Meta, location: AwsLocation, defaults: AwsDefaults, *, arn: str | None = None) -> Account:
    """
    Region and role for this object. *arn*: what it has in AWS already, which stays where it is, whatever the operator's
    own region is by now. Raises SpecError where the operator's settings leave something open.
    """
    if not defaults.cluster_id:
        raise SpecError(
            "the operator may not read namespace kube-system and so does not know which cluster this is: set its --cluster-id"
        )
    region = location.region or _region_in(arn) or defaults.region
    if region is None:
        raise SpecError(
            "spec.sageMaker.region: needed, since the operator has no region of its own (its AWS_REGION or --aws-region)"
        )
    return Account(region, location.assume_role_arn or defaults.namespace_roles.get(meta.namespace))


def _region_in(arn: str | None) -> str | None:
    parts = (arn or "").split(":")
    return parts[3] if len(parts) > 5 else None
