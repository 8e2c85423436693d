"""The simulator in a process of its own, driven over HTTP; and S3, which moto serves."""

import io
import json
import signal
import subprocess
import sys
import tarfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.contract.aws import IMAGE, Aws, client, refused
from tests.sagemaker_simulator import Control, ManualClock, Simulator

ROOT = Path(__file__).parents[2]
PLAN = """
- kind: throttle
  operation: ListModels
- {kind: training, resource: job, metrics: {accuracy: 0.9}}
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A simulator that stands still until told, with a fault plan from a file."""
    plan = tmp_path_factory.mktemp("plan") / "plan.yaml"
    plan.write_text(PLAN)
    command = [sys.executable, "-m", "tests.sagemaker_simulator", "--speed", "0", "--faults", str(plan)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield Control(json.loads(running.stdout.readline())["url"])
        finally:
            running.send_signal(signal.SIGTERM)
            code = running.wait(60)
    assert 0 == code


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """moto's S3 with a bucket of training data."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connected = client(f"http://{host}:{port}", "s3")
    connected.create_bucket(Bucket="bucket")
    connected.put_object(Bucket="bucket", Key="train/data.csv", Body=b"1,2\n")
    yield connected
    server.stop()


@pytest.fixture
def stored(s3: Any) -> Iterator[Aws]:
    """A simulator whose artifacts go to that S3."""
    with Simulator(clock=ManualClock(), s3_endpoint=s3.meta.endpoint_url) as simulator:
        yield Aws(simulator)


def test_process_must_be_driven_from_outside(process: Control) -> None:
    """Plan, clock, state, traffic, audit, orphans and reset all work over HTTP, and SIGTERM ends it well."""
    sagemaker = client(process.url, "sagemaker")
    assert "ThrottlingException" == refused(sagemaker.list_models)[0]
    simulator = type("Remote", (), {"url": process.url})()
    aws = Aws(simulator)
    aws.train(Tags=[{"Key": "sagebrush.dev/uid", "Value": "u1"}])
    before = process.time()["now"]
    process.advance(275)
    assert 275 == process.time()["now"] - before
    state = process.state()["123456789012/us-east-1"]["training_jobs"]["job"]
    assert ("Completed", "accuracy") == (state["TrainingJobStatus"], state["FinalMetricDataList"][0]["MetricName"])
    process.traffic("endpoint", requests_per_minute=10)
    process.traffic("endpoint", schedule=[(0, 10), (60, 20)])
    assert (
        2
        == process.audit()["operations"]["sagemaker.ListModels"]
        + process.audit()["operations"]["sagemaker.CreateTrainingJob"]
    )
    assert ["CreateTrainingJob"] == [
        call["operation"] for call in process.audit(calls=True)["calls"] if call["code"] == "OK"
    ]
    assert 1 == len(process.orphans([]))
    assert [] == process.orphans(["u1"])
    process.fault("throttle", operation="ListModels", times=None)
    assert "ThrottlingException" == refused(sagemaker.list_models)[0]
    process.clear_faults()
    assert "OK" == refused(sagemaker.list_models)[0]
    process.reset()
    assert {} == process.state()


def test_control_must_refuse_nonsense(process: Control) -> None:
    """Unknown kinds of faults are an error with its reason."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        process.fault("earthquake")
    assert 400 == caught.value.code


def test_artifact_must_appear_in_s3_when_the_job_completes(stored: Aws, s3: Any) -> None:
    """A valid model.tar.gz lies at S3ModelArtifacts as soon as the job is Completed, and not before."""
    key = "out/artifact/output/model.tar.gz"
    stored.train("artifact")
    stored.simulator.advance(274)
    assert 0 == s3.list_objects_v2(Bucket="bucket", Prefix=key)["KeyCount"]
    stored.simulator.advance(1)
    uri = stored.job("artifact")["ModelArtifacts"]["S3ModelArtifacts"]
    assert f"s3://bucket/{key}" == uri
    body = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
        assert ["model.txt"] == archive.getnames()
    stored_model = {"Image": IMAGE, "ModelDataUrl": uri}
    assert "OK" == refused(stored.model, PrimaryContainer=stored_model)[0]


def test_failed_jobs_must_leave_no_artifact(stored: Aws, s3: Any) -> None:
    """Only Completed and Stopped jobs upload."""
    stored.simulator.faults.add("training", failure_reason="AlgorithmError: no")
    stored.train("failing")
    stored.simulator.advance(300)
    assert 0 == s3.list_objects_v2(Bucket="bucket", Prefix="out/failing/")["KeyCount"]


def test_job_must_fail_when_it_cannot_upload(stored: Aws) -> None:
    """An output bucket that isn't there is a ClientError at the end."""
    stored.train("lost", OutputDataConfig={"S3OutputPath": "s3://nowhere/out"})
    stored.simulator.advance(300)
    job = stored.job("lost")
    assert "Failed" == job["TrainingJobStatus"]
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed")


def test_model_data_must_exist(stored: Aws) -> None:
    """CreateModel looks its ModelDataUrl up."""
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/nothing.tar.gz"}
    assert ("ValidationException", "Could not find model data at s3://bucket/nothing.tar.gz.") == refused(
        stored.model, PrimaryContainer=container
    )


def test_training_data_must_exist(stored: Aws) -> None:
    """CreateTrainingJob looks its channels up."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/nothing/"}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
    code, message = refused(stored.train, InputDataConfig=[channel])
    assert "ValidationException" == code
    assert message.startswith('No S3 objects found under S3 URL "s3://bucket/nothing/"')
