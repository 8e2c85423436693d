"""The TrainingJob's schema in the real API server: each constraint takes what it should, and refuses the rest by name."""

import pytest

from sagebrush.api.meta import DURATION_PATTERN, URI_PATTERN
from tests.integration.kube import Kube, RefusedError
from tests.integration.manifests import GONE, changed, training_job

pytestmark = pytest.mark.usefixtures("crds")

CHANNEL = {"name": "train", "uri": "s3://bucket/train"}
ROLE = "arn:aws:iam::123456789012:role/sagebrush"
SAGEMAKER = {"backend": "SageMaker", "sageMaker": {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"}}


def on_sagemaker(changes: dict | None = None) -> dict:
    """A TrainingJob of backend SageMaker."""
    return changed(training_job(**SAGEMAKER), changes or {})


def job(changes: dict) -> dict:
    """A TrainingJob of backend Cluster."""
    return changed(training_job(), changes)


ACCEPTED = {
    "the smallest": training_job(),
    "backend SageMaker": on_sagemaker(),
    "name of 63": job({"metadata.name": "a" * 63}),
    "name with a digit first": job({"metadata.name": "1-job"}),
    "image": job({"spec.algorithm": {"image": "registry/team/image:1@sha256:" + "0" * 64}}),
    "entrypoint and arguments": job(
        {"spec.algorithm": {"image": "x", "entrypoint": ["/bin/sh"], "arguments": ["-c", "exit 0"]}}
    ),
    "pull policy": job({"spec.algorithm": {"image": "x", "imagePullPolicy": "Never"}}),
    "metric definitions": job({"spec.algorithm.metricDefinitions": [{"name": "a", "regex": "(.*)"}]}),
    "no channels": job({"spec.channels": GONE}),
    "twenty channels": job({"spec.channels": [{**CHANNEL, "name": f"c{n}"} for n in range(20)]}),
    "channel name": job({"spec.channels.0.name": "Train_1.a-b"}),
    "channel on a claim": job({"spec.channels.0.uri": "pvc://claim/path"}),
    "channel by https": job({"spec.channels.0.uri": "https://host/file.csv"}),
    "channel by http": job({"spec.channels.0.uri": "http://host/file.csv"}),
    "content type": job({"spec.channels.0.contentType": "text/csv"}),
    "Gzip": job({"spec.channels.0.compression": "Gzip"}),
    "sharded": job({"spec.channels.0.distribution": "ShardedByS3Key"}),
    "FastFile on SageMaker": on_sagemaker({"spec.channels.0.inputMode": "FastFile"}),
    "ManifestFile on SageMaker": on_sagemaker({"spec.channels.0.dataType": "ManifestFile"}),
    "RecordIO on SageMaker": on_sagemaker({"spec.channels.0.recordWrapper": "RecordIO"}),
    "output on a claim": job({"spec.output.uri": "pvc://claim/models"}),
    "upload timeout": job({"spec.output.uploadTimeout": "90s"}),
    "hundred instances": job({"spec.instanceCount": 100}),
    "long runtime": job({"spec.maxRuntime": "672h"}),
    "composed runtime": job({"spec.maxRuntime": "1h30m5s"}),
    "environment": job({"spec.environment": [{"name": "A_b.c-1", "value": "x"}, {"name": "B"}]}),
    "hyperparameters": job({"spec.hyperParameters": {"epochs": "15", "x": ""}}),
    "quantities": job(
        {"spec.cluster.resources": {"requests": {"cpu": "500m", "memory": "1.5Gi"}, "limits": {"nvidia.com/gpu": "1"}}}
    ),
    "placement": job(
        {
            "spec.cluster": {
                "nodeSelector": {"pool": "gpu"},
                "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
                "serviceAccountName": "trainer",
                "imagePullSecrets": [{"name": "registry"}],
                "storageSecretName": "s3.credentials",
            }
        }
    ),
    "spot": on_sagemaker(
        {
            "spec.maxRuntime": "1h",
            "spec.sageMaker.spot": {"maxWait": "2h"},
            "spec.sageMaker.checkpoint": {"uri": "s3://bucket/checkpoints"},
        }
    ),
    "vpc": on_sagemaker({"spec.sageMaker.vpc": {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}}),
    "suspended": job({"spec.suspend": True}),
}


REFUSED = {
    "name of 64": (job({"metadata.name": "a" * 64}), ["metadata.name", "at most 63"]),
    "several instances of a name with a digit first": (
        job({"metadata.name": "1-job", "spec.instanceCount": 2}),
        ["metadata.name", "starts with a letter"],
    ),
    "name with a dot": (job({"metadata.name": "a.b"}), ["metadata.name", "letters, digits and hyphens"]),
    "name in capitals": (job({"metadata.name": "Job"}), ["metadata.name", "RFC 1123"]),
    "no algorithm": (job({"spec.algorithm": GONE}), ["spec.algorithm", "Required"]),
    "no output": (job({"spec.output": GONE}), ["spec.output", "Required"]),
    "no output uri": (job({"spec.output": {}}), ["spec.output.uri", "Required"]),
    "no spec": ({k: v for k, v in training_job().items() if k != "spec"}, ["spec", "Required"]),
    "name and image": (job({"spec.algorithm.image": "x"}), ["spec.algorithm", "exactly one of name", "image"]),
    "neither name nor image": (job({"spec.algorithm": {}}), ["spec.algorithm", "exactly one of name", "image"]),
    "another algorithm": (job({"spec.algorithm.name": "xyz"}), ["spec.algorithm.name", '"linear-learner"']),
    "empty image": (job({"spec.algorithm": {"image": ""}}), ["spec.algorithm.image", "at least 1"]),
    "pull policy": (
        job({"spec.algorithm.imagePullPolicy": "Sometimes"}),
        ["spec.algorithm.imagePullPolicy", '"Always", "IfNotPresent", "Never"'],
    ),
    "metric twice": (
        job({"spec.algorithm.metricDefinitions": [{"name": "a", "regex": "(.)"}] * 2}),
        ["spec.algorithm.metricDefinitions[1]", "Duplicate"],
    ),
    "empty pattern": (
        job({"spec.algorithm.metricDefinitions": [{"name": "a", "regex": ""}]}),
        ["spec.algorithm.metricDefinitions[0].regex", "at least 1"],
    ),
    "backend": (job({"spec.backend": "Azure"}), ["spec.backend", '"Cluster", "SageMaker"']),
    "channel twice": (job({"spec.channels": [CHANNEL, CHANNEL]}), ["spec.channels[1]", "Duplicate"]),
    "channel name": (job({"spec.channels.0.name": "a b"}), ["spec.channels[0].name", "[A-Za-z0-9.\\-_]+"]),
    "channel without name": (job({"spec.channels.0.name": GONE}), ["spec.channels[0].name", "Required"]),
    "channel name of 65": (job({"spec.channels.0.name": "a" * 65}), ["spec.channels[0].name", "64"]),
    "channel without uri": (job({"spec.channels.0.uri": GONE}), ["spec.channels[0].uri", "Required"]),
    "channel by ftp": (job({"spec.channels.0.uri": "ftp://x/y"}), ["spec.channels[0].uri", URI_PATTERN]),
    "channel with a space": (job({"spec.channels.0.uri": "s3://x/a b"}), ["spec.channels[0].uri", URI_PATTERN]),
    "21 channels": (
        job({"spec.channels": [{**CHANNEL, "name": f"c{n}"} for n in range(21)]}),
        ["spec.channels", "at most 20"],
    ),
    "compression": (job({"spec.channels.0.compression": "Zip"}), ["spec.channels[0].compression", '"None", "Gzip"']),
    "distribution": (
        job({"spec.channels.0.distribution": "Random"}),
        ["spec.channels[0].distribution", '"FullyReplicated", "ShardedByS3Key"'],
    ),
    "inputMode": (
        job({"spec.channels.0.inputMode": "Magic"}),
        ["spec.channels[0].inputMode", '"File", "FastFile", "Pipe"'],
    ),
    "Pipe on Cluster": (job({"spec.channels.0.inputMode": "Pipe"}), ["spec.channels[].inputMode", "honours File only"]),
    "FastFile on Cluster": (
        job({"spec.channels.0.inputMode": "FastFile"}),
        ["spec.channels[].inputMode", "honours File only"],
    ),
    "ManifestFile on Cluster": (
        job({"spec.channels.0.dataType": "ManifestFile"}),
        ["spec.channels[].dataType", "honours S3Prefix only"],
    ),
    "RecordIO on Cluster": (
        job({"spec.channels.0.recordWrapper": "RecordIO"}),
        ["spec.channels[].recordWrapper", "honours None only"],
    ),
    "sageMaker on Cluster": (
        on_sagemaker({"spec.backend": "Cluster"}),
        ["spec.sageMaker", "backend: SageMaker only"],
    ),
    "cluster on SageMaker": (on_sagemaker({"spec.cluster": {}}), ["spec.cluster", "backend: Cluster only"]),
    "output by https": (job({"spec.output.uri": "https://x/y"}), ["spec.output.uri", "^(s3|pvc)://[^ ]+$"]),
    "upload timeout": (job({"spec.output.uploadTimeout": "10"}), ["spec.output.uploadTimeout", DURATION_PATTERN]),
    "no runtime": (job({"spec.maxRuntime": ""}), ["spec.maxRuntime"]),
    "runtime in days": (job({"spec.maxRuntime": "2d"}), ["spec.maxRuntime", DURATION_PATTERN]),
    "runtime in disorder": (job({"spec.maxRuntime": "5s1h"}), ["spec.maxRuntime", DURATION_PATTERN]),
    "no instance": (job({"spec.instanceCount": 0}), ["spec.instanceCount", "greater than or equal to 1"]),
    "101 instances": (job({"spec.instanceCount": 101}), ["spec.instanceCount", "less than or equal to 100"]),
    "instances as text": (job({"spec.instanceCount": "2"}), ["spec.instanceCount", "integer"]),
    "hyperparameter as number": (
        job({"spec.hyperParameters": {"epochs": 15}}),
        ["spec.hyperParameters.epochs", "string"],
    ),
    "long hyperparameter": (job({"spec.hyperParameters": {"a": "x" * 2501}}), ["spec.hyperParameters.a", "2500"]),
    "101 hyperparameters": (
        job({"spec.hyperParameters": {f"h{n}": "1" for n in range(101)}}),
        ["spec.hyperParameters", "100"],
    ),
    "variable twice": (job({"spec.environment": [{"name": "A"}] * 2}), ["spec.environment[1]", "Duplicate"]),
    "variable name": (job({"spec.environment": [{"name": "1A"}]}), ["spec.environment[0].name", "[A-Za-z_]"]),
    "quantity": (
        job({"spec.cluster.resources": {"limits": {"memory": "lots"}}}),
        ["spec.cluster.resources.limits.memory", "(m|k|M|G|T|Ki|Mi|Gi|Ti)"],
    ),
    "quantity as number": (
        job({"spec.cluster.resources": {"limits": {"cpu": 1}}}),
        ["spec.cluster.resources.limits.cpu", "string"],
    ),
    "toleration operator": (
        job({"spec.cluster.tolerations": [{"operator": "Near"}]}),
        ["spec.cluster.tolerations[0].operator", '"Exists", "Equal"'],
    ),
    "toleration effect": (
        job({"spec.cluster.tolerations": [{"effect": "Never"}]}),
        ["spec.cluster.tolerations[0].effect", '"NoSchedule", "PreferNoSchedule", "NoExecute"'],
    ),
    "service account name": (
        job({"spec.cluster.serviceAccountName": "A b"}),
        ["spec.cluster.serviceAccountName", "[-a-z0-9.]*"],
    ),
    "pull secret twice": (
        job({"spec.cluster.imagePullSecrets": [{"name": "a"}] * 2}),
        ["spec.cluster.imagePullSecrets[1]", "Duplicate"],
    ),
    "service on a job": (job({"spec.cluster.service": {}}), ["unknown field", "spec.cluster.service"]),
    "unknown field": (job({"spec.algorithm.nmae": "x"}), ["unknown field", "spec.algorithm.nmae"]),
    "role": (on_sagemaker({"spec.sageMaker.roleArn": "admin"}), ["spec.sageMaker.roleArn"]),
    "no role": (on_sagemaker({"spec.sageMaker.roleArn": GONE}), ["spec.sageMaker.roleArn", "Required"]),
    "no instance type": (
        on_sagemaker({"spec.sageMaker.instanceType": GONE}),
        ["spec.sageMaker.instanceType", "Required"],
    ),
    "checkpoints on a claim": (
        on_sagemaker({"spec.sageMaker.checkpoint": {"uri": "pvc://x/y"}}),
        ["spec.sageMaker.checkpoint.uri", "^s3://"],
    ),
    "31 attempts": (
        on_sagemaker({"spec.sageMaker.maximumRetryAttempts": 31}),
        ["spec.sageMaker.maximumRetryAttempts", "30"],
    ),
    "no subnets": (
        on_sagemaker({"spec.sageMaker.vpc": {"subnets": [], "securityGroupIds": ["sg-1"]}}),
        ["spec.sageMaker.vpc.subnets", "at least 1"],
    ),
}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_training_job_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes."""
    kube.create(manifest, dryRun="All")


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_training_job_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    with pytest.raises(RefusedError) as refusal:
        kube.create(manifest, dryRun="All")
    assert refusal.value.status in (400, 422)
    for word in words:
        assert word in refusal.value.message


def test_training_job_defaults_must_be_filled_in(kube: Kube):
    """Whoever reads an object sees what holds, not what was left out."""
    spec = kube.create(training_job(), dryRun="All")["spec"]
    assert (spec["backend"], spec["suspend"], spec["instanceCount"], spec["maxRuntime"]) == ("Cluster", False, 1, "24h")
    assert spec["output"]["uploadTimeout"] == "10m"
    assert spec["algorithm"]["imagePullPolicy"] == "IfNotPresent"
    channel = {"dataType": "S3Prefix", "compression": "None", "recordWrapper": "None", "inputMode": "File"}
    assert spec["channels"][0] == CHANNEL | channel | {"distribution": "FullyReplicated"}
    assert "cluster" not in spec


CHANGES = {
    "algorithm": {"spec.algorithm": {"image": "other"}},
    "hyperParameters": {"spec.hyperParameters": {"epochs": "2"}},
    "channels": {"spec.channels.0.uri": "s3://bucket/other"},
    "output": {"spec.output.uri": "s3://bucket/elsewhere"},
    "instanceCount": {"spec.instanceCount": 2},
    "maxRuntime": {"spec.maxRuntime": "2h"},
    "environment": {"spec.environment": [{"name": "A", "value": "b"}]},
    "cluster": {"spec.cluster": {"nodeSelector": {"a": "b"}}},
}


@pytest.mark.parametrize("field", CHANGES)
def test_started_job_must_not_change(kube: Kube, namespace: str, field: str):
    """Before the start all but the backend may change; once status.startTime is set, none does, and the message says which."""
    kube.apply(training_job("fresh", namespace))
    kube.apply(training_job("begun", namespace))
    kube.patch(
        "TrainingJob", namespace, "begun", {"status": {"startTime": "2026-01-01T00:00:00Z"}}, subresource="status"
    )
    fresh, begun = (changed(training_job(name, namespace), CHANGES[field]) for name in ("fresh", "begun"))
    kube.apply(fresh)
    with pytest.raises(RefusedError, match=f"spec.{field} can't change once the job has started; create another"):
        kube.apply(begun)


def test_started_job_must_take_suspend(kube: Kube, namespace: str):
    """Suspending and resuming is the one change that a started job takes."""
    kube.apply(training_job("job", namespace))
    kube.patch("TrainingJob", namespace, "job", {"status": {"startTime": "2026-01-01T00:00:00Z"}}, subresource="status")
    for suspend in (True, False):
        kube.apply(training_job("job", namespace, suspend=suspend))
        assert kube.get("TrainingJob", namespace, "job")["spec"]["suspend"] is suspend
