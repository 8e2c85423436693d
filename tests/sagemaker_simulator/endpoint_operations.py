"""SageMaker operations on endpoints."""

from typing import Any

from tests.sagemaker_simulator import deployment, errors
from tests.sagemaker_simulator.calls import Call, listed, operation, page, tags_of
from tests.sagemaker_simulator.endpoint import Endpoint
from tests.sagemaker_simulator.errors import invalid
from tests.sagemaker_simulator.fleet import Fleet, build_fleet


@operation("sagemaker", "CreateEndpoint")
def create_endpoint(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The name is unique without regard to case; the configuration may not be seen yet."""
    region, name = call.region, request["EndpointName"]
    if name.lower() in region.endpoints:
        raise errors.existing("endpoint", region.endpoints[name.lower()].arn)
    fleet = build_fleet(region, region.find("endpoint-config", request["EndpointConfigName"]))
    deployment.check(request.get("DeploymentConfig", {}))
    for instance_type, count in fleet.by_type().items():
        region.check_quota(instance_type, "endpoint", count)
    endpoint = Endpoint(region, name, fleet)
    endpoint.tags = tags_of(request)
    region.endpoints[name.lower()] = endpoint
    endpoint.begin_creating()
    return {"EndpointArn": endpoint.arn}


@operation("sagemaker", "DescribeEndpoint")
def describe_endpoint(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    endpoint: Endpoint = call.region.find("endpoint", request["EndpointName"])
    answer = endpoint.describe()
    config = call.region.endpoint_configs.get(endpoint.fleet.config_name)
    for key in ("DataCaptureConfig", "AsyncInferenceConfig", "ExplainerConfig", "MetricsConfig"):
        if config is not None and (value := config.request.get(key)):
            answer[key] = {"CaptureStatus": "Started", **value} if key == "DataCaptureConfig" else value
    return answer


@operation("sagemaker", "UpdateEndpoint")
def update_endpoint(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    region = call.region
    endpoint: Endpoint = region.find("endpoint", request["EndpointName"])
    endpoint.check_changeable()
    region.find("endpoint-config", endpoint.fleet.config_name)
    fleet = build_fleet(region, region.find("endpoint-config", request["EndpointConfigName"]))
    config = request.get("DeploymentConfig", {})
    if request.get("RetainDeploymentConfig"):
        if config:
            raise invalid("DeploymentConfig and RetainDeploymentConfig can't be specified together.")
        config = endpoint.last_deployment or {}
    deployment.check(config)
    _check_targets(call, endpoint, fleet)
    if request.get("RetainAllVariantProperties"):
        excluded = {each["VariantPropertyType"] for each in request.get("ExcludeRetainedVariantProperties", [])}
        _retain(endpoint, fleet, excluded=excluded)
    elif request.get("ExcludeRetainedVariantProperties"):
        raise invalid("ExcludeRetainedVariantProperties requires RetainAllVariantProperties to be true.")
    for instance_type, count in fleet.by_type().items():
        region.check_quota(instance_type, "endpoint", 1 if deployment.is_rolling(config) else count)
    endpoint.begin_update(fleet, config)
    return {"EndpointArn": endpoint.arn}


def _retain(endpoint: Endpoint, fleet: Fleet, *, excluded: set[str]) -> None:
    """Variants of the same name keep their desired count and weight."""
    for variant in fleet.variants:
        old = endpoint.fleet.variant(variant.name)
        if old is None:
            continue
        if "DesiredInstanceCount" not in excluded and not (variant.serverless or old.serverless):
            variant.desired_count = old.desired_count
        if "DesiredWeight" not in excluded:
            variant.desired_weight = variant.current_weight = old.desired_weight


def _check_targets(call: Call, endpoint: Endpoint, fleet: Fleet) -> None:
    """A registered variant can neither go nor change its instance type."""
    changed = []
    for target in call.region.targets.values():
        if target.endpoint == endpoint.name.lower():
            old, new = endpoint.fleet.variant(target.variant), fleet.variant(target.variant)
            if new is None or (old is not None and new.instance_type != old.instance_type):
                changed.append(target.variant)
    if changed:
        raise invalid(
            f'The variant(s) "{", ".join(sorted(changed))}" must be deregistered as scalable targets with AWS Auto '
            "Scaling before they can be removed or have their instance type updated."
        )


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
def update_weights_and_capacities(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Asynchronous; what is omitted stays as it is."""
    endpoint: Endpoint = call.region.find("endpoint", request["EndpointName"])
    endpoint.check_changeable()
    wanted: dict[str, tuple[float | None, int | None]] = {}
    for each in request["DesiredWeightsAndCapacities"]:
        name, count = each["VariantName"], each.get("DesiredInstanceCount")
        variant = endpoint.fleet.variant(name)
        if variant is None:
            config = call.region.arn("endpoint-config", endpoint.fleet.config_name)
            raise invalid(f'The variant name(s) "{name}" is/are not present within endpoint configuration "{config}".')
        if variant.serverless and count is not None:
            raise invalid(f'DesiredInstanceCount can\'t be specified for serverless variant "{name}".')
        if count == 0 and not is_async(call, endpoint):
            raise invalid(f'DesiredInstanceCount of variant "{name}" must be greater than or equal to 1.')
        if count is not None and variant.instance_type:
            call.region.check_quota(variant.instance_type, "endpoint", count - variant.desired_count)
        wanted[name] = (each.get("DesiredWeight"), count)
    endpoint.begin_resize(wanted)
    return {"EndpointArn": endpoint.arn}


def is_async(call: Call, endpoint: Endpoint) -> bool:
    """Whether the endpoint works through a queue, and so may have no instance."""
    config = call.region.endpoint_configs.get(endpoint.fleet.config_name)
    return bool(config and config.request.get("AsyncInferenceConfig"))


@operation("sagemaker", "DeleteEndpoint")
def delete_endpoint(call: Call, request: dict[str, Any]) -> None:
    """Also deregisters its scalable targets, in the caller's name."""
    endpoint: Endpoint = call.region.find("endpoint", request["EndpointName"])
    endpoint.check_changeable(deleting=True)
    resources = [key for key, target in call.region.targets.items() if target.endpoint == endpoint.name.lower()]
    if resources and call.world.faults.denies("DeregisterScalableTarget"):
        raise errors.denied(call.caller(), "application-autoscaling:DeregisterScalableTarget", resources[0])
    for key in resources:
        call.region.targets[key].remove(call.region)
    endpoint.begin_deleting()


@operation("sagemaker", "ListEndpoints")
def list_endpoints(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    seen = [endpoint for endpoint in call.region.endpoints.values() if call.region.visible("endpoint", endpoint)]
    if status := request.get("StatusEquals"):
        seen = [endpoint for endpoint in seen if endpoint.status == status]
    shown, token = page(request, listed(request, seen, order="Descending", name=lambda endpoint: endpoint.name))
    items = [
        {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "EndpointStatus": endpoint.status,
        }
        for endpoint in shown
    ]
    return {"Endpoints": items, "NextToken": token}
