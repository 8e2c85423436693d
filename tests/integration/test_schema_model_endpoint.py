"""The ModelEndpoint's schema in the real API server: each constraint takes what it should, and refuses the rest by name."""

import pytest

from sagebrush.api.meta import DURATION_PATTERN
from tests.integration.kube import Kube, RefusedError
from tests.integration.manifests import ARTIFACT, GONE, changed, endpoint, scaling

pytestmark = pytest.mark.usefixtures("crds")

ROLE = "arn:aws:iam::123456789012:role/sagebrush"
SAGEMAKER = {
    "backend": "SageMaker",
    "model": {"artifact": {"uri": "s3://bucket/model.tar.gz"}},
    "sageMaker": {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"},
}


def mep(changes: dict) -> dict:
    """A ModelEndpoint of backend Cluster."""
    return changed(endpoint(), changes)


def scaled(**policy) -> dict:
    """A ModelEndpoint with a policy."""
    return endpoint(scaling=scaling(**policy))


ACCEPTED = {
    "the smallest": endpoint(),
    "name of 63": mep({"metadata.name": "a" * 63}),
    "training job": endpoint(model={"trainingJobRef": {"name": "job"}}),
    "container alone": endpoint(model={"container": {"image": "x"}}),
    "artifact and container": endpoint(model={"artifact": ARTIFACT, "container": {"image": "x", "metricsPort": 9000}}),
    "artifact without checksum": mep({"spec.model.artifact.sha256": GONE}),
    "artifact on a claim": mep({"spec.model.artifact.uri": "pvc://claim/model.tar.gz"}),
    "environment": mep({"spec.model.environment": [{"name": "A", "value": "b"}]}),
    "start-up timeout": mep({"spec.model.startupTimeout": "1h"}),
    "no replicas": mep({"spec.replicas": 0}),
    "thousand replicas": mep({"spec.replicas": 1000}),
    "policy": scaled(minReplicas=2, maxReplicas=2, scaleOutCooldown="30s", scaleInCooldown="1h"),
    "policy and one replica": changed(scaled(), {"spec.replicas": 1}),
    "fraction of a request": scaled(target={"requestsPerMinute": 0.5}),
    "node port": mep({"spec.cluster.service": {"type": "NodePort", "port": 8080, "nodePort": 30080}}),
    "load balancer": mep({"spec.cluster.service": {"type": "LoadBalancer"}}),
    "resources": mep({"spec.cluster.resources": {"limits": {"memory": "1Gi"}}}),
    "backend SageMaker": endpoint(**SAGEMAKER),
    "volume": changed(endpoint(**SAGEMAKER), {"spec.sageMaker.volumeSizeGiB": 512}),
}

REFUSED = {
    "name of 64": (mep({"metadata.name": "a" * 64}), ["metadata.name", "at most 63"]),
    "name with a digit first": (mep({"metadata.name": "1a"}), ["metadata.name", "a letter first"]),
    "name with a dot": (mep({"metadata.name": "a.b"}), ["metadata.name", "letters, digits and hyphens"]),
    "name with a hyphen last": (mep({"metadata.name": "a-"}), ["metadata.name"]),
    "no model": (mep({"spec.model": GONE}), ["spec.model", "Required"]),
    "an empty model": (mep({"spec.model": {}}), ["spec.model", "trainingJobRef, an artifact, or a container"]),
    "two models": (
        mep({"spec.model.trainingJobRef": {"name": "job"}}),
        ["spec.model", "at most one of trainingJobRef and artifact"],
    ),
    "job name": (
        endpoint(model={"trainingJobRef": {"name": "A_b"}}),
        ["spec.model.trainingJobRef.name", "[-a-z0-9.]*"],
    ),
    "no job name": (endpoint(model={"trainingJobRef": {}}), ["spec.model.trainingJobRef.name", "Required"]),
    "artifact by ftp": (mep({"spec.model.artifact.uri": "ftp://x"}), ["spec.model.artifact.uri", "s3|pvc|http|https"]),
    "checksum": (mep({"spec.model.artifact.sha256": "ab"}), ["spec.model.artifact.sha256", "^[0-9a-f]{64}$"]),
    "no image": (endpoint(model={"container": {}}), ["spec.model.container.image", "Required"]),
    "metrics port": (
        endpoint(model={"container": {"image": "x", "metricsPort": 65536}}),
        ["spec.model.container.metricsPort", "65535"],
    ),
    "pull policy": (
        endpoint(model={"container": {"image": "x", "imagePullPolicy": "Maybe"}}),
        ["spec.model.container.imagePullPolicy", '"Always", "IfNotPresent", "Never"'],
    ),
    "variable twice": (
        mep({"spec.model.environment": [{"name": "A"}] * 2}),
        ["spec.model.environment[1]", "Duplicate"],
    ),
    "start-up timeout": (mep({"spec.model.startupTimeout": "soon"}), ["spec.model.startupTimeout", DURATION_PATTERN]),
    "negative replicas": (mep({"spec.replicas": -1}), ["spec.replicas", "greater than or equal to 0"]),
    "1001 replicas": (mep({"spec.replicas": 1001}), ["spec.replicas", "less than or equal to 1000"]),
    "replicas with a policy": (
        changed(scaled(), {"spec.replicas": 3}),
        ["spec.replicas is owned by spec.scaling", "minReplicas and maxReplicas"],
    ),
    "scale to zero": (
        scaled(minReplicas=0),
        ["spec.scaling.minReplicas", "at least 1", "scale to zero needs a gateway that holds requests"],
    ),
    "1001 minReplicas": (scaled(minReplicas=1001), ["spec.scaling.minReplicas", "1000"]),
    "no maxReplicas": (changed(scaled(), {"spec.scaling.maxReplicas": GONE}), ["spec.scaling.maxReplicas", "Required"]),
    "maxReplicas of 0": (scaled(maxReplicas=0), ["spec.scaling.maxReplicas", "greater than or equal to 1"]),
    "1001 maxReplicas": (scaled(maxReplicas=1001), ["spec.scaling.maxReplicas", "1000"]),
    "min above max": (scaled(minReplicas=5), ["spec.scaling", "minReplicas must not be above maxReplicas"]),
    "no target": (changed(scaled(), {"spec.scaling.target": GONE}), ["spec.scaling.target", "Required"]),
    "target of 0": (
        scaled(target={"requestsPerMinute": 0}),
        ["spec.scaling.target.requestsPerMinute", "greater than 0"],
    ),
    "cooldown": (scaled(scaleInCooldown="50"), ["spec.scaling.scaleInCooldown", DURATION_PATTERN]),
    "out cooldown": (scaled(scaleOutCooldown="-5s"), ["spec.scaling.scaleOutCooldown", DURATION_PATTERN]),
    "service type": (
        mep({"spec.cluster.service": {"type": "ExternalName"}}),
        ["spec.cluster.service.type", '"ClusterIP", "NodePort", "LoadBalancer"'],
    ),
    "service port": (mep({"spec.cluster.service": {"port": 0}}), ["spec.cluster.service.port", "1"]),
    "node port of no node port": (mep({"spec.cluster.service": {"nodePort": 30080}}), ["nodePort", "type: NodePort"]),
    "node port": (mep({"spec.cluster.service": {"nodePort": 70000}}), ["spec.cluster.service.nodePort", "65535"]),
    "backend": (mep({"spec.backend": "Cloud"}), ["spec.backend", '"Cluster", "SageMaker"']),
    "sageMaker on Cluster": (
        changed(endpoint(**SAGEMAKER), {"spec.backend": "Cluster"}),
        ["spec.sageMaker", "backend: SageMaker only"],
    ),
    "cluster on SageMaker": (
        changed(endpoint(**SAGEMAKER), {"spec.cluster": {}}),
        ["spec.cluster", "backend: Cluster only"],
    ),
    "volume": (
        changed(endpoint(**SAGEMAKER), {"spec.sageMaker.volumeSizeGiB": 513}),
        ["spec.sageMaker.volumeSizeGiB", "512"],
    ),
    "unknown field": (mep({"spec.replica": 2}), ["unknown field", "spec.replica"]),
}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_endpoint_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes."""
    kube.create(manifest, dryRun="All")


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_endpoint_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    with pytest.raises(RefusedError) as refusal:
        kube.create(manifest, dryRun="All")
    assert refusal.value.status in (400, 422)
    for word in words:
        assert word in refusal.value.message


def test_endpoint_defaults_must_be_filled_in(kube: Kube):
    """Whoever reads an object sees what holds, not what was left out."""
    manifest = changed(scaled(), {"spec.cluster": {}})
    spec = kube.create(manifest, dryRun="All")["spec"]
    assert (spec["backend"], spec["replicas"], spec["model"]["startupTimeout"]) == ("Cluster", 1, "10m")
    policy = spec["scaling"]
    assert (policy["minReplicas"], policy["scaleOutCooldown"], policy["scaleInCooldown"]) == (1, "0s", "5m")
    assert spec["cluster"]["service"] == {"type": "ClusterIP", "port": 80}
    assert spec["cluster"]["storageSecretName"] == "sagebrush-storage"
