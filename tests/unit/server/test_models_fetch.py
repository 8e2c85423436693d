"""fetch-model for artifacts that are no archive, and archives that don't say so."""

import gzip
import hashlib
import io
import tarfile

import joblib
import pytest

from sagebrush_server.models.fetch import ModelSource, fetch_model
from sagebrush_server.storage.base import StorageError


@pytest.fixture
def claim(tmp_path, paths):
    """Put a file on the mounted claim; returns its URI."""

    def put(name, content):
        path = tmp_path / "claims" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"pvc://data/{name}"

    return put


def archive(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as members:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def held(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["model.onnx", "models/model.json", "xgboost-model", "a b.skops"])
def test_model_of_one_file_must_be_kept_under_its_name(claim, tmp_path, name):
    """No archive around it is needed; anybody may read it, and nothing else lies there."""
    content = b"\x08\x08 model"
    uri = claim(name, content)
    fetch_model(ModelSource(uri, sha256=hashlib.sha256(content).hexdigest()), folder=tmp_path / "model")
    assert held(tmp_path / "model") == {name.rpartition("/")[2]: content}
    assert (tmp_path / "model" / name.rpartition("/")[2]).stat().st_mode & 0o777 == 0o644


def test_model_of_one_file_must_have_its_checksum(claim, tmp_path):
    """Nothing is left of a file that has been replaced."""
    uri = claim("model.onnx", b"another")
    with pytest.raises(StorageError, match=r"sha256 is .*, expected aaaa"):
        fetch_model(ModelSource(uri, sha256="a" * 64), folder=tmp_path / "model")
    assert held(tmp_path / "model") == {}


@pytest.mark.parametrize("name", ["model.tar.gz", "model.tgz", "sourcedir", "model.bin"])
def test_archive_must_be_unpacked_whatever_it_is_called(claim, tmp_path, name):
    """Its content tells where its name doesn't."""
    fetch_model(ModelSource(claim(name, archive(a=b"1", b=b"2")), sha256=None), folder=tmp_path / "model")
    assert held(tmp_path / "model") == {"a": b"1", "b": b"2"}


def test_compressed_file_must_stay_as_it_is(claim, tmp_path):
    """joblib compresses with gzip, too: that makes no archive of it."""
    path = tmp_path / "model.joblib"
    joblib.dump([1, 2, 3] * 100, path, compress=("gzip", 3))
    fetch_model(ModelSource(claim("model.joblib", path.read_bytes()), sha256=None), folder=tmp_path / "model")
    assert joblib.load(tmp_path / "model" / "model.joblib") == [1, 2, 3] * 100


@pytest.mark.parametrize(
    "content",
    [b"no archive", gzip.compress(b"no archive"), archive(a=b"1" * 1000)[:-30]],
    ids=["text", "compressed", "cut"],
)
def test_damaged_archive_must_not_be_taken_for_a_model(claim, tmp_path, content):
    """Who says model.tar.gz means an archive."""
    with pytest.raises(StorageError, match="is not a complete gzip-compressed tar archive"):
        fetch_model(ModelSource(claim("model.tar.gz", content), sha256=None), folder=tmp_path / "model")


@pytest.mark.parametrize("uri", ["pvc://data/", "pvc://data/..", "http://host/?a=b", "s3://bucket/" + "a" * 201])
def test_address_that_names_no_file_must_be_refused(paths, tmp_path, uri):
    """What would be no file's name is refused before anything is downloaded."""
    with pytest.raises(StorageError, match="expected the address of a file"):
        fetch_model(ModelSource(uri, sha256=None), folder=tmp_path / "model")


def test_second_try_must_start_afresh(claim, tmp_path):
    """What an earlier artifact left is gone."""
    fetch_model(ModelSource(claim("a.onnx", b"1"), sha256=None), folder=tmp_path / "model")
    fetch_model(ModelSource(claim("b.onnx", b"2"), sha256=None), folder=tmp_path / "model")
    assert held(tmp_path / "model") == {"b.onnx": b"2"}
