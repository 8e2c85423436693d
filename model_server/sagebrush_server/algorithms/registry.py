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


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "linear-learner": Algorithm(
        train="sagebrush_server.algorithms.linear_learner.training:train",
        load="sagebrush_server.algorithms.linear_learner.prediction:load",
    ),
    "kmeans": Algorithm(
        train="sagebrush_server.algorithms.kmeans.training:train",
        load="sagebrush_server.algorithms.kmeans.prediction:load",
    ),
    "pca": Algorithm(
        train="sagebrush_server.algorithms.pca.training:train",
        load="sagebrush_server.algorithms.pca.prediction:load",
    ),
    "random-cut-forest": Algorithm(
        train="sagebrush_server.algorithms.random_cut_forest.training:train",
        load="sagebrush_server.algorithms.random_cut_forest.prediction:load",
    ),
    "knn": Algorithm(
        train="sagebrush_server.algorithms.knn.training:train",
        load="sagebrush_server.algorithms.knn.prediction:load",
    ),
    "factorization-machines": Algorithm(
        train="sagebrush_server.algorithms.factorization_machines.training:train",
        load="sagebrush_server.algorithms.factorization_machines.prediction:load",
    ),
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
