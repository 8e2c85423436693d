"""What both kinds say to SageMaker. Patterns and limits are those of AWS' own API model (:mod:`sagebrush.api.aws_limits`)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from sagebrush.api.aws_limits import LIMITS
from sagebrush.api.meta import ApiModel, rules


def limited(shape: str, *, service: str = "sagemaker") -> FieldInfo:
    """The limits of one of AWS' shapes, for a field's annotation. KeyError for one that the generator doesn't know."""
    info: FieldInfo = Field(**LIMITS[f"{service}.{shape}"])
    return info


RoleArn = Annotated[str, limited("RoleArn")]
S3Uri = Annotated[str, Field(max_length=LIMITS["sagemaker.S3Uri"]["max_length"], pattern=r"^s3://[^/ ]+/?[^ ]*$")]
KmsKey = Annotated[str, limited("KmsKeyId")]
Region = Annotated[str, Field(max_length=32, pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]+$")]
InstanceType = Annotated[str, Field(min_length=4, max_length=63, pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]
"""Any: AWS has new ones every month, and refuses by itself what it has not."""
Tags = Annotated[
    dict[str, Annotated[str, limited("TagValue")]],
    Field(
        max_length=40,
        json_schema_extra=rules(
            (
                "self.all(key, !key.startsWith('sagebrush.dev/'))",
                "tags: keys that begin with sagebrush.dev/ are the operator's own",
            ),
        ),
    ),
]
DeletionPolicy = Literal["Delete", "Retain"]


class Vpc(ApiModel):
    """Subnets and security groups of the instances."""

    subnets: Annotated[list[Annotated[str, limited("SubnetId")]], Field(min_length=1, max_length=16)]
    """Subnet ids."""
    security_group_ids: Annotated[list[Annotated[str, limited("SecurityGroupId")]], Field(min_length=1, max_length=5)]
    """Security group ids."""


def place_rules(kind: str) -> list[tuple[str, str]]:
    """CEL rules for what says where a thing is in AWS: changed, what was made there would be nobody's."""
    return [
        (
            f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
            f"{field} can't change: {why}; create another {kind}",
        )
        for field, why in (
            ("name", "it may be in use in SageMaker already"),
            ("region", "what was made is there"),
            ("assumeRoleArn", "what was made may be in another account"),
        )
    ]


class AwsLocation(ApiModel):
    """Which account and region, as whom, and what becomes of it."""

    role_arn: RoleArn
    """SageMaker's execution role: reads data, writes artifacts, pulls images."""
    region: Region | None = None
    """Region; the operator's own when unset."""
    assume_role_arn: RoleArn | None = None
    """Role to assume for this object's calls; the namespace's in the operator's settings, else its own identity, when unset."""
    deletion_policy: DeletionPolicy = "Delete"
    """When this object is deleted: Delete removes what belongs to it in AWS, Retain leaves it."""
    enable_network_isolation: bool = False
    """No network for the container."""
    vpc: Vpc | None = None
    """Network of the instances."""
    tags: Tags = {}
    """Tags of everything made in AWS, beside the operator's own (sagebrush.dev/…), which mark the owner."""


class Cost(ApiModel):
    """An estimate: instances × price × time, by the operator's price table. Storage, traffic and requests aren't in it."""

    hourly: float | None = None
    """Per hour at present; unset where the table has no price."""
    total: float
    """Since creation, of what has a price."""
    currency: Annotated[str, Field(max_length=8)]
    """Currency of the price table."""
    prices_as_of: Annotated[str, Field(max_length=32)]
    """Date of the price table."""
    billed_until: datetime
    """Time up to which total counts."""
    message: Annotated[str, Field(max_length=512)] = ""
    """What the figures leave out."""
