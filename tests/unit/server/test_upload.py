"""The way of a model: packed, uploaded, reported, fetched, unpacked."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import pytest

from sagebrush_server import cli
from sagebrush_server.models.fetch import ModelSource, fetch_model
from sagebrush_server.models.unpacking import ArtifactError, unpack
from sagebrush_server.storage.base import StorageError
from sagebrush_server.training.packing import PackingError, pack
from sagebrush_server.training.plan import TrainingPlan
from sagebrush_server.training.upload import upload_artifacts
from tests.unit.server.conftest import plan_environment, tiny_model
from tests.unit.server.wire import wait_until

LIMIT = 1_000_000


@pytest.fixture
def trained(paths):
    """A pod whose training has left a model."""
    (paths.model / "deep").mkdir(parents=True)
    paths.output_data.mkdir(parents=True)
    tiny_model().save(paths.model)
    (paths.model / "deep" / "run.sh").write_text("#!/bin/sh\n")
    (paths.model / "deep" / "run.sh").chmod(0o700)
    return paths


def upload(document, paths, **environment):
    plan = TrainingPlan.from_environment(plan_environment(document, **environment))
    code = upload_artifacts(plan, paths=paths)
    return code, json.loads(paths.termination_log.read_text())


def test_packing_must_be_deterministic(trained, tmp_path):
    """The same files give the same bytes, whenever, in whatever order and by whomever they were written."""
    first, size = pack(trained.model, target=tmp_path / "a.tar.gz")
    copy = tmp_path / "copy"
    (copy / "deep").mkdir(parents=True)
    (copy / "deep" / "run.sh").write_text("#!/bin/sh\n")
    (copy / "deep" / "run.sh").chmod(0o755)
    tiny_model().save(copy)
    os.utime(copy / "model.json", (1, 1))
    second, _ = pack(copy, target=tmp_path / "b.tar.gz")
    assert first == second == hashlib.sha256((tmp_path / "a.tar.gz").read_bytes()).hexdigest()
    assert size == (tmp_path / "a.tar.gz").stat().st_size


def test_packing_must_refuse_what_leaves_the_folder(trained, tmp_path):
    """Links to the outside and pipes don't get into an artifact, and are named."""
    (trained.model / "link").symlink_to("/etc/hostname")
    with pytest.raises(PackingError, match="link is a link to /etc/hostname"):
        pack(trained.model, target=tmp_path / "a.tar.gz")
    (trained.model / "link").unlink()
    os.mkfifo(trained.model / "pipe")
    with pytest.raises(PackingError, match="pipe is neither"):
        pack(trained.model, target=tmp_path / "a.tar.gz")


@pytest.mark.parametrize("place", ["model", "output/data", "output"])
@pytest.mark.parametrize("inside", [False, True])
def test_upload_must_refuse_a_folder_that_is_a_link(trained, plan_document, tmp_path, place, inside):
    """A training image that replaces a folder by a link doesn't make the agent pack what the link leads to."""
    secret = (trained.base if inside else tmp_path) / "elsewhere"
    (secret / "data").mkdir(parents=True)
    (secret / "data" / "secret").write_text("the agent's own")
    folder = trained.base / place
    shutil.rmtree(folder)
    folder.symlink_to(secret)
    code, report = upload(plan_document, trained)
    assert code == 1
    assert "symbolic link" in report["error"]
    assert str(secret) in report["error"]
    assert not (tmp_path / "claims" / "data" / "output").exists()


def test_upload_must_refuse_a_folder_that_is_a_dangling_link(trained, plan_document):
    """A link to what only the training image has is an error, not an empty model."""
    shutil.rmtree(trained.model)
    trained.model.symlink_to("/home/only-in-the-training-image")
    code, report = upload(plan_document, trained)
    assert (code, "symbolic link to /home/only-in-the" in report["error"]) == (1, True)


def test_base_folder_may_lie_behind_a_link(trained, plan_document, tmp_path):
    """Only what training can replace is judged, not where the folders are mounted."""
    (tmp_path / "link").symlink_to(trained.base)
    code, _ = upload(plan_document, replace(trained, base=tmp_path / "link"))
    assert code == 0


def test_model_must_arrive_as_it_left(trained, plan_document, tmp_path, monkeypatch):
    """Uploaded, fetched with its checksum and unpacked, the model folder is the same again."""
    (trained.output_data / "plot.txt").write_text("x")
    code, report = upload(plan_document, trained)
    assert code == 0
    artifact = report["artifact"]
    stored = tmp_path / "claims" / "data" / "output" / "kdd" / "output"
    assert artifact["uri"] == "pvc://data/output/kdd/output/model.tar.gz"
    assert artifact["sizeBytes"] == (stored / "model.tar.gz").stat().st_size
    assert (stored / "output.tar.gz").is_file()
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "left-over").write_text("from a first try")
    fetch_model(ModelSource(artifact["uri"], sha256=artifact["sha256"]), folder=folder)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "deep",
        "deep/run.sh",
        "model.json",
    ]
    assert (folder / "model.json").read_bytes() == (trained.model / "model.json").read_bytes()
    assert (folder / "deep" / "run.sh").stat().st_mode & 0o777 == 0o755


def test_empty_model_must_be_reported_as_none(paths, plan_document):
    """Nothing to upload is no error: the operator decides what it means."""
    assert upload(plan_document, paths) == (0, {"artifact": None})


def test_other_hosts_must_upload_to_a_place_of_their_own(trained, plan_document):
    """Host algo-2 doesn't overwrite algo-1's model."""
    plan_document["hosts"] = ["algo-1", "algo-2"]
    _, report = upload(plan_document, trained, JOB_COMPLETION_INDEX="1")
    assert report["artifact"]["uri"] == "pvc://data/output/kdd/output/algo-2/model.tar.gz"


