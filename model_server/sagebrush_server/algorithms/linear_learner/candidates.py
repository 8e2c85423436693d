"""The models that are trained side by side (`num_models`): each with its own learning rate, penalties and class weight."""

import itertools
from dataclasses import dataclass
from typing import Any, Final

from sagebrush_server.algorithms.hyperparameters import AUTO

AUTO_MODELS: Final = 32
"""As many as SageMaker trains."""

_MOST_WEIGHTS: Final = 2**24
"""With `num_models` auto, all models together have no more weights than this: 128 MiB, and the optimizer twice that."""

RATES: Final = {
    # The best first: where fewer models are asked for, the last ones are left out.
    "adam": (0.1, 0.03, 0.3, 0.01, 0.05, 0.003, 0.6, 0.001),
    "rmsprop": (0.03, 0.01, 0.1, 0.003, 0.05, 0.02, 0.2, 0.001),
    "sgd": (0.1, 0.03, 0.3, 0.01, 1.0, 0.05, 0.5, 0.003),
}
L1: Final = (0.0, 1e-5)
WEIGHT_DECAY: Final = (1e-5, 1e-3)
_POSITIVE_POWERS: Final = (0.0, 0.5, 1.0, 1.5)
"""Tried for `positive_example_weight_mult` auto: the balanced weight to these powers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is particular to one of the models."""

    learning_rate: float
    l1: float
    wd: float
    positive_weight: float = 1.0


def resolve_optimizer(settings: dict[str, Any]) -> str:
    """Return the optimizer that `auto` stands for, or the one asked for."""
    return "adam" if settings["optimizer"] == AUTO else str(settings["optimizer"])


def choose_candidates(settings: dict[str, Any], *, weights: int, balanced: float) -> list[Candidate]:
    """Return the models to train: what the user has set is the same in all, what is auto varies.

    `weights` is the number of weights of one model, `balanced` the positive weight at which both labels count the same.
    More models than there are combinations differ by their first weights only.
    """
    rates = RATES[resolve_optimizer(settings)] if settings["learning_rate"] == AUTO else (settings["learning_rate"],)
    sparse = L1 if settings["l1"] == AUTO else (settings["l1"],)
    decays = WEIGHT_DECAY if settings["wd"] == AUTO else (settings["wd"],)
    factor = settings["positive_example_weight_mult"]
    if factor == AUTO:
        positive = tuple(balanced**power for power in _POSITIVE_POWERS)
    else:
        positive = (balanced if factor == "balanced" else factor,)
    combinations = [
        Candidate(rate, l1=l1, wd=wd, positive_weight=weight)
        for l1, wd, weight, rate in itertools.product(sparse, decays, positive, rates)
    ]
    if settings["num_models"] != AUTO:
        return list(itertools.islice(itertools.cycle(combinations), settings["num_models"]))
    most = max(1, min(AUTO_MODELS, _MOST_WEIGHTS // weights))
    return combinations[:most]
