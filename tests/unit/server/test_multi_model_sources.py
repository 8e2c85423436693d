"""Where models may lie: paths that clients send."""

import io
import tarfile

import pytest

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.models.unpacking import ArtifactError
from sagebrush_server.protocols.multi_model.sources import ModelSource, OpenedSource, source_for_target, source_for_url


@pytest.fixture
def base(tmp_path):
    for folder in ("models/plain", "models/hashed/model", "models/deep/er", "outside/model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models" / "packed.tar.gz").write_bytes(archive(b"hello"))
    (tmp_path / "models" / "notes.txt").write_text("no model")
    (tmp_path / "outside" / "a.tar.gz").write_bytes(archive(b"secret"))
    (tmp_path / "models" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "models" / "alias").symlink_to(tmp_path / "models" / "plain")
    return tmp_path / "models"


def archive(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as members:
        member = tarfile.TarInfo("weights")
        member.size = len(content)
        members.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("plain", "plain"),
        ("/plain", "plain"),
        ("hashed", "hashed/model"),
        ("hashed/model", "hashed/model"),
        ("deep/er", "deep/er"),
        ("deep/../plain", "plain"),
        ("packed.tar.gz", "packed.tar.gz"),
        ("alias", "plain"),
    ],
)
def test_target_must_be_found_below_the_base(base, target, found):
    """Folders, SageMaker's `<name>/model`, and archives; a link may point to what is below too."""
    assert source_for_target(target, base=base).path == base / found
    assert source_for_url(f"file://{base}/{target}", base=base).path == base / found
    assert source_for_url(f"{base}/{target}", base=base).path == base / found


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("", 400),
        (".", 400),
        ("..", 400),
        ("../outside", 400),
        ("../outside/a.tar.gz", 400),
        ("../nowhere", 400),
        ("plain/../../outside", 400),
        ("link/model", 400),
        ("link/a.tar.gz", 400),
        ("notes.txt", 400),
        ("a\0b", 400),
        ("x" * 5000, 400),
        ("missing", 404),
        ("notes.txt/deeper", 404),
    ],
)
def test_target_outside_or_missing_must_be_refused(base, target, status):
    """Nothing outside the base is read, nor is it told whether it exists."""
    with pytest.raises(RequestError) as refused:
        source_for_target(target, base=base)
    assert refused.value.status == status


@pytest.mark.parametrize("url", ["plain", "s3://bucket/model", "http://host/model", "", "file://plain"])
def test_url_that_is_no_path_must_be_refused(base, url):
    """The model must be on this machine already."""
    with pytest.raises(RequestError, match="absolute path"):
        source_for_url(url, base=base)


@pytest.mark.parametrize("url", ["/etc/passwd", "/etc", "/", "file:///etc/passwd"])
def test_url_outside_must_be_refused(base, url):
    """An absolute path elsewhere is refused whatever is there."""
    with pytest.raises(RequestError, match="leaves"):
        source_for_url(url, base=base)


def test_opened_archive_must_be_removed_when_closed(base):
    """An archive is unpacked into a folder of its own for as long as the model is loaded."""
    opened = OpenedSource(source_for_target("packed.tar.gz", base=base), limit_bytes=100)
    assert (opened.folder / "weights").read_bytes() == b"hello"
    opened.close()
    assert not opened.folder.exists()


def test_opened_folder_must_stay(base):
    """What nobody unpacked nobody removes."""
    opened = OpenedSource(source_for_target("plain", base=base), limit_bytes=100)
    opened.close()
    assert opened.folder.is_dir()


def test_archive_over_the_limit_must_leave_nothing(base, tmp_path, monkeypatch):
    """A bomb is refused, and what it unpacked is removed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "outside" / "model"))
    with pytest.raises(ArtifactError, match="more than 4 bytes"):
        OpenedSource(source_for_target("packed.tar.gz", base=base), limit_bytes=4)
    assert list((tmp_path / "outside" / "model").iterdir()) == []


def test_file_bytes_must_count_every_file(tmp_path):
    """The size of a folder is that of the files below it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(b"123")
    (tmp_path / "a" / "b" / "y").write_bytes(b"45")
    assert ModelSource("", path=tmp_path / "a").file_bytes() == 5
    assert ModelSource("", path=tmp_path / "a" / "x").file_bytes() == 3
