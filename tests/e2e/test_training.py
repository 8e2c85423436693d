"""TrainingJob on real pods, with an image that uses none of our code: what works, and what each failure says."""

import io
import json
import tarfile
from typing import Any

import pytest

from examples.demo.data import BUCKET
from tests.e2e.conftest import World
from tests.e2e.manifests import shell, training_job

pytestmark = pytest.mark.usefixtures("own_image")


def model_files(world: World, key: str) -> dict[str, Any]:
    """The files of a model.tar.gz in the bucket."""
    with world.stack.addons.reach_s3(world.cluster) as url:
        body = world.stack.addons.store.client(url).get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}


def put_rows(world: World, key: str) -> None:
    """Rows for the example image in the bucket."""
    with world.stack.addons.reach_s3(world.cluster) as url:
        world.stack.addons.store.client(url).put_object(Bucket=BUCKET, Key=key, Body=b"1,4.5,0.5\n0,0.5,0.5\n")


def test_foreign_image_must_train_unchanged(world: World) -> None:
    """A plain SageMaker training image runs (examples/own-image); its model, metrics and phases stand in the status."""
    world.apply_example("own-image/training-job.yaml")
    world.wait_reason("trainingjob", "own-image", "Completed")
    status = world.status("trainingjob", "own-image")
    phases = [entry["phase"] for entry in status["transitions"]]
    assert phases[-4:] == ["Downloading", "Training", "Uploading", "Completed"]
    assert status["metrics"] == [{"name": "train:accuracy", "value": 1.0}]
    assert status["modelArtifact"]["uri"] == f"s3://{BUCKET}/output/own-image/output/model.tar.gz"
    assert json.loads(model_files(world, "output/own-image/output/model.tar.gz")["seen-algo-1.json"])["rows"] == 40


def test_several_instances_must_share_the_data(world: World) -> None:
    """An Indexed Job of two with SageMaker's host names: each host gets every second object (examples/own-image)."""
    world.apply_example("own-image/multi-instance.yaml")
    world.wait_reason("trainingjob", "own-image-sharded", "Completed")
    output = "output/own-image-sharded/output"
    first = json.loads(model_files(world, f"{output}/model.tar.gz")["seen-algo-1.json"])
    second = json.loads(model_files(world, f"{output}/algo-2/model.tar.gz")["seen-algo-2.json"])
    assert first["hosts"] == second["hosts"] == ["algo-1", "algo-2"]
    assert (first["files"], second["files"]) == (["part-0.csv", "part-2.csv"], ["part-1.csv", "part-3.csv"])


def test_several_instances_must_find_each_other(world: World) -> None:
    """The names algo-1 and algo-2 resolve on both hosts, and each knows its own."""
    script = 'for host in algo-1 algo-2; do getent hosts $host || exit 1; done; echo "me=$SM_CURRENT_HOST"'
    world.apply(training_job("pair", instanceCount=2, **shell(script)))
    world.wait_reason("trainingjob", "pair", "Completed")
    logs = world.kubectl("logs", "-l", "sagebrush.dev/training-job=pair", "-c", "train", "--tail=-1")
    assert {"me=algo-1", "me=algo-2"} <= set(logs.split())


@pytest.mark.parametrize(
    ("name", "spec", "reason", "says", "blame"),
    [
        (
            "fails",
            {"hyperParameters": {"fail": "for the test"}},
            "AlgorithmError",
            "told to fail: for the test",
            "User",
        ),
        ("logs", shell("echo the last words; exit 3"), "AlgorithmError", "the last words", "User"),
        (
            "no-data",
            {"channels": [{"name": "train", "uri": f"s3://{BUCKET}/nothing-here"}]},
            "DownloadFailed",
            f"s3://{BUCKET}/nothing-here",
            "User",
        ),
        (
            "no-bucket",
            {"channels": [{"name": "train", "uri": "s3://no-such-bucket/x"}]},
            "DownloadFailed",
            "no-such-bucket",
            "User",
        ),
        (
            "hungry",
            {
                **shell('python3 -c "x = bytearray(512 * 1024 * 1024); print(len(x))"'),
                "cluster": {"resources": {"limits": {"memory": "64Mi"}}},
            },
            "OutOfMemory",
            "64Mi",
            "User",
        ),
    ],
)
def test_failed_training_must_say_why(
    world: World, name: str, spec: dict[str, Any], reason: str, says: str, blame: str
) -> None:
    """Each failure has its own reason, the container's own words, and whose turn it is."""
    world.apply(training_job(name, **spec))
    found = world.wait_reason("trainingjob", name, reason)
    failure = world.wait_status("trainingjob", name, "the failure", lambda status: status.get("failure"))["failure"]
    assert says in found["message"]
    assert (says in failure["message"], failure["failureClass"]) == (True, blame)
    world.wait_event("TrainingJob", name, reason=reason, type_="Warning")


