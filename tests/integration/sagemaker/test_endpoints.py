"""ModelEndpoints on the simulated SageMaker: from the manifest to an endpoint that serves what it says, and back to nothing."""

from tests.integration.kube import Kube, Manifest, condition
from tests.integration.operator_process import Operators
from tests.integration.sagemaker.aws import Aws, endpoint


def wait_serving(kube: Kube, namespace: str, *, name: str = "kdd", seconds: float = 40) -> Manifest:
    """The ModelEndpoint once it serves what its present generation says."""
    return kube.wait_ready("ModelEndpoint", namespace, name, "Serving", seconds=seconds)


def test_endpoint_must_serve_and_leave_nothing(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """Model, configuration and endpoint are made once, Ready is told when they serve, and deleted, nothing is left."""
    aws.start(operators, namespace)
    kube.apply(endpoint("kdd", namespace))
    body = wait_serving(kube, namespace)
    status = body["status"]
    name = status["sageMaker"]["endpointName"]
    described = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    assert ("InService", status["sageMaker"]["endpointConfig"]) == (
        described["EndpointStatus"],
        described["EndpointConfigName"],
    )
    assert "True" == condition(body, "Ready")["status"]
    assert (1, 1) == (status["replicas"], status["readyReplicas"])
    for operation in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        assert 1 == aws.simulator.audit.count(operation), operation

    kube.delete("ModelEndpoint", namespace, "kdd")
    kube.wait_gone("ModelEndpoint", namespace, "kdd")
    aws.wait_clean()
