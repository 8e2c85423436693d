"""The CRDs as kubectl shows them: names, columns, explanations, scale and status."""

from pathlib import Path

import pytest

from devcluster.controlplane import ControlPlane
from devcluster.errors import DevclusterError
from tests.integration.kube import Kube, RefusedError
from tests.integration.manifests import endpoint, scaling, training_job

CRDS = Path(__file__).resolve().parents[2] / "crds"
NOW = "2026-01-01T00:00:00Z"
SAME_AS = {
    ".spec.sageMaker.variants[].model": ".spec.model",
    ".spec.sageMaker.variants[].scaling": ".spec.scaling",
    ".status.sageMaker.variants[].scaling": ".status.scaling",
}
"""What is described at another field, which its own description names."""


def ready(status: str, reason: str) -> dict:
    """A Ready condition."""
    message = "what to do next"
    return {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}


@pytest.fixture
def shown(kube: Kube, namespace: str) -> str:
    """A namespace with one object of each kind whose status is filled in."""
    kube.create(training_job("a-job", namespace))
    kube.create(endpoint("an-endpoint", namespace, scaling=scaling()))
    job = {
        "phase": "Completed",
        "conditions": [ready("True", "Completed")],
        "trainingSeconds": 42,
        "modelArtifact": {"uri": "s3://bucket/a", "sha256": "0" * 64, "sizeBytes": 1},
    }
    kube.patch("TrainingJob", namespace, "a-job", {"status": job}, subresource="status")
    policy = {
        "desiredReplicas": 3,
        "observedRequestsPerMinute": 170.5,
        "targetRequestsPerMinute": 60,
        "reason": "AboveTarget",
        "message": "because",
    }
    status = {"conditions": [ready("False", "RollingOut")], "replicas": 3, "readyReplicas": 2, "scaling": policy}
    kube.patch("ModelEndpoint", namespace, "an-endpoint", {"status": status}, subresource="status")
    return namespace


def columns(text: str) -> dict[str, str]:
    """Column by heading of a table with one line; headings are where they stand."""
    heading, line = text.splitlines()[:2]
    starts = [i for i, c in enumerate(heading) if c != " " and (i == 0 or heading[i - 1] == " ")]
    ends = [*starts[1:], None]
    return {heading[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_training_job_columns_must_tell_phase_and_reason(control_plane: ControlPlane, shown: str):
    """`kubectl get tj` says where a job is and why, in one line; -o wide says where the model lies."""
    short = columns(control_plane.kubectl("get", "tj", "-n", shown))
    assert short.keys() == {"NAME", "PHASE", "REASON", "SECONDS", "AGE"}
    assert (short["NAME"], short["PHASE"], short["REASON"], short["SECONDS"]) == (
        "a-job",
        "Completed",
        "Completed",
        "42",
    )
    wide = columns(control_plane.kubectl("get", "tj", "-n", shown, "-o", "wide"))
    assert (wide["BACKEND"], wide["ARTIFACT"], wide["MESSAGE"]) == ("Cluster", "s3://bucket/a", "what to do next")


def test_endpoint_columns_must_tell_why_it_scaled(control_plane: ControlPlane, shown: str):
    """`kubectl get mep` says whether it serves, with how many replicas, and what decided that."""
    short = columns(control_plane.kubectl("get", "mep", "-n", shown))
    assert (short["READY"], short["REASON"], short["REPLICAS"], short["SERVING"]) == ("False", "RollingOut", "3", "2")
    assert (short["REQ/MIN"], short["SCALING"]) == ("170.5", "AboveTarget")
    assert columns(control_plane.kubectl("get", "mep", "-n", shown, "-o", "wide"))["WHY"] == "because"


@pytest.mark.parametrize("category", ["sagebrush", "all"])
def test_categories_must_list_both_kinds(control_plane: ControlPlane, shown: str, category: str):
    """`kubectl get sagebrush` (and `all`) shows everything of ours."""
    names = control_plane.kubectl("get", category, "-n", shown, "-o", "name").split()
    assert {"trainingjob.sagebrush.dev/a-job", "modelendpoint.sagebrush.dev/an-endpoint"} <= set(names)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tj.spec.maxRuntime", "Longest time the job may run"),
        ("tj.spec.channels.inputMode", "Cluster honours File"),
        ("mep.spec.scaling", "a fixed number of replicas when unset"),
        ("mep.spec.model.artifact.sha256", "refuse to load anything else"),
        ("mep.status.scaling.message", "The decision in a sentence"),
        ("mep.spec.sageMaker.deployment.blueGreen.terminationWaitSeconds", "the old fleet is kept"),
        ("mep.spec.sageMaker.variants.scaling", "as in spec.scaling"),
        ("mep.spec.scaling.engine", "backend SageMaker only"),
        ("tj.spec.sageMaker.checkpoint", "Where checkpoints are kept; none when unset"),
    ],
)
@pytest.mark.usefixtures("crds")
def test_explain_must_describe_fields(control_plane: ControlPlane, path: str, words: str):
    """`kubectl explain` has the description of every field that a user writes or reads."""
    text = " ".join(control_plane.kubectl("explain", path).split())
    assert words in text