def test_missing_image_must_be_named_while_it_waits(world: World) -> None:
    """An image that can't be pulled is no end: the job says so and goes on waiting."""
    world.apply(training_job("no-image", algorithm={"image": "registry.invalid/nothing:1"}))
    found = world.wait_reason("trainingjob", "no-image", "ImagePullFailed")
    assert "registry.invalid/nothing:1" in found["message"]
    world.kubectl("delete", "trainingjob", "no-image", "--wait")


def test_bad_hyperparameter_must_be_named(world: World) -> None:
    """The built-in algorithm names the hyperparameter and what is legal, in the condition."""
    world.apply(
        training_job("bad-value", algorithm={"name": "linear-learner"}, hyperParameters={"predictor_type": "oracle"})
    )
    found = world.wait_reason("trainingjob", "bad-value", "AlgorithmError")
    assert "predictor_type" in found["message"]
    assert "binary_classifier" in found["message"]


def test_max_runtime_must_stop_the_job_and_keep_what_it_saved(world: World) -> None:
    """After maxRuntime the algorithm gets SIGTERM; what it has saved is uploaded."""
    script = "echo half > /opt/ml/model/half; trap 'exit 0' TERM; while true; do sleep 0.2; done"
    world.apply(training_job("endless", maxRuntime="30s", **shell(script)))
    world.wait_reason("trainingjob", "endless", "MaxRuntimeExceeded")
    status = world.status("trainingjob", "endless")
    assert status["phase"] == "Stopped"
    assert model_files(world, "e2e/endless/output/model.tar.gz")["half"] == b"half\n"


def test_suspend_must_stop_and_resume_start_over(world: World) -> None:
    """suspend: true ends the pods, and is no completion though the algorithm ends with 0; false starts over."""
    # It goes on for as long as its data lacks a file, which is there only at the second start.
    script = "trap 'exit 0' TERM; while [ ! -e /opt/ml/input/data/train/more.csv ]; do sleep 0.2; done; train"
    put_rows(world, "own-image/pausing/rows.csv")
    channel = {"name": "train", "uri": f"s3://{BUCKET}/own-image/pausing", "contentType": "text/csv"}
    world.apply(training_job("pausing", suspend=True, channels=[channel], **shell(script)))
    world.wait_reason("trainingjob", "pausing", "Suspended")
    assert world.pods(training_job="pausing") == []
    world.kubectl("patch", "trainingjob", "pausing", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    world.wait_reason("trainingjob", "pausing", "Training")
    world.kubectl("patch", "trainingjob", "pausing", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    world.wait_reason("trainingjob", "pausing", "Suspended")
    put_rows(world, "own-image/pausing/more.csv")
    world.kubectl("patch", "trainingjob", "pausing", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    world.wait_reason("trainingjob", "pausing", "Completed")


def test_deletion_must_leave_nothing(world: World) -> None:
    """Deleting a running job removes Job and pods."""
    script = "trap 'exit 0' TERM; while true; do sleep 0.2; done"
    world.apply(training_job("short-lived", **shell(script)))
    world.wait_reason("trainingjob", "short-lived", "Training")
    world.kubectl("delete", "trainingjob", "short-lived", "--wait")
    world.wait(
        "the pods to go", lambda: not world.pods(training_job="short-lived") and not world.get("job", "short-lived")
    )
