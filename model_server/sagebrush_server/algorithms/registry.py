"""Built-in algorithms by SageMaker's name. A module is imported only when its algorithm is asked for."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sagebrush_server.algorithms.model import Model

if TYPE_CHECKING:
    from sagebrush_server.training.job import TrainingInput

MODEL_FILE: Final = "model.json"
"""The file, directly in the model folder, that says which algorithm made it."""


class UnknownAlgorithmError(LookupError):
    """No built-in algorithm has this name; the message lists those there are."""


@dataclass(frozen=True)
class Algorithm:
    """Where an algorithm's two halves live, as `module:function`, so that serving never imports the training half."""

    train: str
    load: str

    def trainer(self) -> "Callable[[TrainingInput], None]":
        """Import the function that trains and saves a model."""
        return cast("Callable[[TrainingInput], None]", _resolve(self.train))

    def loader(self) -> Callable[[Path], Model]:
        """Import the function that reads a model folder."""
        return cast("Callable[[Path], Model]", _resolve(self.load))


_NAMES: Final = ("linear-learner", "xgboost", "kmeans", "pca", "random-cut-forest", "knn", "factorization-machines")

ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    name: Algorithm(train=f"{package}.training:train", load=f"{package}.prediction:load")
    for name in _NAMES
    for package in (f"sagebrush_server.algorithms.{name.replace('-', '_')}",)
}


def find_algorithm(name: str) -> Algorithm:
    """Return the algorithm called `name`. Raises UnknownAlgorithmError."""
    try:
        return ALGORITHMS[name]
    except KeyError:
        known = ", ".join(sorted(ALGORITHMS))
        raise UnknownAlgorithmError(f"there is no built-in algorithm {name!r}; there are: {known}") from None


def _resolve(reference: str) -> object:
    module, _, attribute = reference.partition(":")
    return cast("object", getattr(importlib.import_module(module), attribute))
