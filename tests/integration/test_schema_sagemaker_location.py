"""What both kinds say to SageMaker of account, network and tags, in the real API server."""

import pytest

from sagebrush.api.aws_limits import LIMITS
from tests.integration.constraints import ROLE, Cases, check_accepted, check_refused
from tests.integration.kube import Kube
from tests.integration.manifests import GONE, Manifest, endpoint, training_job

pytestmark = pytest.mark.usefixtures("crds")

SAGEMAKER = {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"}
INSTANCE_TYPE = r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$"
REGION = "^[a-z]{2,4}(-[a-z]+)+-[0-9]+$"
VPC = {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}


def on_sagemaker(kind: str) -> Manifest:
    """The smallest object of the kind on SageMaker."""
    if kind == "TrainingJob":
        return training_job(backend="SageMaker", sageMaker=SAGEMAKER)
    return endpoint(backend="SageMaker", sageMaker=SAGEMAKER, model={"artifact": {"uri": "s3://bucket/model.tar.gz"}})


def pattern_of(shape: str) -> str:
    """AWS' own pattern, as the CRDs have it."""
    pattern: str = LIMITS[f"sagemaker.{shape}"]["pattern"]
    return pattern


def cases(kind: str) -> Cases:
    """What is taken and refused of the fields that both kinds have."""
    table = Cases(on_sagemaker(kind))
    table.take("the smallest", {})
    table.needed("spec.sageMaker.roleArn")
    for field in ("roleArn", "assumeRoleArn"):
        table.pattern(
            f"spec.sageMaker.{field}",
            pattern_of("RoleArn"),
            good=[
                "arn:aws-cn:iam::123456789012:role/a",
                "arn:aws-us-gov:iam::123456789012:role/team/a.b+c=d,e@f",
                "arn:aws-eusc:iam::123456789012:role/a",
            ],
            bad=[
                "sagebrush-execution-role",
                "arn:aws:iam::12345:role/sagebrush",
                "arn:aws:iam::123456789012:user/sagebrush",
                "arn:aws:sts::123456789012:role/sagebrush",
                "arn:aws:iam::123456789012:role/a b",
            ],
        )
        table.length(f"spec.sageMaker.{field}", None, 2048, start="arn:aws:iam::123456789012:role/")
        table.refuse(
            f"{field} of 19 characters",
            {f"spec.sageMaker.{field}": "arn:aws:iam::1:role"},
            f"spec.sageMaker.{field} in body should be at least 20 chars long",
        )
    table.pattern(
        "spec.sageMaker.region",
        REGION,
        good=["us-east-1", "ap-southeast-3", "us-gov-west-1", "cn-north-1", "us-isob-east-1", "eusc-de-east-1"],
        bad=["Ireland", "eu-west", "EU-WEST-1", "eu_west_1", "eu-west-1a"],
    )
    table.length("spec.sageMaker.region", None, 32, start="us-", end="-1")
    table.pattern(
        "spec.sageMaker.instanceType",
        INSTANCE_TYPE,
        good=["ml.z99.metal", "ml.p6-b200.48xlarge", "ml.u7i-12tb.224xlarge", "ml.g5.xlarge"],
        bad=["m5.xlarge", "ml.m5", "ml.M5.xlarge", "ml.m5.xlarge ", "ml..x"],
    )
    table.length("spec.sageMaker.instanceType", None, 63, start="ml.a.")
    table.refuse(
        "instance type of 3 characters",
        {"spec.sageMaker.instanceType": "ml."},
        "spec.sageMaker.instanceType in body should be at least 4 chars long",
    )
    table.choice("spec.sageMaker.deletionPolicy", "Delete", "Retain")
    table.take("isolated", {"spec.sageMaker.enableNetworkIsolation": True})
    table.refuse(
        "isolation as text",
        {"spec.sageMaker.enableNetworkIsolation": "yes"},
        "spec.sageMaker.enableNetworkIsolation in body must be of type boolean",
    )
    network(table)
    tags(table)
    table.known("spec.sageMaker", "spec.sageMaker.vpc")
    return table


def network(table: Cases) -> None:
    """Subnets and security groups."""
    path = "spec.sageMaker.vpc"
    table.refuse("no subnets", {path: {"securityGroupIds": ["sg-1"]}}, f"{path}.subnets: Required value")
    table.refuse("no groups", {path: {"subnets": ["subnet-1"]}}, f"{path}.securityGroupIds: Required value")
    for field, shape, most in (("subnets", "SubnetId", 16), ("securityGroupIds", "SecurityGroupId", 5)):
        names = [f"{field.lower()}-{number}" for number in range(most + 1)]
        table.take(f"one of {field}", {path: {**VPC, field: names[:1]}})
        table.take(f"{most} {field}", {path: {**VPC, field: names[:most]}})
        table.refuse(
            f"none of {field}", {path: {**VPC, field: []}}, f"{path}.{field} in body should have at least 1 items"
        )
        table.refuse(
            f"{most + 1} {field}",
            {path: {**VPC, field: names}},
            f"{path}.{field}: Too many: {most + 1}: must have at most {most} items",
        )
        table.take(f"{field} of 32 characters", {path: {**VPC, field: ["a" * 32]}})
        table.refuse(
            f"{field} of 33 characters", {path: {**VPC, field: ["a" * 33]}}, f"{path}.{field}[0]: Too long", "32"
        )
        table.refuse(
            f"{field} with an underscore",
            {path: {**VPC, field: ["a_b"]}},
            f"{path}.{field}[0] in body should match '{pattern_of(shape)}'",
        )


def tags(table: Cases) -> None:
    """Tags: any letters of any script as values, and no keys of ours."""
    path = "spec.sageMaker.tags"
    for value in ("", "Öl + Gas", "費用", "центр затрат", "a_.:/=+-@ 7", "١٢", "a" * 256):
        table.take(f"tag {value[:16]!r}", {path: {"cost-centre": value}})
    table.take("key of any form", {path: {"Kostenträger/Süd": "x", "example.com/team": "y", "sagebrush": "z"}})
    table.take("40 tags", {path: {f"t{number}": "x" for number in range(40)}})
    for value in ("a&b", "50%", "a\nb", "☃", "a;b"):
        table.refuse(
            f"tag {value!r}",
            {path: {"team": value}},
            f"{path}.team in body should match '{pattern_of('TagValue')}'",
        )
    table.refuse("tag of 257 characters", {path: {"team": "a" * 257}}, f"{path}.team: Too long", "256")
    table.refuse("number as a tag", {path: {"team": 7}}, f"{path}.team in body must be of type string")
    table.refuse(
        "41 tags",
        {path: {f"t{number}": "x" for number in range(41)}},
        f"{path}: Too many: 41: must have at most 40 items",
    )
    for key in ("sagebrush.dev/uid", "sagebrush.dev/mine"):
        table.refuse(
            f"tag {key}",
            {path: {"team": "a", key: "x"}},
            f"{path}: Invalid value",
            "keys that begin with sagebrush.dev/",
        )


TABLES = {kind: cases(kind) for kind in ("TrainingJob", "ModelEndpoint")}
ACCEPTED = {f"{kind}: {name}": found for kind, table in TABLES.items() for name, found in table.accepted.items()}
REFUSED = {f"{kind}: {name}": found for kind, table in TABLES.items() for name, found in table.refused.items()}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_sagemaker_location_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes and the operator reads; instance types of tomorrow too."""
    check_accepted(kube, manifest)


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_sagemaker_location_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    check_refused(kube, manifest, words)


@pytest.mark.parametrize("kind", TABLES)
def test_sagemaker_location_defaults_must_be_filled_in(kube: Kube, kind):
    """Whoever reads an object sees what holds; what only the operator's settings know stays unset."""
    found = kube.create(on_sagemaker(kind), dryRun="All")["spec"]["sageMaker"]
    assert (found["deletionPolicy"], found["enableNetworkIsolation"]) == ("Delete", False)
    assert not {"region", "assumeRoleArn", "vpc", "tags", "name"} & found.keys()


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("backend", ["Cluster", "SageMaker"])
def test_backend_settings_must_belong_to_the_backend(kube: Kube, kind, backend):
    """Each backend takes its own settings only, and SageMaker can't do without."""
    table = Cases(on_sagemaker(kind))
    if backend == "Cluster":
        words = ["spec.sageMaker is honoured by backend: SageMaker only; remove it, or change the backend"]
        table.refuse("", {"spec.backend": "Cluster"}, *words)
        table.refuse("by default", {"spec.backend": GONE}, *words)
    else:
        table.refuse("", {"spec.sageMaker": GONE}, "spec.sageMaker is needed with backend: SageMaker", "roleArn")
        table.refuse("with", {"spec.cluster": {}}, "spec.cluster is honoured by backend: Cluster only; remove it")
    for manifest, words in table.refused.values():
        check_refused(kube, manifest, words)
