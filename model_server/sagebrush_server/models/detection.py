"""What a model folder holds, told by file names and first bytes, without loading anything."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sagebrush_server.algorithms.registry import MODEL_FILE
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.settings import LoadingSettings


class Format(StrEnum):
    """How a model is stored."""

    BUILT_IN = "the model of a built-in algorithm"
    SCRIPT = "code/inference.py"
    MLFLOW = "an MLflow model"
    SKOPS = "a skops file"
    PICKLE = "a pickle"
    XGBOOST = "an XGBoost model"
    LIGHTGBM = "a LightGBM model"
    ONNX = "an ONNX graph"


FORMATS: Final[Mapping[str, tuple[Format, ...]]] = {
    "scikit-learn": (Format.SKOPS, Format.PICKLE),
    "xgboost": (Format.XGBOOST, Format.SKOPS, Format.PICKLE),
    "lightgbm": (Format.LIGHTGBM, Format.SKOPS, Format.PICKLE),
    "onnx": (Format.ONNX,),
    "mlflow": (Format.MLFLOW,),
    "inference.py": (Format.SCRIPT,),
}
"""Formats of each framework that a manifest may name."""

_BY_SUFFIX: Final = {
    ".onnx": Format.ONNX,
    ".skops": Format.SKOPS,
    ".joblib": Format.PICKLE,
    ".pkl": Format.PICKLE,
    ".pickle": Format.PICKLE,
    ".ubj": Format.XGBOOST,
}
_BY_HEAD: Final = (
    (re.compile(rb'\s*\{\s*"learner"'), Format.XGBOOST),  # its JSON has its keys in order
    (re.compile(rb"\{L.{8}(learner|version)", re.DOTALL), Format.XGBOOST),  # its UBJSON
    (re.compile(rb"tree\r?\nversion="), Format.LIGHTGBM),
    (re.compile(rb"\x80[\x02-\x05]"), Format.PICKLE),
)
_KNOWN: Final = (
    "a built-in algorithm's model.json, code/inference.py, an MLmodel file, or one of *.skops, *.onnx, *.joblib, *.pkl, "
    "*.ubj, an XGBoost *.json, a LightGBM *.txt"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A model and how it is stored. `path` is the file; for MLflow and a script, the folder."""

    format: Format
    path: Path


def find_model(folder: Path, *, settings: LoadingSettings) -> Found:
    """Say what is to be served from `folder`. Raises ModelError, listing what was found and what to write."""
    root = _root_of(folder)
    names = _names(root)
    found = [one for one in (_look_at(root / name) for name in names) if one is not None]
    if _has_script(root, settings=settings):
        found.append(Found(Format.SCRIPT, root))
    holds = f"it holds {', '.join(_described(name, found=found) for name in names)}" if names else "it is empty"
    if settings.framework is not None:
        return _of_framework(settings.framework, found=found, root=root, names=names, holds=holds)
    for whole in (Format.SCRIPT, Format.BUILT_IN, Format.MLFLOW):  # these say what the other files are for
        for one in found:
            if one.format is whole:
                return one
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(
            f"{folder} holds more than one model ({holds}): name the one to serve by spec.model.framework "
            f"({', '.join(FORMATS)}), or leave one in the artifact"
        )
    raise ModelError(
        f"{folder} holds no {MODEL_FILE} of a built-in algorithm and no other model that is known ({holds}). Known are "
        f"{_KNOWN}. Where a file is one of these by another name, write spec.model.framework; a model of another kind "
        "needs code/inference.py in the artifact, or an image of its own in the endpoint's spec"
    )


def _of_framework(framework: str, *, found: list[Found], root: Path, names: list[str], holds: str) -> Found:
    wanted = FORMATS[framework]
    fitting = [one for one in found if one.format in wanted]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        own = [one for one in fitting if one.format is wanted[0]]
        if len(own) == 1:
            return own[0]
        several = ", ".join(one.path.name for one in fitting)
        raise ModelError(f"spec.model.framework is {framework}, and {root} holds several: {several}; leave one of them")
    if framework not in ("mlflow", "inference.py") and len(names) == 1 and (root / names[0]).is_file():
        return Found(wanted[0], root / names[0])  # the only file there is; its name tells nothing
    expected = " and no ".join(one.value.removeprefix("an ").removeprefix("a ") for one in wanted)
    raise ModelError(f"spec.model.framework is {framework}, but {root} holds no {expected} ({holds})")


def _root_of(folder: Path) -> Path:
    """An archive of one folder is that folder."""
    entries = _names(folder)
    if len(entries) == 1 and entries[0] != "code" and (folder / entries[0]).is_dir():
        return folder / entries[0]
    return folder


def _names(folder: Path) -> list[str]:
    """Names in `folder`, sorted, without hidden ones (macOS packs ._ files beside every file)."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as problem:
        raise ModelError(f"the model folder {folder} can't be read: {problem.strerror}") from problem


def _has_script(root: Path, *, settings: LoadingSettings) -> bool:
    return settings.submit_directory is not None or (root / "code" / settings.program).is_file()


def _described(name: str, *, found: list[Found]) -> str:
    for one in found:
        if one.path.name == name:
            return f"{name}: {one.format.value}"
    return name


def _look_at(path: Path) -> Found | None:
    """What a file is; None where nothing that is known."""
    if not path.is_file():
        return None
    if path.name == "MLmodel":
        return Found(Format.MLFLOW, path.parent)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as problem:
        raise ModelError(f"{path} can't be read: {problem.strerror}") from problem
    form = next((form for pattern, form in _BY_HEAD if pattern.match(head)), None)
    form = form or _BY_SUFFIX.get(path.suffix.lower())
    if form is None and path.name == MODEL_FILE:
        form = Format.BUILT_IN
    return Found(form, path) if form else None
