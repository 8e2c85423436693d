"""The ModelEndpoint of backend SageMaker in the real API server: each constraint takes what it should, and refuses the rest."""

import pytest

from tests.integration.constraints import ROLE, Cases, check_accepted, check_refused, shown
from tests.integration.kube import Kube
from tests.integration.manifests import ARTIFACT, GONE, changed, endpoint, scaling

pytestmark = pytest.mark.usefixtures("crds")

SAGE = "spec.sageMaker"
MODEL = {"artifact": {"uri": "s3://bucket/model.tar.gz"}}
OWN = {"container": {"image": "x"}}
NAME = "^([a-zA-Z0-9](-*[a-zA-Z0-9]){0,62})$"
S3 = "^s3://[^/ ]+/?[^ ]*$"
KEY = "^([a-zA-Z0-9:/_-]*)$"
MIME = r"^([a-zA-Z0-9](-*[a-zA-Z0-9])*\/[a-zA-Z0-9](-*[a-zA-Z0-9.])*)$"
TYPE = {"instanceType": "ml.m5.xlarge"}
BLUE_GREEN = {"name": "blue", **TYPE}, {"name": "green", **TYPE, "weight": 0.0, "replicas": 3}
NOT_ONE = "give exactly one of instanceType, serverless and variants"
NOT_ONE_OF_TWO = "give exactly one of instanceType and serverless"
HALF = {"type": "CapacityPercent", "value": 50}

ONE = endpoint(backend="SageMaker", model=MODEL, sageMaker={"roleArn": ROLE, **TYPE})
SERVERLESS = endpoint(backend="SageMaker", model=MODEL, sageMaker={"roleArn": ROLE, "serverless": {}})
SEVERAL = endpoint(backend="SageMaker", model=MODEL, sageMaker={"roleArn": ROLE, "variants": [*BLUE_GREEN]})


def own_fields() -> Cases:
    """spec.sageMaker without what has a table of its own."""
    table = Cases(ONE)
    table.pattern(f"{SAGE}.name", NAME, good=["KDD-1", "1"], bad=["a_b", "a.b", "-a", "a-", "a b"])
    table.length(f"{SAGE}.name", 1, 63)
    table.number(f"{SAGE}.volumeSizeGiB", 1, 512)
    table.pattern(f"{SAGE}.kmsKeyId", KEY, good=["alias/key_1", "arn:aws:kms:eu-west-1:1:key/a"], bad=["my key", "a.b"])
    table.length(f"{SAGE}.kmsKeyId", None, 2048)
    table.duration(f"{SAGE}.modelDownloadTimeout")
    table.pattern(f"{SAGE}.revision", "^[0-9a-f]+$", good=["0a1b2c3d4e"], bad=["latest", "0A", "v1"])
    table.length(f"{SAGE}.revision", None, 16)
    table.number(f"{SAGE}.revisionHistoryLimit", 0, 20)
    table.refuse("no compute", {f"{SAGE}.instanceType": GONE}, f"{SAGE}: Invalid value", NOT_ONE)
    table.refuse("two computes", {f"{SAGE}.serverless": {}}, f"{SAGE}: Invalid value", NOT_ONE)
    table.refuse("type and variants", {f"{SAGE}.variants": [*BLUE_GREEN]}, f"{SAGE}: Invalid value", NOT_ONE)
    table.take("replicas", {"spec.replicas": 5})
    table.take("policy", {"spec.scaling": scaling()})
    table.take("own image", {"spec.model": OWN})
    table.take("trained", {"spec.model": {"trainingJobRef": {"name": "job"}}})
    table.refuse(
        "no replicas", {"spec.replicas": 0}, "spec.replicas: a SageMaker endpoint has at least one instance; delete the"
    )
    for uri in ("pvc://claim/model.tar.gz", "https://host/model.tar.gz", "http://host/model.tar.gz"):
        table.refuse(
            uri, {"spec.model.artifact.uri": uri}, "spec.model.artifact.uri: backend SageMaker honours s3:// only"
        )
    table.refuse(
        "checksum",
        {"spec.model.artifact": ARTIFACT},
        "spec.model.artifact.sha256: SageMaker verifies no checksum; remove it",
    )
    cluster_only = "spec.model.container: metricsPort and imagePullPolicy are honoured by backend: Cluster only"
    for field, value in (("metricsPort", 9000), ("imagePullPolicy", "Always"), ("imagePullPolicy", "Never")):
        table.refuse(f"{field} {value}", {"spec.model": {"container": {"image": "x", field: value}}}, cluster_only)
    table.known(f"{SAGE}.dataCapture", f"{SAGE}.deployment")
    return table