def test_crds_must_describe_every_field():
    """No field is without a description, or is of a type that another field describes; each file stays below 60 KB."""
    import yaml

    def undescribed(schema: dict, path: str) -> list[str]:
        found = []
        for name, child in schema.get("properties", {}).items():
            here = f"{path}.{name}"
            if not child.get("description") and here not in (".apiVersion", ".kind", ".metadata"):
                found.append(here)
            if here in SAME_AS and SAME_AS[here][1:] in child["description"]:
                continue
            found += undescribed(child, here)
        if "items" in schema:
            found += undescribed(schema["items"], f"{path}[]")
        return found

    files = sorted(CRDS.glob("*.yaml"))
    assert len(files) == 2
    for file in files:
        assert file.stat().st_size < 60_000
        definition = yaml.safe_load(file.read_text())
        assert undescribed(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "") == []


def test_scale_must_work_without_a_policy(control_plane: ControlPlane, kube: Kube, namespace: str):
    """`kubectl scale mep/x --replicas=3` sets spec.replicas where no policy owns it."""
    kube.create(endpoint("x", namespace))
    control_plane.kubectl("scale", "mep/x", "--replicas=3", "-n", namespace)
    assert kube.get("ModelEndpoint", namespace, "x")["spec"]["replicas"] == 3


def test_scale_must_be_refused_with_a_policy(control_plane: ControlPlane, kube: Kube, namespace: str):
    """Where a policy owns the number, kubectl scale says so, and says what to change."""
    kube.create(endpoint("x", namespace, scaling=scaling()))
    with pytest.raises(DevclusterError) as refusal:
        control_plane.kubectl("scale", "mep/x", "--replicas=3", "-n", namespace)
    assert "spec.replicas is owned by spec.scaling here: change spec.scaling.minReplicas" in str(refusal.value)
    assert kube.get("ModelEndpoint", namespace, "x")["spec"]["replicas"] == 1


@pytest.mark.parametrize("manifest", [training_job("x"), endpoint("x")], ids=["TrainingJob", "ModelEndpoint"])
def test_status_must_be_separate(kube: Kube, namespace: str, manifest: dict):
    """Users write the spec, the operator the status: neither reaches the other's through its own path."""
    manifest["metadata"]["namespace"] = namespace
    manifest["status"] = {"observedGeneration": 7}
    kind = manifest["kind"]
    assert "status" not in kube.create(manifest)
    patch = {"status": {"observedGeneration": 1}, "spec": {"backend": "SageMaker"}}
    body = kube.patch(kind, namespace, "x", patch, subresource="status")
    assert body["status"] == {"observedGeneration": 1}
    assert (body["spec"]["backend"], body["metadata"]["generation"]) == ("Cluster", 1)
    assert kube.patch(kind, namespace, "x", {"status": None})["status"] == {"observedGeneration": 1}


def test_condition_must_be_unique_by_type(kube: Kube, namespace: str):
    """Conditions are a map by type, as kstatus reads them."""
    kube.create(endpoint("x", namespace))
    twice = {"status": {"conditions": [ready("True", "A"), ready("False", "B")]}}
    with pytest.raises(RefusedError, match="Duplicate"):
        kube.patch("ModelEndpoint", namespace, "x", twice, subresource="status")
