"""From a model folder to a model that can be served."""

from pathlib import Path

import orjson

from sagebrush_server.algorithms.model import Model
from sagebrush_server.algorithms.registry import MODEL_FILE, UnknownAlgorithmError, find_algorithm


class ModelError(Exception):
    """The model folder can't be served; the message says what it holds instead and what to do next."""


def load_model(folder: Path) -> Model:
    """Load the model that a built-in algorithm left in `folder`. Raises ModelError."""
    path = folder / MODEL_FILE
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(_describe(folder)) from None
    except (OSError, orjson.JSONDecodeError) as problem:
        raise ModelError(f"{path} can't be read: {problem}") from problem
    name = document.get("algorithm") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise ModelError(f"{path} names no algorithm; is it the model of a built-in algorithm?")
    try:
        return find_algorithm(name).loader()(folder)
    except UnknownAlgorithmError as problem:
        raise ModelError(f"{path}: {problem}") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise ModelError(f"{path} is not a {name} model: {problem!r}") from problem


def _describe(folder: Path) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as problem:
        return f"the model folder {folder} can't be read: {problem.strerror}"
    found = f"it holds {', '.join(names)}" if names else "it is empty"
    return (
        f"{folder} holds no {MODEL_FILE}, the model of a built-in algorithm ({found}); a model of another kind needs "
        "an image of its own in the endpoint's spec"
    )