def serverless() -> Cases:
    """A variant without instances."""
    table = Cases(SERVERLESS)
    path = f"{SAGE}.serverless"
    table.take("serverless", {})
    serverless_sizes(table, path)
    words = "spec.scaling and spec.replicas: a serverless endpoint scales by itself"
    table.refuse("serverless and a policy", {"spec.scaling": scaling()}, words)
    table.refuse("serverless and replicas", {"spec.replicas": 2}, words)
    neither = "volumeSizeGiB and modelDownloadTimeout: remove them, a serverless endpoint has neither"
    table.refuse("serverless and a volume", {f"{SAGE}.volumeSizeGiB": 30}, f"{SAGE}: Invalid value", neither)
    table.refuse("serverless and a download", {f"{SAGE}.modelDownloadTimeout": "5m"}, f"{SAGE}: Invalid value", neither)
    no_start = "spec.model.startupTimeout: remove it, nothing with instances serves spec.model"
    table.refuse("serverless and a start", {"spec.model.startupTimeout": "5m"}, no_start)
    table.take("serverless and the default start", {"spec.model.startupTimeout": "10m"})
    table.refuse("serverless and variants", {f"{SAGE}.variants": [*BLUE_GREEN]}, f"{SAGE}: Invalid value", NOT_ONE)
    return table


def serverless_sizes(table: Cases, path: str) -> None:
    """Memory and concurrency."""
    for size in (1024, 2048, 3072, 4096, 5120, 6144):
        table.take(f"{path} of {size} MB", {f"{path}.memorySizeInMb": size})
    said = f"{shown(path)}.memorySizeInMb in body should be"
    for size, words in (
        (0, "greater than or equal to 1024"),
        (7168, "less than or equal to 6144"),
        (1536, "a multiple of 1024"),
    ):
        table.refuse(f"{path} of {size} MB", {f"{path}.memorySizeInMb": size}, f"{said} {words}")
    table.number(f"{path}.maxConcurrency", 1, 200)
    table.number(f"{path}.provisionedConcurrency", 1, 200)
    table.known(path)


