"""SageMaker Runtime: InvokeEndpoint answers a small prediction and counts."""

import json
import random
from typing import Any

from tests.sagemaker_simulator.calls import Call, operation
from tests.sagemaker_simulator.errors import AwsError
from tests.sagemaker_simulator.traffic import SERVING

MOST_BYTES = 6291456


@operation("sagemaker-runtime", "InvokeEndpoint")
def invoke_endpoint(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A variant is drawn by weight (or as asked); one real call counts as `speed` virtual ones, as its minute does."""
    name = request["EndpointName"]
    endpoint = call.region.endpoints.get(name.lower())
    if endpoint is None or endpoint.status not in SERVING:
        raise AwsError("ValidationError", f"Endpoint {name} of account {call.region.account} not found.")
    if len(request["Body"]) > MOST_BYTES:
        raise AwsError("ValidationError", f"Body is larger than {MOST_BYTES} bytes.", 413)
    fleet = endpoint.fleet
    if endpoint.pending and random.random() < endpoint.shifted:
        fleet = endpoint.pending
    variant = fleet.variant(request["TargetVariant"]) if request.get("TargetVariant") else None
    if request.get("TargetVariant") and variant is None:
        raise AwsError("ValidationError", f"Variant {request['TargetVariant']} not found for endpoint {name}.")
    if variant is None:
        weights = [each.current_weight for each in fleet.variants]
        variant = random.choices(fleet.variants, weights if any(weights) else None)[0]
    variant.serve(call.world.agenda.clock.speed)
    endpoint.real_invocations += 1
    prediction = {"predictions": [{"score": 0.5, "predicted_label": 0.0}], "config": fleet.config_name}
    return {
        "Body": json.dumps(prediction).encode(),
        "Headers": {"x-Amzn-Invoked-Production-Variant": variant.name},
    }
