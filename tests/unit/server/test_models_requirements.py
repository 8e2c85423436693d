"""code/requirements.txt: refused unless allowed, installed into a folder of its own, clear where it fails."""

import importlib
import sys
import tempfile
import zipfile
from importlib import metadata

import pytest

from sagebrush_server.models import requirements
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.requirements import install_requirements
from sagebrush_server.models.settings import LoadingSettings

ALLOWED = LoadingSettings(requirements=True)


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Nothing is installed for other tests, and no index is asked."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    importlib.invalidate_caches()


def wheel(folder, name, *, version="1.0", code="VALUE = 41 + 1\n"):
    """A package of one module, as a wheel."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/top_level.txt", f"{name}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def listed(folder, *lines):
    path = folder / "code" / "requirements.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_no_requirements_must_be_no_matter(tmp_path):
    """Most artifacts have none."""
    install_requirements(tmp_path / "code" / "requirements.txt", settings=LoadingSettings())


def test_requirements_must_need_the_allowance(tmp_path):
    """The line to add is in the message; nothing is installed."""
    with pytest.raises(
        ModelError, match=r"add `allow: \[Requirements\]` to spec.model \(SAGEBRUSH_MODEL_ALLOW=Requirements\)"
    ):
        install_requirements(listed(tmp_path, "anything"), settings=LoadingSettings())
    assert not list((tmp_path / "tmp").iterdir())


def test_requirements_must_be_installed_once_and_importable(tmp_path, monkeypatch):
    """What the server has counts as installed; a second process finds the work done."""
    package = wheel(tmp_path / "wheels", "own_package_of_a_test")
    path = listed(tmp_path, str(package), "numpy")
    install_requirements(path, settings=ALLOWED)
    assert importlib.import_module("own_package_of_a_test").VALUE == 42
    installed = {one.metadata["Name"] for one in metadata.distributions(path=[sys.path[0]])}
    assert "own_package_of_a_test" in installed
    assert "numpy" not in installed
    monkeypatch.setattr(requirements, "_install", lambda *_, **__: pytest.fail("installed twice"))
    install_requirements(path, settings=ALLOWED)


def test_requirements_that_fail_must_say_why(tmp_path):
    """pip's own sentence, in one line."""
    with pytest.raises(ModelError, match=r"code/requirements.txt can't be installed: ERROR: .*no-such-package"):
        install_requirements(listed(tmp_path, "no-such-package==9"), settings=ALLOWED)


def test_requirement_that_replaces_what_is_in_use_must_be_refused(tmp_path, monkeypatch):
    """Half of a library of one version and half of another is no library."""
    import numpy as np

    def install(_, *, folder):
        site = folder / "venv" / "lib" / "python3.11" / "site-packages"
        site.mkdir(parents=True)
        with zipfile.ZipFile(wheel(tmp_path / "wheels", "numpy", version="99.0")) as archive:
            archive.extractall(site)

    monkeypatch.setattr(requirements, "_install", install)
    with pytest.raises(ModelError, match=f"needs numpy 99.0, but the server works with {np.__version__}"):
        install_requirements(listed(tmp_path, "numpy==99"), settings=ALLOWED)


def test_folder_of_somebody_else_must_not_be_trusted(tmp_path, monkeypatch):
    """/tmp is anybody's: what lies there under the expected name may not be ours."""
    monkeypatch.setattr(requirements.os, "getuid", lambda: 12345)
    with pytest.raises(ModelError, match="belongs to somebody else"):
        install_requirements(listed(tmp_path, "numpy"), settings=ALLOWED)
