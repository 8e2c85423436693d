"""SageMaker operations on models and endpoint configurations, which never change."""

from typing import Any

from tests.sagemaker_simulator import errors
from tests.sagemaker_simulator.calls import Call, listed, operation, page, tags_of
from tests.sagemaker_simulator.checks import check_container, check_role
from tests.sagemaker_simulator.errors import invalid
from tests.sagemaker_simulator.world import Thing


def _create(call: Call, kind: str, name: str, request: dict[str, Any]) -> Thing:
    arn = call.region.arn(kind, name)
    thing = Thing(kind=kind, name=name, arn=arn, request=request, created=call.world.now, tags=tags_of(request))
    call.region.of_kind(kind)[name] = thing
    return thing


@operation("sagemaker", "CreateModel")
def create_model(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Checks image and model data at once (reference §1.2)."""
    name = request["ModelName"]
    if name in call.region.models:
        raise errors.existing("model", call.region.arn("model", name))
    check_role(call, request.get("ExecutionRoleArn", ""))
    primary, several = request.get("PrimaryContainer"), request.get("Containers", [])
    if bool(primary) == bool(several):
        raise invalid("Exactly one of PrimaryContainer and Containers must be specified.")
    for container in several or [primary]:
        check_container(call, container)
    return {"ModelArn": _create(call, "model", name, request).arn}


@operation("sagemaker", "CreateEndpointConfig")
def create_endpoint_config(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Its models must exist, and each variant is of instances or serverless."""
    name = request["EndpointConfigName"]
    if name in call.region.endpoint_configs:
        raise errors.existing("endpoint-config", call.region.arn("endpoint-config", name))
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(names) != len(set(names)):
        raise invalid("Production variant names must be unique within an endpoint configuration.")
    if request.get("ShadowProductionVariants") and len(variants) != 1:
        raise invalid("An endpoint configuration with a shadow variant must have exactly one production variant.")
    for variant in [*variants, *request.get("ShadowProductionVariants", [])]:
        _check_variant(call, variant)
    return {"EndpointConfigArn": _create(call, "endpoint-config", name, request).arn}


def _check_variant(call: Call, variant: dict[str, Any]) -> None:
    serverless = variant.get("ServerlessConfig")
    if serverless and (variant.get("InstanceType") or variant.get("InitialInstanceCount")):
        raise invalid("InstanceType and InitialInstanceCount can't be specified together with ServerlessConfig.")
    if not serverless and not (variant.get("InstanceType") or variant.get("InstancePools")):
        raise invalid("InstanceType must be specified for a variant without ServerlessConfig.")
    if not serverless and not variant.get("InitialInstanceCount"):
        raise invalid("InitialInstanceCount must be specified for a variant without ServerlessConfig.")
    if variant.get("ModelName"):
        call.region.find("model", variant["ModelName"])


@operation("sagemaker", "DescribeModel")
def describe_model(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    return _describe(call.region.find("model", request["ModelName"]), arn="ModelArn")


@operation("sagemaker", "DescribeEndpointConfig")
def describe_endpoint_config(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    return _describe(call.region.find("endpoint-config", request["EndpointConfigName"]), arn="EndpointConfigArn")


def _describe(thing: Thing, *, arn: str) -> dict[str, Any]:
    answer = {key: value for key, value in thing.request.items() if key != "Tags"}
    return {**answer, arn: thing.arn, "CreationTime": thing.created}


@operation("sagemaker", "DeleteModel")
def delete_model(call: Call, request: dict[str, Any]) -> None:
    """AWS lets models in use go; the audit does not."""
    model = call.region.find("model", request["ModelName"])
    for endpoint in call.region.endpoints.values():
        if endpoint.status not in {"Failed", "Deleting"} and (use := endpoint.uses_model(model.name)):
            call.world.violate("delete-in-use", "DeleteModel", model.name, f"{use} on endpoint {endpoint.name}")
    del call.region.models[model.name]


@operation("sagemaker", "DeleteEndpointConfig")
def delete_endpoint_config(call: Call, request: dict[str, Any]) -> None:
    """AWS lets configurations in use go; the audit does not."""
    config = call.region.find("endpoint-config", request["EndpointConfigName"])
    for endpoint in call.region.endpoints.values():
        if endpoint.status not in {"Failed", "Deleting"} and (use := endpoint.uses_config(config.name)):
            detail = f"{use} on endpoint {endpoint.name}"
            call.world.violate("delete-in-use", "DeleteEndpointConfig", config.name, detail)
    del call.region.endpoint_configs[config.name]


@operation("sagemaker", "ListModels")
def list_models(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    return _list(call, request, "model", key="Models", prefix="Model")


@operation("sagemaker", "ListEndpointConfigs")
def list_endpoint_configs(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    return _list(call, request, "endpoint-config", key="EndpointConfigs", prefix="EndpointConfig")


def _list(call: Call, request: dict[str, Any], kind: str, *, key: str, prefix: str) -> dict[str, Any]:
    seen = [thing for thing in call.region.of_kind(kind).values() if call.region.visible(kind, thing)]
    shown, token = page(request, listed(request, seen, order="Descending", name=lambda thing: str(thing.name)))
    items = [{f"{prefix}Name": thing.name, f"{prefix}Arn": thing.arn, "CreationTime": thing.created} for thing in shown]
    return {key: items, "NextToken": token}


def _tagged(call: Call, arn: str) -> Any:
    for thing in call.region.things():
        if thing.arn.lower() == arn.lower() and call.region.visible(thing.kind, thing):
            return thing
    kind, _, name = arn.split(":", 5)[-1].partition("/")
    if kind in errors.KINDS:
        raise errors.missing(kind, call.region.arn(kind, name))
    raise invalid(f"Invalid resource ARN: {arn}")


@operation("sagemaker", "AddTags")
def add_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """An upsert by key; 50 tags at most."""
    thing = _tagged(call, request["ResourceArn"])
    merged = {**thing.tags, **tags_of(request)}
    if len(merged) > 50:
        raise invalid(f"The number of tags on resource {thing.arn} would exceed the limit of 50.")
    thing.tags = merged
    return {"Tags": _listed_tags(merged)}


@operation("sagemaker", "ListTags")
def list_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    tags = _listed_tags(_tagged(call, request["ResourceArn"]).tags)
    shown, token = page(request, tags, default=50)
    return {"Tags": shown, "NextToken": token}


@operation("sagemaker", "DeleteTags")
def delete_tags(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    thing = _tagged(call, request["ResourceArn"])
    for key in request["TagKeys"]:
        thing.tags.pop(key, None)
    return {}


def _listed_tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
