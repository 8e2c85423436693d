"""What is served, at spec.model and at a variant's model, in the real API server: the same constraints in both places."""

from copy import deepcopy
from typing import get_args

import pytest

from sagebrush.api.model import ALLOWANCE_PATTERN, Framework
from tests.integration.constraints import ROLE, Cases, check_accepted, check_refused, environment, shown
from tests.integration.kube import Kube
from tests.integration.manifests import GONE, endpoint

pytestmark = pytest.mark.usefixtures("crds")

MODEL = {"artifact": {"uri": "s3://bucket/model.tar.gz"}, "container": {"image": "x"}}
VARIANTS = [{"name": "a", "instanceType": "ml.m5.xlarge", "model": deepcopy(MODEL)}]  # changed without spec.model
PLACES = {
    "spec.model": endpoint(model=MODEL),
    "spec.sageMaker.variants.0.model": endpoint(
        backend="SageMaker", model=MODEL, sageMaker={"roleArn": ROLE, "variants": VARIANTS}
    ),
}
URI = "^(s3|pvc|http|https)://[^ ]+$"
OBJECT = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


def cases(path: str) -> Cases:
    """What is taken and refused of a model at this place."""
    table = Cases(PLACES[path])
    table.take("the base", {})
    table.refuse(
        "no model", {path: {}}, f"{shown(path)}: Invalid value", "give a trainingJobRef, an artifact, or a container"
    )
    table.refuse(
        "two models", {f"{path}.trainingJobRef.name": "job"}, "give at most one of trainingJobRef and artifact"
    )
    uri, digest = f"{path}.artifact.uri", f"{path}.artifact.sha256"
    table.needed(uri, f"{path}.container.image")
    table.pattern(uri, URI, good=["s3://bucket/a-b_c/model.tar.gz"], bad=["ftp://x", "s3://", "s3://b/a b", "/model"])
    table.length(uri, None, 1024, start="s3://b/")
    said = f"{shown(digest)} in body should match '^[0-9a-f]{{64}}$'"
    for text in ("", "ab", "AB" * 32, "g" * 64):
        table.refuse(f"checksum {text[:8]!r}", {digest: text}, said)
    table.refuse("checksum of 65", {digest: "a" * 65}, f"{shown(digest)}: Too long", "64")
    table.length(f"{path}.container.image", 1, 512)
    pulls = f"{path}.container.imagePullPolicy"
    table.refuse(
        "another policy", {pulls: "Other"}, f"{shown(pulls)}: Unsupported", '"Always", "IfNotPresent", "Never"'
    )
    for port, words in ((0, "greater than or equal to 1"), (65536, "less than or equal to 65535")):
        field = f"{path}.container.metricsPort"
        table.refuse(f"port {port}", {field: port}, f"{shown(field)} in body should be {words}")
    table.duration(f"{path}.startupTimeout")
    environment(table, f"{path}.environment")
    reference(table, path)
    table.known(path, f"{path}.artifact", f"{path}.container")
    loading(table, path)
    return table


def loading(table: Cases, path: str) -> None:
    """What the built-in server is told about loading the model."""
    built_in = {f"{path}.container": GONE}
    framework, allow = f"{path}.framework", f"{path}.allow"
    for name in get_args(Framework):
        table.take(f"framework {name}", {**built_in, framework: name})
    table.refuse(
        "another framework",
        {**built_in, framework: "tensorflow"},
        f'{shown(framework)}: Unsupported value: "tensorflow"',
        '"scikit-learn", "xgboost", "lightgbm", "onnx", "mlflow", "inference.py"',
    )
    for word in ("Unpickling", "Requirements", "mine.Type", "a.b_1.C", "a." + "b" * 254):
        table.take(f"allow {word[:12]}", {**built_in, allow: [word]})
    said = f"{shown(allow)}[0] in body should match '{ALLOWANCE_PATTERN}'"
    for word in ("", "Pickling", "unpickling", ".a", "a.", "a b.c", "a,b.c", "a.*"):
        table.refuse(f"allow {word!r}", {**built_in, allow: [word]}, said)
    table.refuse("a long allowance", {**built_in, allow: ["a." + "b" * 255]}, f"{shown(allow)}[0]: Too long", "256")
    table.refuse("twice allowed", {**built_in, allow: ["a.b", "a.b"]}, f"{shown(allow)}[1]: Duplicate value")
    table.take("32 allowances", {**built_in, allow: [f"a.b{number}" for number in range(32)]})
    table.refuse(
        "33 allowances",
        {**built_in, allow: [f"a.b{number}" for number in range(33)]},
        f"{shown(allow)}: Too many",
        "32",
    )
    for name, value in ((framework, "onnx"), (allow, ["Unpickling"])):
        table.refuse(
            f"{name} for an image of one's own",
            {name: value},
            "container: an image of your own honours neither framework nor allow",
        )


def reference(table: Cases, path: str) -> None:
    """The TrainingJob whose model is served."""
    job = f"{path}.trainingJobRef"
    alone = {f"{path}.artifact": GONE}
    table.take("a job", {**alone, job: {"name": "job.1-a"}})
    table.take("a long name", {**alone, job: {"name": "a" * 253}})
    table.refuse("no name", {**alone, job: {}}, f"{shown(job)}.name: Required value")
    table.refuse(
        "empty job name", {**alone, job: {"name": ""}}, f"{shown(job)}.name in body should be at least 1 chars long"
    )
    table.refuse("job name of 254", {**alone, job: {"name": "a" * 254}}, f"{shown(job)}.name: Too long", "253")
    for text in ("A", "a_b", "-a", "a-"):
        table.refuse(
            f"job {text}", {**alone, job: {"name": text}}, f"{shown(job)}.name in body should match '{OBJECT}'"
        )
    other = {"name": "a", "namespace": "elsewhere"}
    table.refuse("a job of another namespace", {**alone, job: other}, f'unknown field "{shown(job)}.namespace"')


TABLES = {path: cases(path) for path in PLACES}
ACCEPTED = {f"{path}: {name}": found for path, table in TABLES.items() for name, found in table.accepted.items()}
REFUSED = {f"{path}: {name}": found for path, table in TABLES.items() for name, found in table.refused.items()}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_model_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes and the operator reads."""
    check_accepted(kube, manifest)


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_model_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    check_refused(kube, manifest, words)


@pytest.mark.parametrize("path", PLACES)
def test_model_defaults_must_be_filled_in(kube: Kube, path):
    """Whoever reads an object sees what holds, not what was left out."""
    spec = kube.create(PLACES[path], dryRun="All")["spec"]
    found = spec["model"] if path == "spec.model" else spec["sageMaker"]["variants"][0]["model"]
    assert found["container"] == {"image": "x", "imagePullPolicy": "IfNotPresent"}
    assert found["startupTimeout"] == "10m"
    assert not {"environment", "trainingJobRef"} & found.keys()
