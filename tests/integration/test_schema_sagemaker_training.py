"""The TrainingJob of backend SageMaker in the real API server: each constraint takes what it should, and refuses the rest."""

import pytest

from sagebrush.api.training_inputs import BuiltInAlgorithm
from tests.integration.constraints import ROLE, Cases, check_accepted, check_refused, environment
from tests.integration.kube import Kube
from tests.integration.manifests import changed, training_job

pytestmark = pytest.mark.usefixtures("crds")

SAGEMAKER = {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"}
JOB = training_job(backend="SageMaker", sageMaker=SAGEMAKER)
NAME = "^([a-zA-Z0-9](-*[a-zA-Z0-9]){0,62})$"
S3 = "^s3://[^/ ]+/?[^ ]*$"
MANIFEST_FILE = {"spec.channels.0.dataType": "AugmentedManifestFile"}
NAMES = "spec.channels.0.attributeNames"


def own_fields() -> Cases:
    """spec.sageMaker."""
    table = Cases(JOB)
    table.needed("spec.sageMaker.instanceType")
    table.pattern("spec.sageMaker.name", NAME, good=["Job-1", "1"], bad=["a_b", "a.b", "-a", "a-", "a b"])
    table.length("spec.sageMaker.name", 1, 63)
    table.number("spec.sageMaker.volumeSizeGiB", 1, None)
    table.take("a huge volume, which is AWS' to refuse", {"spec.sageMaker.volumeSizeGiB": 16384})
    for key in ("volumeKmsKeyId", "outputKmsKeyId"):
        table.pattern(
            f"spec.sageMaker.{key}",
            "^([a-zA-Z0-9:/_-]*)$",
            good=["1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-west-1:123456789012:key/a", "alias/key_1"],
            bad=["my key", "a.b"],
        )
        table.length(f"spec.sageMaker.{key}", None, 2048)
    table.number("spec.sageMaker.maximumRetryAttempts", 1, 30)
    table.take("encrypted traffic", {"spec.sageMaker.encryptInterContainerTraffic": True})
    table.refuse(
        "encryption as text",
        {"spec.sageMaker.encryptInterContainerTraffic": "yes"},
        "spec.sageMaker.encryptInterContainerTraffic in body must be of type boolean",
    )
    spot_and_checkpoint(table)
    table.known("spec.sageMaker.spot", "spec.sageMaker.checkpoint")
    return table


def spot_and_checkpoint(table: Cases) -> None:
    """Spot waits at least as long as the job may run; checkpoints are in S3."""
    wait = "spec.sageMaker.spot.maxWait"
    for runtime, most in (("1h", "1h"), ("1h", "61m"), ("90m", "1h30m"), ("5s", "24h"), ("672h", "672h")):
        table.take(f"{runtime} of training, {most} in all", {"spec.maxRuntime": runtime, wait: most})
    for runtime, most in (("2h", "1h"), ("1h", "59m59s"), ("672h", "671h")):
        table.refuse(
            f"{runtime} of training, {most} in all",
            {"spec.maxRuntime": runtime, wait: most},
            "spec.sageMaker.spot.maxWait must not be below spec.maxRuntime: it counts waiting and training together",
        )
    table.refuse("less than the default runtime", {wait: "23h"}, "must not be below spec.maxRuntime")
    table.refuse("an empty spot", {"spec.sageMaker.spot": {}}, f"{wait}: Required value")
    short = Cases(changed(JOB, {"spec.maxRuntime": "1s"}))
    short.duration(wait)
    table.include(short)
    keep = "spec.sageMaker.checkpoint"
    table.take("checkpoints", {f"{keep}.uri": "s3://bucket/checkpoints/job"})
    table.take("checkpoints elsewhere", {keep: {"uri": "s3://bucket", "localPath": "/opt/ml/work"}})
    table.refuse("no checkpoint uri", {keep: {"localPath": "/x"}}, f"{keep}.uri: Required value")
    table.pattern(
        f"{keep}.uri", S3, good=["s3://b/ü/ä"], bad=["pvc://claim/x", "https://b/x", "s3://", "s3:///x", "s3://b/a b"]
    )
    table.length(f"{keep}.uri", None, 1024, start="s3://")
    table.take("path of 4096", {keep: {"uri": "s3://bucket", "localPath": "/" + "a" * 4095}})
    table.refuse(
        "path of 4097",
        {keep: {"uri": "s3://bucket", "localPath": "/" + "a" * 4096}},
        f"{keep}.localPath: Too long",
        "4096",
    )


def inputs() -> Cases:
    """Algorithm, channels and output, as far as they are SageMaker's own."""
    table = Cases(JOB)
    table.choice("spec.algorithm.name", *(algorithm.value for algorithm in BuiltInAlgorithm))
    table.length("spec.algorithm.version", 1, 32)
    table.refuse(
        "version of an image",
        {"spec.algorithm": {"image": "x:1", "version": "1"}},
        "spec.algorithm: Invalid value",
        "version belongs to name (a built-in algorithm): write an image's version in its tag",
    )
    table.choice("spec.channels.0.inputMode", "File", "FastFile", "Pipe")
    table.choice("spec.channels.0.recordWrapper", "None", "RecordIO")
    table.take("S3Prefix", {"spec.channels.0.dataType": "S3Prefix"})
    table.take("ManifestFile", {"spec.channels.0.dataType": "ManifestFile"})
    table.refuse(
        "another dataType",
        {"spec.channels.0.dataType": "Folder"},
        "spec.channels[0].dataType: Unsupported value",
        '"S3Prefix", "ManifestFile", "AugmentedManifestFile"',
    )
    belongs = ("spec.channels[0]: Invalid value", "attributeNames belongs to dataType: AugmentedManifestFile")
    table.take("attributes", {**MANIFEST_FILE, NAMES: ["source-ref", "class", "class"]})
    table.refuse("no attributes", MANIFEST_FILE, *belongs)
    table.refuse("attributes of a prefix", {NAMES: ["a"]}, *belongs)
    table.refuse("attributes of a manifest", {NAMES: ["a"], "spec.channels.0.dataType": "ManifestFile"}, *belongs)
    augmented = Cases(changed(JOB, MANIFEST_FILE))
    augmented.items(NAMES, 1, 16, entries=[f"a{number}" for number in range(17)])
    table.include(augmented)
    for length, words in ((0, "should be at least 1 chars long"), (257, "Too long")):
        table.refuse(f"attribute of {length}", {**MANIFEST_FILE, NAMES: ["a" * length]}, "attributeNames[0]", words)
    table.take("attribute of 256", {**MANIFEST_FILE, NAMES: ["a" * 256]})
    table.refuse(
        "attribute of a newline", {**MANIFEST_FILE, NAMES: ["\n"]}, "attributeNames[0] in body should match '^(.+)$'"
    )
    for uri in ("pvc://claim/path", "https://host/file.csv", "http://host/file.csv"):
        table.refuse(
            f"channel at {uri}",
            {"spec.channels.0.uri": uri},
            "spec.channels[].uri: backend SageMaker honours s3:// only",
        )
    one_of_two = [{"name": "train", "uri": "s3://b/t"}, {"name": "more", "uri": "pvc://claim/path"}]
    table.refuse("second channel at a claim", {"spec.channels": one_of_two}, "spec.channels[].uri: backend SageMaker")
    table.refuse(
        "output at a claim", {"spec.output.uri": "pvc://claim/x"}, "spec.output.uri: backend SageMaker honours"
    )
    table.take(
        "the default said", {"spec.output.uploadTimeout": "10m", "spec.algorithm.imagePullPolicy": "IfNotPresent"}
    )
    table.refuse(
        "upload timeout",
        {"spec.output.uploadTimeout": "20m"},
        "spec.output.uploadTimeout is honoured by backend: Cluster only",
    )
    for policy in ("Always", "Never"):
        table.refuse(
            f"pull policy {policy}",
            {"spec.algorithm.imagePullPolicy": policy},
            "spec.algorithm.imagePullPolicy is honoured by backend: Cluster only",
        )
    return table


def on_the_cluster() -> Cases:
    """What SageMaker has and the cluster has not."""
    table = Cases(training_job())
    for algorithm in BuiltInAlgorithm:
        change = {"spec.algorithm.name": algorithm.value}
        table.take(algorithm.value, change)
    table.refuse(
        "an algorithm of SageMaker's that we don't have", {"spec.algorithm.name": "blazingtext"}, "spec.algorithm.name"
    )
    table.refuse(
        "version", {"spec.algorithm.version": "1"}, "spec.algorithm.version is honoured by backend: SageMaker only"
    )
    table.refuse(
        "augmented manifest",
        {**MANIFEST_FILE, NAMES: ["a"]},
        "spec.channels[].dataType: backend Cluster honours S3Prefix only",
    )
    return table


def common() -> Cases:
    """Fields of both backends whose limits are SageMaker's."""
    table = Cases(JOB)
    image = Cases(changed(JOB, {"spec.algorithm": {"image": "x"}}))
    image.length("spec.algorithm.image", 1, 512)
    for field, most in (("entrypoint", 32), ("arguments", 100)):
        image.items(f"spec.algorithm.{field}", None, most, entries=["a"] * (most + 1))
        words = (f"spec.algorithm.{field}[0]: Too long", "1024")
        image.refuse(f"long {field}", {f"spec.algorithm.{field}": ["a" * 1025]}, *words)
    table.include(image)
    path = "spec.algorithm.metricDefinitions"
    metrics = Cases(changed(JOB, {path: [{"name": "validation:auc", "regex": "auc=(.*)"}]}))
    metrics.take("a metric", {})
    metrics.items(path, None, 40, entries=[{"name": f"m{number}", "regex": "(.)"} for number in range(41)])
    metrics.unique(path, {"name": "a", "regex": "(.)"})
    metrics.needed(f"{path}.0.name", f"{path}.0.regex")
    metrics.length(f"{path}.0.name", 1, 255)
    metrics.length(f"{path}.0.regex", 1, 500)
    metrics.known(f"{path}.0")
    table.include(metrics)
    table.length("spec.channels.0.name", 1, 64)
    table.length("spec.channels.0.uri", None, 1024, start="s3://")
    table.length("spec.channels.0.contentType", None, 256)
    table.length("spec.output.uri", None, 1024, start="s3://")
    table.duration("spec.maxRuntime")
    local = Cases(training_job())
    local.duration("spec.output.uploadTimeout")
    table.include(local)
    environment(table, "spec.environment")
    table.known("spec.algorithm", "spec.channels.0", "spec.output")
    return table


TABLES = (own_fields(), inputs(), common(), on_the_cluster())
ACCEPTED = {name: manifest for table in TABLES for name, manifest in table.accepted.items()}
REFUSED = {name: found for table in TABLES for name, found in table.refused.items()}


def test_cases_must_have_names_of_their_own():
    """No case hides another."""
    assert sum(len(table.accepted) for table in TABLES) == len(ACCEPTED)
    assert sum(len(table.refused) for table in TABLES) == len(REFUSED)


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_sagemaker_training_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes and the operator reads."""
    check_accepted(kube, manifest)


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_sagemaker_training_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    check_refused(kube, manifest, words)


def test_sagemaker_training_defaults_must_be_filled_in(kube: Kube):
    """Whoever reads an object sees what holds, not what was left out; what is AWS' to choose stays unset."""
    changes = {"spec.sageMaker.checkpoint": {"uri": "s3://bucket/x"}}
    spec = kube.create(changed(JOB, changes), dryRun="All")["spec"]
    assert spec["sageMaker"] == {
        **SAGEMAKER,
        "checkpoint": {"uri": "s3://bucket/x", "localPath": "/opt/ml/checkpoints"},
        "deletionPolicy": "Delete",
        "enableNetworkIsolation": False,
        "encryptInterContainerTraffic": False,
        "volumeSizeGiB": 30,
    }
    assert not {"version", "image"} & spec["algorithm"].keys()
    assert "attributeNames" not in spec["channels"][0]
