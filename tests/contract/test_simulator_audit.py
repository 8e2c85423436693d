"""The audit: calls and their rates, deletes that hurt, what nobody owns; and tags, by which it is known."""

from typing import Any

import pytest

from tests.contract.aws import Aws, arn, refused
from tests.sagemaker_simulator import Simulator

UID = "sagebrush.dev/uid"


def _tags(uid: str) -> list[dict[str, str]]:
    return [{"Key": UID, "Value": uid}]


def test_audit_must_record_every_call(aws: Aws, simulator: Simulator) -> None:
    """Service, operation, resource, key, account, region, times and the code of the answer."""
    refused(aws.job, "missing")
    (entry,) = simulator.audit.calls("DescribeTrainingJob")
    assert ("sagemaker", "missing", "AKIDTEST", "123456789012", "us-east-1", "ValidationException") == (
        entry.service,
        entry.resource,
        entry.access_key,
        entry.account,
        entry.region,
        entry.code,
    )
    assert simulator.clock.now() == entry.virtual_time


def test_audit_must_count_by_globs(aws: Aws, simulator: Simulator) -> None:
    """Counts by operation, resource and code."""
    aws.model("a")
    aws.model("b")
    refused(aws.model, "a")
    assert (3, 2, 1) == (
        simulator.audit.count("CreateModel"),
        simulator.audit.count("Create*", resource="a"),
        simulator.audit.count(code="ValidationException"),
    )
    assert {"sagemaker.CreateModel": 3} == simulator.audit.all_operations()


def test_audit_must_tell_the_peak_of_calls(aws: Aws, simulator: Simulator) -> None:
    """The most calls within a second of virtual time, by operation."""
    for _ in range(3):
        aws.sagemaker.list_models()
    simulator.advance(10)
    aws.sagemaker.list_models()
    assert 3 == simulator.audit.calls_per_second("ListModels", virtual=True)
    assert 0 == simulator.audit.calls_per_second("ListEndpoints", virtual=True)
    assert simulator.audit.calls_per_second() >= 3


@pytest.mark.parametrize(
    ("prepare", "delete", "detail"),
    [
        (None, lambda aws: aws.sagemaker.delete_model(ModelName="model"), "live on endpoint endpoint"),
        (
            None,
            lambda aws: aws.sagemaker.delete_endpoint_config(EndpointConfigName="config"),
            "live on endpoint endpoint",
        ),
        (
            lambda aws: aws.update(),
            lambda aws: aws.sagemaker.delete_endpoint_config(EndpointConfigName="next"),
            "pending on endpoint endpoint",
        ),
        (
            lambda aws: aws.update(),
            lambda aws: aws.sagemaker.delete_endpoint_config(EndpointConfigName="config"),
            "live on endpoint endpoint",
        ),
    ],
    ids=["model", "config", "pending config", "old config during update"],
)
def test_deletes_of_things_in_use_must_be_violations(
    aws: Aws, simulator: Simulator, prepare: Any, delete: Any, detail: str
) -> None:
    """AWS allows them; the audit names them."""
    aws.serve()
    if prepare:
        prepare(aws)
    assert "OK" == refused(delete, aws)[0]
    (violation,) = simulator.audit.violations
    assert ("delete-in-use", detail) == (violation.rule, violation.detail)


def test_deletes_in_the_right_order_must_be_no_violations(aws: Aws, simulator: Simulator) -> None:
    """The old configuration after the update, everything after the endpoint."""
    aws.serve()
    aws.update()
    simulator.advance(240)
    aws.sagemaker.delete_endpoint_config(EndpointConfigName="config")
    aws.delete()
    simulator.advance(60)
    aws.sagemaker.delete_endpoint_config(EndpointConfigName="next")
    aws.sagemaker.delete_model(ModelName="model")
    assert [] == simulator.audit.violations
    assert [] == simulator.orphans()


def test_orphans_must_be_what_no_living_owner_claims(aws: Aws, simulator: Simulator) -> None:
    """Things with an owner's uid that isn't among the living; untagged things are nobody's business."""
    aws.model("ours", Tags=_tags("alive"))
    aws.model("left", Tags=_tags("dead"))
    aws.model("foreign")
    aws.train("old", Tags=_tags("dead"))
    assert [arn("model", "left"), arn("training-job", "old")] == simulator.orphans(["alive"])


def test_add_tags_must_upsert(aws: Aws) -> None:
    """A key given again changes its value (moto appends it a second time)."""
    aws.model(Tags=_tags("one"))
    aws.sagemaker.add_tags(ResourceArn=arn("model", "model"), Tags=[*_tags("two"), {"Key": "k", "Value": "v"}])
    assert [*_tags("two"), {"Key": "k", "Value": "v"}] == aws.sagemaker.list_tags(ResourceArn=arn("model", "model"))[
        "Tags"
    ]
    aws.sagemaker.delete_tags(ResourceArn=arn("model", "model"), TagKeys=[UID])
    assert [{"Key": "k", "Value": "v"}] == aws.sagemaker.list_tags(ResourceArn=arn("model", "model"))["Tags"]


@pytest.mark.parametrize("kind", ["training-job", "model", "endpoint-config", "endpoint"])
def test_tags_must_come_with_creation(aws: Aws, kind: str) -> None:
    """All kinds take tags when they are created, and show them by ListTags."""
    tags = _tags("owner")
    aws.model("thing", Tags=tags)
    aws.model()
    aws.config("thing", Tags=tags)
    aws.create("thing", config="thing", Tags=tags)
    aws.train("thing", Tags=tags)
    assert tags == aws.sagemaker.list_tags(ResourceArn=arn(kind, "thing"))["Tags"]


def test_more_than_fifty_tags_must_be_refused(aws: Aws) -> None:
    """A resource has fifty tags at most."""
    aws.model(Tags=[{"Key": str(n), "Value": "v"} for n in range(50)])
    assert (
        "ValidationException" == refused(aws.sagemaker.add_tags, ResourceArn=arn("model", "model"), Tags=_tags("x"))[0]
    )


@pytest.mark.parametrize(
    ("operation", "key", "create"),
    [
        ("list_models", "Models", lambda aws, name: aws.model(name)),
        ("list_endpoint_configs", "EndpointConfigs", lambda aws, name: aws.config(name)),
        ("list_endpoints", "Endpoints", lambda aws, name: aws.create(name)),
    ],
)
def test_lists_must_filter_and_page(aws: Aws, simulator: Simulator, operation: str, key: str, create: Any) -> None:
    """Newest first, by part of the name, page by page."""
    aws.model()
    if operation == "list_endpoints":
        aws.config()
    for number in range(5):
        create(aws, f"ours-{number}")
        simulator.advance(1)
    create(aws, "theirs")
    pages = aws.sagemaker.get_paginator(operation).paginate(NameContains="ours", PaginationConfig={"PageSize": 2})
    names = [
        [next(value for field, value in item.items() if field.endswith("Name")) for item in page[key]] for page in pages
    ]
    assert [["ours-4", "ours-3"], ["ours-2", "ours-1"], ["ours-0"]] == names
