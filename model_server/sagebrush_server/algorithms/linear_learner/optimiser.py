"""Stochastic gradient descent by scikit-learn, fed mini-batch by mini-batch, with SageMaker's learning-rate schedule.

scikit-learn updates the weights after every row of a mini-batch; `mini_batch_size` is the number of rows handed over at
once, and the unit in which `lr_scheduler_step` counts.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier, SGDRegressor

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.algorithms.linear_learner.preparation import Examples
from sagebrush_server.errors import ClientError

Array = NDArray[np.float64]

AUTO_LEARNING_RATE: Final = 0.005
AUTO_WEIGHT_DECAY: Final = 1e-5
AUTO_RATE_FACTOR: Final = 0.9
AUTO_MINIMUM_RATE: Final = 1e-5

_SKLEARN_LOSSES: Final = {
    "logistic": "log_loss",
    "hinge_loss": "hinge",
    "squared_loss": "squared_error",
    "absolute_loss": "epsilon_insensitive",
    "eps_insensitive_absolute_loss": "epsilon_insensitive",
    "eps_insensitive_squared_loss": "squared_epsilon_insensitive",
    "huber_loss": "huber",
}


def resolve_loss(settings: dict[str, Any]) -> str:
    """Return the loss that `auto` stands for, or the one asked for."""
    if settings["loss"] != AUTO:
        return str(settings["loss"])
    return "squared_loss" if settings["predictor_type"] == "regressor" else "logistic"


class Optimiser:
    """One model being trained. Deterministic for a given seed."""

    def __init__(self, settings: dict[str, Any], *, rows: int, seed: int) -> None:
        loss = resolve_loss(settings)
        l1 = 0.0 if settings["l1"] == AUTO else settings["l1"]
        decay = AUTO_WEIGHT_DECAY if settings["wd"] == AUTO else settings["wd"]
        self._rate = AUTO_LEARNING_RATE if settings["learning_rate"] == AUTO else settings["learning_rate"]
        self._batch = settings["mini_batch_size"]
        self._schedule(settings, batches=-(-rows // self._batch))
        epsilon = {"huber_loss": settings["huber_delta"], "absolute_loss": 0.0}.get(
            loss, settings["loss_insensitivity"]
        )
        options = {
            "loss": _SKLEARN_LOSSES[loss],
            # With alpha = l1 + wd and this ratio, the penalty is l1 · |w| + wd / 2 · w².
            "penalty": "elasticnet" if l1 + decay > 0 else None,
            "alpha": l1 + decay,
            "l1_ratio": l1 / (l1 + decay) if l1 + decay > 0 else 0.0,
            "epsilon": epsilon,
            "fit_intercept": bool(settings["use_bias"]),
            "learning_rate": "constant",
            "eta0": self._rate,
            "shuffle": False,
            "random_state": seed,
        }
        self._regressor = settings["predictor_type"] == "regressor"
        self._estimator = SGDRegressor(**options) if self._regressor else SGDClassifier(**options)
        self._classes = np.arange(settings["num_classes"] or 2, dtype=np.float64)
        self._random = np.random.default_rng(seed)

    def _schedule(self, settings: dict[str, Any], *, batches: int) -> None:
        step, factor = settings["lr_scheduler_step"], settings["lr_scheduler_factor"]
        floor = settings["lr_scheduler_minimum_lr"]
        self._steps = 0
        self._step = (batches if step == AUTO else step) if settings["use_lr_scheduler"] else 0
        self._factor = AUTO_RATE_FACTOR if factor == AUTO else factor
        self._floor = min(self._rate, AUTO_MINIMUM_RATE if floor == AUTO else floor)

    def run_epoch(self, examples: Examples) -> None:
        """See every row once, in a new random order. Raises ClientError where the weights overflow."""
        order = self._random.permutation(len(examples.targets))
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            batch = {"sample_weight": examples.weights[rows]}
            if not self._regressor:
                batch["classes"] = self._classes
            try:
                self._estimator.partial_fit(examples.features[rows], examples.targets[rows], **batch)
            except ValueError as problem:
                if "overflow" in str(problem):
                    raise ClientError(_DIVERGED) from problem
                raise
            self._steps += 1
            if self._step and self._steps % self._step == 0:
                self._rate = max(self._rate * self._factor, self._floor)
                self._estimator.eta0 = self._rate
        weights, bias = self.weights()
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ClientError(_DIVERGED)

    def weights(self) -> tuple[Array, Array]:
        """Return copies of the k×d weights and the k biases."""
        weights = np.atleast_2d(np.array(self._estimator.coef_, dtype=np.float64))
        bias = np.zeros(len(weights)) + np.array(self._estimator.intercept_, dtype=np.float64)
        return weights, bias


_DIVERGED: Final = "training diverged: the weights overflowed; lower learning_rate or leave normalize_data=true"
