"""What can't change on backend SageMaker, and what is told of it, in the real API server."""

import pytest

from sagebrush.api.sagemaker_training import SageMakerTraining
from tests.integration.constraints import ROLE
from tests.integration.kube import Kube, RefusedError
from tests.integration.manifests import Manifest, changed, endpoint, training_job

pytestmark = pytest.mark.usefixtures("crds")

SAGE = "spec.sageMaker"
SAGEMAKER = {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"}
JOB = training_job(backend="SageMaker", sageMaker=SAGEMAKER)
MODEL = {"artifact": {"uri": "s3://bucket/model.tar.gz"}}
ONE = endpoint(backend="SageMaker", model=MODEL, sageMaker=SAGEMAKER)
STARTED = {"status": {"startTime": "2026-01-01T00:00:00Z"}}


CHANGES = {
    "algorithm": {"spec.algorithm.version": "1"},
    "hyperParameters": {"spec.hyperParameters": {"epochs": "2"}},
    "channels": {"spec.channels.0.inputMode": "FastFile"},
    "output": {"spec.output.uri": "s3://bucket/elsewhere"},
    "instanceCount": {"spec.instanceCount": 2},
    "maxRuntime": {"spec.maxRuntime": "2h"},
    "environment": {"spec.environment": [{"name": "A", "value": "b"}]},
    "sageMaker": {"spec.sageMaker.instanceType": "ml.m5.large"},
}
IN_SAGEMAKER = {
    "roleArn": f"{ROLE}-2",
    "tags": {"team": "a"},
    "spot": {"maxWait": "48h"},
    "checkpoint": {"uri": "s3://bucket/x"},
    "enableNetworkIsolation": True,
    "vpc": {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
    "volumeSizeGiB": 31,
    "volumeKmsKeyId": "key",
    "outputKmsKeyId": "key",
    "encryptInterContainerTraffic": True,
    "maximumRetryAttempts": 2,
}
PLACE = {"name", "region", "assumeRoleArn"}
"""Never to be changed: test_place_must_not_change."""


def job(name: str, namespace: str) -> Manifest:
    """The job under a name."""
    return changed(JOB, {"metadata.name": name, "metadata.namespace": namespace})


def cases_of_change() -> list[tuple[str, dict]]:
    """The field that the message names, and a change of it."""
    return list(CHANGES.items()) + [
        ("sageMaker", {f"spec.sageMaker.{field}": value}) for field, value in IN_SAGEMAKER.items()
    ]


@pytest.mark.parametrize(("field", "changes"), cases_of_change(), ids=[*CHANGES, *IN_SAGEMAKER])
def test_started_sagemaker_job_must_not_change(kube: Kube, namespace: str, field: str, changes: dict):
    """Before the start all but the place may change; once status.startTime is set, none does, and the message says which."""
    kube.apply(job("fresh", namespace))
    kube.apply(job("begun", namespace))
    kube.patch("TrainingJob", namespace, "begun", STARTED, subresource="status")
    kube.apply(changed(job("fresh", namespace), changes))
    with pytest.raises(RefusedError, match=f"spec.{field} can't change once the job has started; create another"):
        kube.apply(changed(job("begun", namespace), changes))


def test_changes_of_a_started_job_must_be_tried_for_each_field():
    """The table above has every field of spec.sageMaker but the one that may change, and those that never may."""
    fields = {str(info.alias) for info in SageMakerTraining.model_fields.values()}
    assert fields == IN_SAGEMAKER.keys() | PLACE | {"instanceType", "deletionPolicy"}


@pytest.mark.parametrize("how", ["set", "unset", "whole"])
def test_started_sagemaker_job_must_take_another_deletion_policy(kube: Kube, namespace: str, how: str):
    """What becomes of a job in AWS is decided until it is deleted: set, taken back, and beside all that stays as it was."""
    full = {**SAGEMAKER, **{field: value for field, value in IN_SAGEMAKER.items() if field != "maximumRetryAttempts"}}
    before = changed(job("job", namespace), {SAGE: full if how == "whole" else SAGEMAKER})
    kept = changed(before, {f"{SAGE}.deletionPolicy": "Retain"})
    kube.apply(kept if how == "unset" else before)
    kube.patch("TrainingJob", namespace, "job", STARTED, subresource="status")
    kube.apply(before if how == "unset" else kept)
    wanted = "Delete" if how == "unset" else "Retain"
    assert kube.get("TrainingJob", namespace, "job")["spec"]["sageMaker"]["deletionPolicy"] == wanted


def test_started_sagemaker_job_must_take_suspend(kube: Kube, namespace: str):
    """Suspending is the one change that a started job takes, beside its deletionPolicy."""
    kube.apply(job("job", namespace))
    kube.patch("TrainingJob", namespace, "job", STARTED, subresource="status")
    kube.apply(changed(job("job", namespace), {"spec.suspend": True}))
    assert kube.get("TrainingJob", namespace, "job")["spec"]["suspend"] is True


def test_status_must_hold_what_sagemaker_tells(kube: Kube, namespace: str):
    """All that only SageMaker tells is kept as it was written: an artifact without checksum, cost, times, percentages."""
    status = {
        "phase": "Completed",
        "modelArtifact": {"uri": "s3://bucket/job/output/model.tar.gz"},
        "sageMaker": {
            "arn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/job",
            "status": "Completed",
            "secondaryStatus": "SomethingNew",
            "billableSeconds": 60,
            "spotSavingPercent": 70,
            "logUrl": "https://console.aws.amazon.com/cloudwatch",
        },
        "cost": {
            "hourly": 0.23,
            "total": 0.0153,
            "currency": "USD",
            "pricesAsOf": "2026-08-01",
            "billedUntil": "2026-08-02T10:00:00Z",
            "message": "without storage",
        },
    }
    kube.create(job("job", namespace))
    assert kube.patch("TrainingJob", namespace, "job", {"status": status}, subresource="status")["status"] == status
    wrong = {"status": {"failure": {"failureClass": "Nobody", "message": ""}}}
    with pytest.raises(RefusedError, match='"User", "Capacity", "Platform"'):
        kube.patch("TrainingJob", namespace, "job", wrong, subresource="status")


def named(manifest: Manifest, namespace: str) -> Manifest:
    """The endpoint in the test's namespace."""
    return changed(manifest, {"metadata.namespace": namespace})


FIXED = {
    "name": ("one", "two", "it may be in use in SageMaker already"),
    "region": ("eu-west-1", "eu-west-2", "what was made is there"),
    "assumeRoleArn": (ROLE, f"{ROLE}-2", "what was made may be in another account"),
}


@pytest.mark.parametrize("whole", [ONE, JOB], ids=["ModelEndpoint", "TrainingJob"])
@pytest.mark.parametrize("field", FIXED)
def test_place_must_not_change(kube: Kube, namespace: str, field: str, whole: Manifest):
    """What says where it is can neither be set later, nor changed, nor removed; all else can change beside it."""
    one, two, why = FIXED[field]
    kind, name = whole["kind"], whole["metadata"]["name"]
    unset, first, second = (
        named(changed(whole, {} if value is None else {f"{SAGE}.{field}": value}), namespace)
        for value in (None, one, two)
    )
    for before, after in ((unset, first), (first, second), (first, unset)):
        kube.delete(kind, namespace, name)
        kube.create(before)
        with pytest.raises(RefusedError, match=f"{SAGE}: Invalid value: {field} can't change: {why}; create another"):
            kube.apply(after) if after is not unset else kube.patch(
                kind, namespace, name, {"spec": {"sageMaker": {field: None}}}
            )
        kube.apply(changed(before, {f"{SAGE}.roleArn": f"{ROLE}-3", f"{SAGE}.deletionPolicy": "Retain"}))


@pytest.mark.parametrize(
    ("in_cluster", "in_sagemaker"),
    [(endpoint(model=MODEL), ONE), (training_job(), JOB)],
    ids=["ModelEndpoint", "TrainingJob"],
)
def test_backend_must_not_change(kube: Kube, namespace: str, in_cluster: Manifest, in_sagemaker: Manifest):
    """Whatever runs somewhere would be left behind there."""
    kind, name = in_cluster["kind"], in_cluster["metadata"]["name"]
    both = {"Cluster": named(in_cluster, namespace), "SageMaker": named(in_sagemaker, namespace)}
    patches = {
        "Cluster": {"spec": {"backend": "SageMaker", "sageMaker": ONE["spec"]["sageMaker"]}},
        "SageMaker": {"spec": {"backend": "Cluster", "sageMaker": None}},
    }
    for backend, manifest in both.items():
        kube.create(manifest)
        with pytest.raises(RefusedError, match=rf"spec\.backend can't change; create another {kind}"):
            kube.patch(kind, namespace, name, patches[backend])
        kube.delete(kind, namespace, name)


def test_scale_to_zero_must_be_refused_on_sagemaker(kube: Kube, namespace: str):
    """`kubectl scale` is held to the same rules."""
    kube.create(named(ONE, namespace))
    path = f"/apis/sagebrush.dev/v1alpha1/namespaces/{namespace}/modelendpoints/endpoint/scale"
    merge_patch = {"content_type": "application/merge-patch+json"}
    with pytest.raises(RefusedError, match="a SageMaker endpoint has at least one instance"):
        kube.call("PATCH", path, {"spec": {"replicas": 0}}, **merge_patch)
    assert kube.call("PATCH", path, {"spec": {"replicas": 2}}, **merge_patch)["spec"] == {"replicas": 2}


REVISION = {
    "revision": "0a1b2c3d4e",
    "endpointConfig": "ns-x-0a1b2c3d4e",
    "models": ["ns-x-5f6a7b8c9d"],
    "variants": ["AllTraffic"],
    "images": ["registry/serve:1"],
    "artifacts": ["s3://bucket/model.tar.gz"],
    "created": "2026-08-02T10:00:00Z",
    "collectAfter": "2026-08-02T11:00:00Z",
}
POLICY = {"desiredReplicas": 3, "targetRequestsPerMinute": 15000, "reason": "AboveTarget", "message": "because"}
VARIANT = {
    "name": "AllTraffic",
    "instanceType": "ml.m5.xlarge",
    "currentInstances": 2,
    "desiredInstances": 3,
    "currentWeight": 1,
    "desiredWeight": 0.5,
    "status": "Baking",
    "scaling": POLICY,
}
TOLD = {
    "endpointName": "ns-x",
    "arn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/ns-x",
    "status": "SystemUpdating",
    "endpointConfig": "ns-x-0a1b2c3d4e",
    "failureReason": "it did not pass its ping",
    "variants": [VARIANT],
    "lastUpdate": {
        "endpointConfig": "ns-x-0a1b2c3d4e",
        "time": "2026-08-02T10:00:00Z",
        "generation": 7,
        "attempts": 2,
        "failure": "rolled back",
    },
    "recreations": 1,
}


def test_endpoint_status_must_hold_what_sagemaker_tells(kube: Kube, namespace: str):
    """All that only SageMaker tells is kept as it was written; variants and revisions are maps, and none stands twice."""
    kube.create(named(ONE, namespace))
    status = {"sageMaker": TOLD, "revisions": [REVISION]}
    found = kube.patch("ModelEndpoint", namespace, "endpoint", {"status": status}, subresource="status")
    assert found["status"] == status
    for field, value in (
        ("status.sageMaker.variants[1]", {"sageMaker": {**TOLD, "variants": [VARIANT, VARIANT]}}),
        ("status.revisions[1]", {"revisions": [REVISION, REVISION]}),
    ):
        with pytest.raises(RefusedError) as refusal:
            kube.patch("ModelEndpoint", namespace, "endpoint", {"status": value}, subresource="status")
        assert f"{field}: Duplicate value" in refusal.value.message
