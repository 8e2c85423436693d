"""Python objects from files: pickles where the manifest allows unpickling, skops files of types that are trusted."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.lean_imports import forget_lean_imports
from sagebrush_server.models.settings import LoadingSettings


def load_stored(path: Path, *, settings: LoadingSettings) -> Any:
    """Load a pickle (joblib's too) or a skops file. Raises ModelError with the line to write where it is refused."""
    forget_lean_imports()
    if zipfile.is_zipfile(path):
        return _load_skops(path, settings=settings)
    if not settings.unpickling:
        raise ModelError(
            f"{path.name} is a pickle, and loading one runs whatever code its maker put into it. If you trust it, add "
            "`allow: [Unpickling]` to spec.model (SAGEBRUSH_MODEL_ALLOW=Unpickling); better, save the model with skops "
            "or as ONNX"
        )
    try:
        import joblib

        return joblib.load(path)
    except ModuleNotFoundError as problem:
        raise ModelError(
            f"{path.name} needs the module {problem.name!r}, which the server doesn't have; name its package in "
            "code/requirements.txt and add Requirements to spec.model.allow, or serve it by an image of your own"
        ) from problem
    except Exception as problem:  # unpickling raises whatever the objects raise
        raise ModelError(f"{path.name} can't be unpickled: {type(problem).__name__}: {problem}") from problem


def _load_skops(path: Path, *, settings: LoadingSettings) -> Any:
    import skops.io

    try:
        untrusted = set(skops.io.get_untrusted_types(file=path))
        unknown = sorted(untrusted - settings.trusted_types)
        stored = None if unknown else skops.io.load(path, trusted=sorted(untrusted))
    except (ImportError, AttributeError, ValueError, TypeError, KeyError, OSError, pickle.PickleError) as problem:
        raise ModelError(f"{path.name} can't be loaded by skops: {type(problem).__name__}: {problem}") from problem
    if unknown:
        raise ModelError(
            f"{path.name} holds types that skops doesn't know as safe: {', '.join(unknown)}. If you trust them, add them "
            f"to spec.model: `allow: [{', '.join(unknown)}]` (SAGEBRUSH_MODEL_ALLOW={','.join(unknown)})"
        )
    return stored
