"""ModelEndpoint on real pods: own images, own models, repairs, rolling updates, and the operator's own death."""

import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from examples.demo.data import BUCKET
from examples.demo.stack import SYSTEM_NAMESPACE
from tests.e2e.conftest import World
from tests.e2e.load import Load
from tests.e2e.manifests import endpoint, training_job

pytestmark = pytest.mark.usefixtures("own_image")

ANSWER_SECONDS = 30.0

KDD = {
    "algorithm": {"name": "linear-learner"},
    "hyperParameters": {"predictor_type": "binary_classifier"},
    "channels": [
        {"name": name, "uri": f"s3://sagebrush-demo/kdd/{name}", "contentType": "text/csv"}
        for name in ("train", "validation")
    ],
}


def post(url: str, body: str, content_type: str = "text/csv") -> Any:
    """The JSON answer to one invocation."""
    request = urllib.request.Request(f"{url}/invocations", body.encode(), {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def model(world: World) -> dict[str, Any]:
    """A trained linear learner; its modelArtifact."""
    world.apply(training_job("source", **KDD))
    world.wait_reason("trainingjob", "source", "Completed")
    return world.status("trainingjob", "source")["modelArtifact"]


@pytest.fixture(scope="module")
def rows(dataset: Any) -> list[str]:
    """Rows of the validation set."""
    return dataset.sample().rows


def test_foreign_image_must_serve_unchanged(world: World) -> None:
    """The image that trained serves too, as SageMaker's own do, and the endpoint waits for its job, saying so."""
    world.apply_example("own-image/endpoint.yaml")
    world.wait_reason("modelendpoint", "own-image", "TrainingJobNotFound")
    world.apply_example("own-image/training-job.yaml")
    world.wait_reason("modelendpoint", "own-image", "WaitingForTrainingJob", "Starting", "Serving")
    world.wait_reason("modelendpoint", "own-image", "Serving")
    with world.cluster.port_forward("own-image", namespace=world.namespace, port=80) as url:
        answer = post(url, "4.5,0.5\n0.5,0.5")
    assert answer == {"predictions": [{"predicted_label": 1.0}, {"predicted_label": 0.0}]}


def test_artifact_must_be_served_by_address(world: World, model: dict[str, Any], rows: list[str]) -> None:
    """A model by address and checksum is served, and /ping tells the checksum that was verified."""
    artifact = {"uri": model["uri"], "sha256": model["sha256"]}
    world.apply(endpoint("by-address", model={"artifact": artifact}))
    world.wait_reason("modelendpoint", "by-address", "Serving")
    url = world.address("by-address")
    with urllib.request.urlopen(f"{url}/ping", timeout=ANSWER_SECONDS) as answer:
        assert answer.headers["x-sagebrush-model-sha256"] == model["sha256"]
    answer = post(
        url, json.dumps({"instances": [{"features": [float(c) for c in rows[0].split(",")]}]}), "application/json"
    )
    assert set(answer["predictions"][0]) == {"score", "predicted_label"}


def test_pretrained_example_must_serve(world: World, model: dict[str, Any]) -> None:
    """examples/pretrained serves a model.tar.gz that lies in the bucket, once its checksum is filled in."""
    with world.stack.addons.reach_s3(world.cluster) as url:
        source = {"Bucket": BUCKET, "Key": model["uri"].removeprefix(f"s3://{BUCKET}/")}
        world.stack.addons.store.client(url).copy_object(
            Bucket=BUCKET, Key="pretrained/model.tar.gz", CopySource=source
        )
    world.apply_example("pretrained/endpoint.yaml", **{"0" * 64: model["sha256"]})
    world.wait_reason("modelendpoint", "pretrained", "Serving")


def test_wrong_checksum_must_never_serve(world: World, model: dict[str, Any]) -> None:
    """A model that is not the promised one is refused before it is loaded, and the condition says so."""
    world.apply(endpoint("tampered", model={"artifact": {"uri": model["uri"], "sha256": "0" * 64}}))
    found = world.wait_reason("modelendpoint", "tampered", "DownloadFailed")
    assert "sha256" in found["message"]
    assert world.status("modelendpoint", "tampered")["readyReplicas"] == 0
    world.kubectl("delete", "modelendpoint", "tampered", "--wait")


def test_children_must_be_repaired(world: World, model: dict[str, Any]) -> None:
    """A child deleted or edited by hand is as it was, soon."""
    world.apply(endpoint("repaired", model={"artifact": model_of(model)}, replicas=1))
    world.wait_reason("modelendpoint", "repaired", "Serving")
    world.kubectl("delete", "service", "repaired", "--wait")
    world.wait("the Service to be back", lambda: world.get("service", "repaired"))
    world.kubectl("scale", "deployment", "repaired", "--replicas=3")
    world.wait("the replicas to be corrected", lambda: wanted_replicas(world, "repaired") == 1)
    world.kubectl("delete", "deployment", "repaired", "--wait")
    world.wait("the Deployment to be back", lambda: world.get("deployment", "repaired"))
    world.wait_reason("modelendpoint", "repaired", "Serving")


def test_kubectl_scale_must_work_without_a_policy(world: World, model: dict[str, Any]) -> None:
    """The scale subresource sets the replicas where nobody else owns them."""
    world.apply(endpoint("by-hand", model={"artifact": model_of(model)}))
    world.wait_reason("modelendpoint", "by-hand", "Serving")
    world.kubectl("scale", "modelendpoint/by-hand", "--replicas=2")
    world.wait_status("modelendpoint", "by-hand", "two replicas", lambda status: status.get("readyReplicas") == 2)
    world.kubectl("delete", "modelendpoint", "by-hand", "--wait")
    world.wait("the pods to go", lambda: not world.pods(endpoint="by-hand"))


def test_rolling_update_must_lose_no_request(world: World, model: dict[str, Any], rows: list[str]) -> None:
    """A new revision takes over under load without one failed request; then the old one is gone."""
    world.apply(endpoint("rolling", model={"artifact": model_of(model)}, replicas=2))
    both = world.wait_status(
        "modelendpoint", "rolling", "both replicas", lambda status: status.get("readyReplicas") == 2
    )
    first = both["revision"]
    changed = {"artifact": model_of(model), "environment": [{"name": "CHANGED", "value": "1"}]}
    with Load(f"{world.address('rolling')}/invocations", rows[0]) as load:
        world.apply(endpoint("rolling", model=changed, replicas=2))
        world.wait(
            "the new revision of rolling",
            lambda: rolled(world, "rolling", first),
            seen=lambda: (world.status("modelendpoint", "rolling"), revisions(world, "rolling")),
        )
    assert load.failures == []
    assert load.answers > 100


def rolled(world: World, name: str, before: str) -> bool:
    """Whether another revision than *before* serves alone, and the old pods are gone."""
    status = world.status("modelendpoint", name)
    revision = status.get("revision")
    done = revision not in (None, before) and revisions(world, name) == {revision} and status.get("readyReplicas") == 2
    return done and world.condition("modelendpoint", name).get("status") == "True"


def revisions(world: World, name: str) -> set[str]:
    """The revisions of the endpoint's pods, of those too that are ending."""
    return {pod["metadata"]["labels"]["sagebrush.dev/revision"] for pod in world.pods(endpoint=name)}


def wanted_replicas(world: World, name: str) -> int | None:
    """What the Deployment asks for; None where there is no Deployment."""
    return (world.get("deployment", name) or {}).get("spec", {}).get("replicas")


def test_operator_must_go_on_after_it_was_killed(world: World, model: dict[str, Any]) -> None:
    """Killed with work in hand, the operator takes it up again; no model restarts."""
    world.apply(endpoint("survivor", model={"artifact": model_of(model)}))
    world.wait_reason("modelendpoint", "survivor", "Serving")
    before = {pod["metadata"]["uid"] for pod in world.pods(endpoint="survivor")}
    world.apply(training_job("survivor"))
    world.cluster.ctl("delete", "pods", "-n", SYSTEM_NAMESPACE, "--all", "--force", "--grace-period=0", timeout=60)
    world.apply(endpoint("late", model={"trainingJobRef": {"name": "survivor"}}))
    world.wait_reason("trainingjob", "survivor", "Completed")
    world.wait_reason("modelendpoint", "late", "Serving")
    assert {pod["metadata"]["uid"] for pod in world.pods(endpoint="survivor")} == before
    assert len(world.pods(training_job="survivor")) == 1


def test_foreign_deployment_must_be_left_alone(world: World, model: dict[str, Any]) -> None:
    """What carries somebody else's name is reported, not taken over."""
    world.kubectl("create", "deployment", "taken", "--image=sagebrush-example/own-image:1", "--replicas=0")
    world.apply(endpoint("taken", model={"artifact": model_of(model)}))
    found = world.wait_reason("modelendpoint", "taken", "NameConflict")
    assert "Deployment taken" in found["message"]
    assert world.get("deployment", "taken")["spec"]["replicas"] == 0


def test_bad_request_must_be_answered_by_the_server(world: World, model: dict[str, Any]) -> None:
    """A row that is too short is a 400 that says so, through the Service."""
    world.apply(endpoint("by-address", model={"artifact": model_of(model)}))
    world.wait_reason("modelendpoint", "by-address", "Serving")
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(world.address("by-address"), "1,2,3")
    assert caught.value.code == 400


def model_of(model: dict[str, Any]) -> dict[str, Any]:
    """spec.model.artifact of a modelArtifact."""
    return {"uri": model["uri"], "sha256": model["sha256"]}


def test_restricted_namespace_must_take_built_in_pods(world: World, model: dict[str, Any]) -> None:
    """Pods of built-in algorithms and servers pass the restricted Pod Security Standard."""
    label = "pod-security.kubernetes.io/enforce=restricted"
    subprocess.run(world.cluster.kubectl_command("label", "namespace", world.namespace, label), check=True)
    try:
        world.apply(training_job("restricted", **KDD))
        world.wait_reason("trainingjob", "restricted", "Completed")
        world.apply(endpoint("restricted", model={"trainingJobRef": {"name": "restricted"}}))
        world.wait_reason("modelendpoint", "restricted", "Serving")
    finally:
        subprocess.run(
            world.cluster.kubectl_command("label", "namespace", world.namespace, f"{label.split('=', maxsplit=1)[0]}-"),
            check=True,
        )
