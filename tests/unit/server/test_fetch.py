"""fetch-channels: what a training pod finds in /opt/ml/input, and what it is told when something is wrong."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sagebrush_server import cli
from sagebrush_server.storage.base import StorageError
from sagebrush_server.training.fetch import fetch_channels
from sagebrush_server.training.plan import PlanError, TrainingPlan
from tests.unit.server.conftest import plan_environment


@pytest.fixture
def claim(tmp_path, paths):
    """A mounted claim with four objects below `train`."""
    folder = tmp_path / "claims" / "data"
    for name in ("train/a.csv", "train/b.csv", "train/deep/c.csv", "train/deep/d.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"1,{name}\n")
    return folder


@pytest.fixture
def web(monkeypatch):
    """A web server whose answers are functions of the handler, by path."""
    answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answers[self.path](self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()


def reply(status, body, length=None):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def fetch(document, paths, **environment):
    plan = TrainingPlan.from_environment(plan_environment(document, **environment))
    fetch_channels(plan, paths=paths)
    return plan


def found(paths, channel="train"):
    folder = paths.input_data / channel
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_fetch_must_fill_the_pod_as_sagemaker_does(paths, claim, plan_document):
    """Channels, the three configuration files and host.env are as in SageMaker's contract."""
    fetch(plan_document, paths)
    assert found(paths) == ["a.csv", "b.csv", "deep/c.csv", "deep/d.csv"]
    read = lambda name: json.loads((paths.input_config / f"{name}.json").read_text())  # noqa: E731
    assert read("hyperparameters") == {"predictor_type": "binary_classifier", "epochs": "5"}
    assert read("inputdataconfig") == {
        "train": {
            "ContentType": "text/csv",
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    }
    resources = read("resourceconfig")
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    assert (resources["network_interface_name"], resources["current_instance_type"]) == ("eth0", "cluster")
    assert paths.host_env.read_text() == "SM_CURRENT_HOST='algo-1'\n"
    for folder in (paths.input_config, paths.input_data, paths.model, paths.output_data, paths.failure.parent):
        assert folder.stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize(("index", "names"), [("0", ["a.csv", "deep/c.csv"]), ("1", ["b.csv", "deep/d.csv"])])
def test_sharded_channel_must_give_every_host_its_part(paths, claim, plan_document, monkeypatch, index, names):
    """Object i of the sorted keys goes to host i mod n, and the pod's index names its host."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [])
    plan_document["hosts"] = ["algo-1", "algo-2"]
    plan_document["channels"][0]["distribution"] = "ShardedByS3Key"
    plan = fetch(plan_document, paths, JOB_COMPLETION_INDEX=index)
    assert found(paths) == names
    assert plan.host == f"algo-{int(index) + 1}"


def test_fetch_must_wait_for_the_other_hosts_and_say_which_is_missing(paths, claim, plan_document, monkeypatch):
    """Host names that don't resolve in time are named; another try may succeed."""
    monkeypatch.setenv("SAGEBRUSH_HOSTS_TIMEOUT_SECONDS", "0")
    plan_document["hosts"] = ["localhost", "no-such-host.invalid"]
    with pytest.raises(StorageError, match=r"no-such-host\.invalid did not resolve") as caught:
        fetch(plan_document, paths)
    assert caught.value.transient


def test_gzip_channel_must_be_unpacked(paths, claim, plan_document):
    """Compressed objects lose their .gz and their compression."""
    (claim / "train" / "z.csv.gz").write_bytes(gzip.compress(b"1,2\n"))
    plan_document["channels"][0] |= {"uri": "pvc://data/train/z.csv.gz", "compression": "Gzip"}
    fetch(plan_document, paths)
    assert (paths.input_data / "train" / "z.csv").read_bytes() == b"1,2\n"


@pytest.mark.parametrize(
    ("uri", "compression", "says"),
    [
        ("pvc://data/nothing", "None", "there is nothing under this prefix"),
        ("pvc://other/train", "None", "the claim 'other' is not mounted"),
        ("pvc://data/../secret", "None", "without '..'"),
        ("ftp://host/file", "None", "use s3://, http(s):// or pvc://"),
        ("pvc://data/train", "Gzip", "compression is Gzip, but it is not"),
    ],
)
def test_fetch_command_must_leave_one_sentence_and_code_2(
    paths, claim, plan_document, monkeypatch, uri, compression, says
):
    """What the user has to mend ends in exit code 2, and the termination message names channel and URI."""
    plan_document["channels"][0] |= {"uri": uri, "compression": compression}
    monkeypatch.setenv("SAGEBRUSH_TRAINING_PLAN", json.dumps(plan_document))
    assert cli._fetch_channels() == 2
    message = paths.termination_log.read_text()
    assert message.startswith(f"channel train: {uri}")
    assert says in message
    assert "\n" not in message


def test_http_channel_must_be_streamed_and_retried(paths, plan_document, web, monkeypatch):
    """A 503 and an answer that ends too soon are tried again; the file is whole in the end."""
    base, answers = web
    monkeypatch.setenv("SAGEBRUSH_RETRY_SECONDS", "20")
    monkeypatch.setattr("sagebrush_server.storage.base._FIRST_WAIT_SECONDS", 0.01)
    script = iter([reply(503, b""), reply(200, b"1,2\n", length=400), reply(200, b"1,2\n" * 100)])

    def next_answer(handler):
        next(script)(handler)

    answers["/some%20data.csv"] = next_answer
    plan_document["channels"][0]["uri"] = f"{base}/some%20data.csv"
    fetch(plan_document, paths)
    assert (paths.input_data / "train" / "some data.csv").read_bytes() == b"1,2\n" * 100
    assert found(paths) == ["some data.csv"]


@pytest.mark.parametrize(("status", "code"), [(404, 2), (403, 2), (500, 1)])
def test_http_refusals_must_be_told_apart(paths, plan_document, web, monkeypatch, status, code):
    """404 and 403 are the user's to mend (exit code 2), 500 may pass (1)."""
    base, answers = web
    answers["/x.csv"] = reply(status, b"")
    plan_document["channels"][0]["uri"] = f"{base}/x.csv"
    monkeypatch.setenv("SAGEBRUSH_TRAINING_PLAN", json.dumps(plan_document))
    assert cli._fetch_channels() == code
    assert str(status) in paths.termination_log.read_text()


def test_unreachable_store_must_be_transient(paths, plan_document, monkeypatch):
    """A store that can't be reached ends in exit code 1: another pod may have more luck."""
    plan_document["channels"][0]["uri"] = "http://127.0.0.1:1/x.csv"
    monkeypatch.setenv("SAGEBRUSH_TRAINING_PLAN", json.dumps(plan_document))
    assert cli._fetch_channels() == 1
    assert "can't be reached" in paths.termination_log.read_text()


@pytest.mark.parametrize("damage", ["{", "[]", '{"hosts": ["algo-1"]}', '{"hosts": []}'])
def test_damaged_plan_must_be_named(damage):
    """A plan that can't be read says which variable it came from."""
    with pytest.raises(PlanError, match="SAGEBRUSH_TRAINING_PLAN"):
        TrainingPlan.from_environment({"SAGEBRUSH_TRAINING_PLAN": damage})