def variants() -> Cases:
    """Several variants."""
    table = Cases(SEVERAL)
    path = f"{SAGE}.variants"
    one, first = f"{path}.0", f"{path}[0]: Invalid value"
    table.take("variants", {})
    table.items(path, 1, 10, entries=[{"name": f"v{number}", **TYPE} for number in range(11)])
    table.unique(path, BLUE_GREEN[0])
    table.needed(f"{one}.name")
    table.pattern(f"{one}.name", NAME, good=["V-1", "AllTraffic"], bad=["a_b", "a.b", "-a", "a-"])
    table.length(f"{one}.name", 1, 63)
    table.number(f"{one}.weight", 0, None)
    table.take("weight of a third", {f"{one}.weight": 0.333})
    table.refuse(
        "weight below 0", {f"{one}.weight": -0.1}, f"{path}[0].weight in body should be greater than or equal to 0"
    )
    table.pattern(f"{one}.instanceType", r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$", good=["ml.z99.metal"], bad=["m5.xlarge"])
    table.length(f"{one}.instanceType", None, 63, start="ml.a.")
    table.refuse(
        "short type", {f"{one}.instanceType": "ml."}, f"{path}[0].instanceType in body should be at least 4 chars"
    )
    table.number(f"{one}.replicas", 1, 1000)
    for name, change in (("policy beside", {"spec.scaling": scaling()}), ("replicas beside", {"spec.replicas": 2})):
        words = "spec.scaling and spec.replicas: with spec.sageMaker.variants each variant has its own"
        table.refuse(f"{name} variants", change, words)
    without = {f"{one}.instanceType": GONE}
    table.refuse("variant without compute", without, first, NOT_ONE_OF_TWO)
    table.refuse("variant with two", {f"{one}.serverless": {}}, first, NOT_ONE_OF_TWO)
    bare = {**without, f"{one}.serverless": {"memorySizeInMb": 1024}}
    table.take("serverless variant", bare)
    start = {"spec.model.startupTimeout": "5m"}
    table.take("start of those with instances", {**bare, **start})
    own = {f"{one}.model": MODEL, f"{path}.1": {"name": "b", "serverless": {}}}
    words = "spec.model.startupTimeout: remove it, nothing with instances serves spec.model"
    table.refuse("start of serverless variants only", {**own, **start}, words)
    slow = {f"{one}.model": {**MODEL, "startupTimeout": "5m"}}
    table.take("start of a variant", slow)
    words = "model.startupTimeout: remove it from a serverless variant"
    table.refuse("start of a serverless variant", {**bare, **slow}, first, words)
    table.refuse("serverless variant with a policy", {**bare, f"{one}.scaling": scaling()}, first, "remove scaling")
    table.refuse(
        "serverless variant with replicas", {**bare, f"{one}.replicas": 2}, first, "set serverless.maxConcurrency"
    )
    serverless_variant = Cases(changed(SEVERAL, {f"{path}.0": {"name": "a", "serverless": {}}}))
    serverless_sizes(serverless_variant, f"{one}.serverless")
    table.include(serverless_variant)
    models_of_variants(table, f"{one}.model", first)
    table.known(one)
    return table


def models_of_variants(table: Cases, path: str, first: str) -> None:
    """What holds of spec.model holds of a variant's."""
    table.take("a model of its own", {path: {**MODEL, "environment": [{"name": "A", "value": "b"}]}})
    table.take("an image of its own", {path: OWN})
    table.take("a job of its own", {path: {"trainingJobRef": {"name": "job"}}})
    artifact = "model.artifact: SageMaker takes s3:// only, and verifies no sha256"
    table.refuse("model on a claim", {path: {"artifact": {"uri": "pvc://claim/m.tar.gz"}}}, first, artifact)
    table.refuse("model with a checksum", {path: {"artifact": ARTIFACT}}, first, artifact)
    container = "model.container: metricsPort and imagePullPolicy are honoured by backend: Cluster only"
    for field, value in (("metricsPort", 9000), ("imagePullPolicy", "Always")):
        table.refuse(f"variant's {field}", {path: {"container": {"image": "x", field: value}}}, first, container)


def data_capture() -> Cases:
    """Requests and responses in S3."""
    path = f"{SAGE}.dataCapture"
    table = Cases(changed(ONE, {path: {"samplingPercentage": 10, "destinationUri": "s3://bucket/captured"}}))
    table.take("capture", {})
    table.needed(f"{path}.samplingPercentage", f"{path}.destinationUri")
    table.number(f"{path}.samplingPercentage", 0, 100)
    table.pattern(f"{path}.destinationUri", S3, good=["s3://b"], bad=["https://b/x", "s3://", "s3://b/a b"])
    table.length(f"{path}.destinationUri", None, 512, start="s3://")
    table.pattern(f"{path}.kmsKeyId", KEY, good=["alias/key"], bad=["my key"])
    table.length(f"{path}.kmsKeyId", None, 2048)
    table.choice(f"{path}.capture", "Input", "Output", "InputAndOutput")
    for kind in ("csvContentTypes", "jsonContentTypes"):
        table.items(f"{path}.{kind}", None, 10, entries=[f"text/t{number}" for number in range(11)])
        table.take(f"long {kind}", {f"{path}.{kind}": ["a/" + "b" * 254]})
        said = f"{path}.{kind}[0]"
        table.refuse(f"longer {kind}", {f"{path}.{kind}": ["a/" + "b" * 255]}, f"{said}: Too long", "256")
        table.refuse(f"empty {kind}", {f"{path}.{kind}": [""]}, f"{said} in body should be at least 1 chars long")
        table.refuse(f"shape of {kind}", {f"{path}.{kind}": ["csv"]}, f"{said} in body should match '{MIME}'")
    return table


def deployment() -> Cases:
    """How an update reaches the endpoint."""
    path = f"{SAGE}.deployment"
    table = Cases(ONE)
    both = {"blueGreen": {}, "rolling": {"maximumBatchSize": HALF}}
    for name, value in both.items():
        table.take(name, {path: {name: value}})
    for name, value in (("both", both), ("neither", {})):
        table.refuse(name, {path: value}, f"{path}: Invalid value", "give exactly one of blueGreen and rolling")
    blue, rolling = f"{path}.blueGreen", f"{path}.rolling"
    table.take("all at once", {f"{blue}.traffic": "AllAtOnce"})
    table.take("canary", {blue: {"traffic": "Canary", "canarySize": HALF}})
    table.take("linear", {blue: {"traffic": "Linear", "stepSize": {"type": "InstanceCount", "value": 1}}})
    table.refuse(
        "other traffic",
        {f"{blue}.traffic": "Random"},
        f"{blue}.traffic: Unsupported",
        '"AllAtOnce", "Canary", "Linear"',
    )
    for size, mine, others in (
        ("canarySize", "Canary", ("AllAtOnce", "Linear")),
        ("stepSize", "Linear", ("AllAtOnce", "Canary")),
    ):
        words = f"{size} belongs to traffic: {mine}"
        table.refuse(f"{mine} without size", {blue: {"traffic": mine}}, f"{blue}: Invalid value", words)
        for other in others:
            table.refuse(f"{size} of {other}", {blue: {"traffic": other, size: HALF}}, f"{blue}: Invalid value", words)
    table.known(blue, rolling)
    for field in ("waitIntervalSeconds", "terminationWaitSeconds"):
        table.number(f"{blue}.{field}", 0, 3600)
    sizes = Cases(changed(ONE, {path: {"rolling": {"maximumBatchSize": HALF, "rollbackMaximumBatchSize": HALF}}}))
    sizes.needed(f"{rolling}.maximumBatchSize")
    sizes.number(f"{rolling}.waitIntervalSeconds", 0, 3600)
    sizes.number(f"{path}.maximumExecutionTimeoutSeconds", 600, 28800)
    alarms = f"{path}.autoRollbackAlarms"
    sizes.items(alarms, None, 10, entries=[f"alarm {number}" for number in range(11)])
    sizes.unique(alarms, "errors")
    for field in ("maximumBatchSize", "rollbackMaximumBatchSize"):
        size_of(sizes, f"{rolling}.{field}")
    for field, traffic in (("canarySize", "Canary"), ("stepSize", "Linear")):
        part = Cases(changed(ONE, {blue: {"traffic": traffic, field: HALF}}))
        size_of(part, f"{blue}.{field}")
        table.include(part)
    table.include(sizes)
    for length, words in ((0, "should be at least 1 chars long"), (256, "Too long")):
        table.refuse(
            f"alarm of {length}", {path: {"blueGreen": {}, "autoRollbackAlarms": ["a" * length]}}, "Alarms[0]", words
        )
    table.take("alarm of 255", {path: {"blueGreen": {}, "autoRollbackAlarms": ["a" * 255]}})
    return table


def size_of(table: Cases, path: str) -> None:
    """A part of a fleet."""
    table.known(path)
    table.needed(f"{path}.type", f"{path}.value")
    table.choice(f"{path}.type", "InstanceCount", "CapacityPercent")
    table.number(f"{path}.value", 1, None)


TABLE = own_fields()
for each in (serverless(), variants(), data_capture(), deployment()):
    TABLE.include(each)


@pytest.mark.parametrize("manifest", TABLE.accepted.values(), ids=TABLE.accepted.keys())
def test_sagemaker_endpoint_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes and the operator reads."""
    check_accepted(kube, manifest)


@pytest.mark.parametrize(("manifest", "words"), TABLE.refused.values(), ids=TABLE.refused.keys())
def test_sagemaker_endpoint_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    check_refused(kube, manifest, words)


def test_sagemaker_endpoint_defaults_must_be_filled_in(kube: Kube):
    """Whoever reads an object sees what holds, not what was left out; what is AWS' to choose stays unset."""
    changes = {
        f"{SAGE}.dataCapture": {"samplingPercentage": 1, "destinationUri": "s3://b/c"},
        f"{SAGE}.deployment": {"blueGreen": {}},
    }
    found = kube.create(changed(ONE, changes), dryRun="All")["spec"]["sageMaker"]
    assert (found["deletionPolicy"], found["revisionHistoryLimit"]) == ("Delete", 3)
    assert found["dataCapture"]["capture"] == "InputAndOutput"
    blue_green = {"traffic": "AllAtOnce", "waitIntervalSeconds": 300, "terminationWaitSeconds": 0}
    assert found["deployment"] == {"blueGreen": blue_green}
    assert not {"volumeSizeGiB", "modelDownloadTimeout", "revision", "kmsKeyId", "variants"} & found.keys()
    found = kube.create(SERVERLESS, dryRun="All")["spec"]["sageMaker"]
    assert found["serverless"] == {"memorySizeInMb": 2048, "maxConcurrency": 20}
    first = kube.create(SEVERAL, dryRun="All")["spec"]["sageMaker"]["variants"][0]
    assert first == {**BLUE_GREEN[0], "weight": 1, "replicas": 1}
    rolling = {f"{SAGE}.deployment": {"rolling": {"maximumBatchSize": HALF}}}
    found = kube.create(changed(ONE, rolling), dryRun="All")["spec"]["sageMaker"]["deployment"]
    assert found == {"rolling": {"maximumBatchSize": HALF, "waitIntervalSeconds": 300}}