@pytest.mark.parametrize("uri", ["pvc://missing/output", "http://host/output", "pvc://missing/" + "x" * 6000])
def test_upload_that_fails_must_be_reported_in_4_kib_of_json(trained, plan_document, uri):
    """The error is in the termination message, as JSON, within what the kubelet keeps."""
    plan_document["output"]["uri"] = uri
    code, report = upload(plan_document, trained)
    assert code == 1
    assert report["error"].startswith(f"the upload of {uri}"[:1000])
    assert trained.termination_log.stat().st_size <= 4096


def test_upload_must_end_at_its_timeout(trained, plan_document, monkeypatch):
    """A store that hangs doesn't hold the pod beyond uploadTimeoutSeconds."""
    monkeypatch.setattr("sagebrush_server.storage.pvc.PvcStore.upload", lambda *_, **__: time.sleep(30))
    plan_document["output"]["uploadTimeoutSeconds"] = 0.05
    code, report = upload(plan_document, trained)
    assert (code, "over 0.05 s" in report["error"]) == (1, True)


def test_agent_must_wait_for_sigterm_then_upload(trained, plan_document, tmp_path):
    """The agent's process uploads nothing before SIGTERM, and everything after it, once."""
    with (tmp_path / "log").open("w") as log:
        agent = subprocess.Popen(
            [sys.executable, "-c", "from sagebrush_server.cli import main; main()", "upload-artifacts"],
            env={**os.environ, **plan_environment(plan_document)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: "waiting" in (tmp_path / "log").read_text(), about="the agent waits", seconds=30)
            assert not trained.termination_log.exists()
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(20) == 0, (tmp_path / "log").read_text()
        finally:
            agent.kill()
            agent.wait()
    assert json.loads(trained.termination_log.read_text())["artifact"]["sizeBytes"] > 0


def archive(*members):
    """A .tar.gz with the given (name, changes, content) members."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as packed:
        for name, changes, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes.items():
                setattr(member, key, value)
            packed.addfile(member, io.BytesIO(content))
    return target.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (archive(("/etc/passwd", {}, b"x")), "'/etc/passwd' leaves the model folder"),
        (archive(("../x", {}, b"x")), "leaves the model folder"),
        (archive(("a/../../x", {}, b"x")), "leaves the model folder"),
        (archive(("l", {"type": tarfile.SYMTYPE, "linkname": "/etc"}, b"")), "links to the absolute name '/etc'"),
        (archive(("l", {"type": tarfile.SYMTYPE, "linkname": "../.."}, b"")), "refused"),
        (archive(("l", {"type": tarfile.LNKTYPE, "linkname": "../x"}, b"")), "refused"),
        (archive(("d", {"type": tarfile.CHRTYPE}, b"")), "neither a file, a folder nor a link"),
        (archive(("p", {"type": tarfile.FIFOTYPE}, b"")), "neither a file, a folder nor a link"),
        (archive(("big", {}, b"0" * (LIMIT + 1))), f"more than {LIMIT} bytes"),
        (b"this is no archive", "not a complete gzip-compressed tar archive"),
        (archive(("x", {}, bytes(range(256)) * 40))[:-30], "not a complete gzip-compressed tar archive"),
        (b"", "not a complete gzip-compressed tar archive"),
        (
            archive(
                ("inner", {"type": tarfile.SYMTYPE, "linkname": "."}, b""),
                ("inner/l", {"type": tarfile.SYMTYPE, "linkname": "../.."}, b""),
            ),
            "refused",
        ),
    ],
    ids=[  # the bytes differ from run to run: gzip writes the time
        "absolute name",
        "parent",
        "parent inside",
        "absolute link",
        "link to parent",
        "hard link to parent",
        "device",
        "pipe",
        "too big",
        "no archive",
        "cut short",
        "empty",
        "link through a link",
    ],
)
def test_hostile_artifact_must_be_refused(tmp_path, data, says):
    """Nothing leaves the folder, nothing is larger than allowed, and a cut file is noticed."""
    (tmp_path / "a.tar.gz").write_bytes(data)
    (tmp_path / "model").mkdir()
    with pytest.raises(ArtifactError) as caught:
        unpack(tmp_path / "a.tar.gz", folder=tmp_path / "model", limit_bytes=LIMIT)
    assert says in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "model"]


def test_link_inside_the_model_must_be_kept(tmp_path):
    """A link that stays inside the folder is legal."""
    (tmp_path / "a.tar.gz").write_bytes(
        archive(("x", {}, b"1"), ("l", {"type": tarfile.SYMTYPE, "linkname": "x"}, b""))
    )
    (tmp_path / "model").mkdir()
    assert unpack(tmp_path / "a.tar.gz", folder=tmp_path / "model", limit_bytes=LIMIT) == 1
    assert (tmp_path / "model" / "l").read_bytes() == b"1"


def test_wrong_checksum_must_leave_nothing_unpacked(paths, tmp_path, monkeypatch):
    """An artifact that isn't the one trained is not unpacked; the message has both checksums, the exit code is 2."""
    (tmp_path / "claims" / "data" / "m.tar.gz").write_bytes(archive(("model.json", {}, b"{}")))
    source = {"uri": "pvc://data/m.tar.gz", "sha256": "0" * 64}
    with pytest.raises(StorageError, match="expected 0000"):
        fetch_model(ModelSource(**source), folder=paths.model)
    assert list(paths.model.iterdir()) == []
    monkeypatch.setenv("SAGEBRUSH_MODEL", json.dumps(source))
    assert cli._fetch_model() == 2
    assert "pvc://data/m.tar.gz" in paths.termination_log.read_text()
