"""Mini-batch gradient descent on many models at once: the weights of all of them are the columns of one matrix."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.algorithms.linear_learner.candidates import Candidate, resolve_optimizer
from sagebrush_server.algorithms.linear_learner.losses import loss_and_gradient
from sagebrush_server.algorithms.linear_learner.preparation import Examples

Array = NDArray[np.float64]

AUTO_MOMENTUM: Final = 0.9
AUTO_BETA_1: Final = 0.9
AUTO_BETA_2: Final = 0.999
AUTO_RATE_FACTOR: Final = 0.9
AUTO_MINIMUM_RATE: Final = 1e-5
_RMSPROP_DECAY: Final = 0.9
_SMALL: Final = 1e-8


def _given(value: Any, *, auto: float) -> float:
    return auto if value == AUTO else float(value)


class Optimiser:
    """m models of k outputs over d features being trained. Deterministic for a given seed.

    `weights` is d×(m·k), the columns of a model side by side, `bias` has m·k values; both in the space of normalised rows.
    """

    def __init__(
        self, settings: dict[str, Any], *, candidates: Sequence[Candidate], width: int, outputs: int, seed: int
    ) -> None:
        self._settings = settings
        self.models, self.outputs = len(candidates), outputs
        random = np.random.default_rng(seed)
        columns = self.models * outputs
        if settings["init_method"] == "uniform":
            self.weights = random.uniform(-settings["init_scale"], settings["init_scale"], size=(width, columns))
        else:
            self.weights = random.normal(0.0, settings["init_sigma"], size=(width, columns))
        use_bias = bool(settings["use_bias"])
        self.bias = np.full(columns, settings["init_bias"] if use_bias else 0.0)
        self.positive_weights = np.array([candidate.positive_weight for candidate in candidates])
        self._rates, self._l1, self._decay = (
            np.repeat([getattr(candidate, name) for candidate in candidates], outputs)
            for name in ("learning_rate", "l1", "wd")
        )
        self._bias_rate = _given(settings["bias_lr_mult"], auto=1.0) if use_bias else 0.0
        self._bias_decay = _given(settings["bias_wd_mult"], auto=0.0)
        rules: dict[str, Callable[..., _Rule]] = {"adam": _Adam, "rmsprop": _RmsProp, "sgd": _Sgd}
        rule = rules[resolve_optimizer(settings)]
        self._rules = rule(self.weights.shape, settings=settings), rule(self.bias.shape, settings=settings)
        self._steps = 0
        self._step = 0 if settings["lr_scheduler_step"] == AUTO else settings["lr_scheduler_step"]
        self._schedule = bool(settings["use_lr_scheduler"])
        self._factor = _given(settings["lr_scheduler_factor"], auto=AUTO_RATE_FACTOR)
        self._floor = np.minimum(self._rates, _given(settings["lr_scheduler_minimum_lr"], auto=AUTO_MINIMUM_RATE))

    def step(self, batch: Examples) -> tuple[Array, Array]:
        """Learn from a batch. Return each model's summed weighted loss before the step, and the sum of its weights.

        A model whose loss overflows spoils no other: it becomes NaN by itself.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = batch.outputs(self.weights, self.bias).reshape(len(batch), self.models, self.outputs)
            losses, slopes = loss_and_gradient(outputs, targets=batch.targets, settings=self._settings)
            importance = batch.importance(self.positive_weights)
            total = importance.sum(axis=0)
            slopes = slopes * (importance / total)[:, :, np.newaxis]
            slopes = slopes.reshape(len(batch), -1)
            gradient = batch.gradient(slopes) + self._decay * self.weights
            bias_gradient = slopes.sum(axis=0) + self._decay * self._bias_decay * self.bias
            self.weights -= self._rates * self._rules[0].direction(gradient)
            self.bias -= self._bias_rate * self._rates * self._rules[1].direction(bias_gradient)
            if self._l1.any():
                # The proximal step of l1·|w|: it makes weights exactly 0.
                shrink = self._rates * self._l1
                self.weights = np.sign(self.weights) * np.maximum(np.abs(self.weights) - shrink, 0.0)
        self._steps += 1
        if self._step and self._steps % self._step == 0:
            self._slow_down()
        return (losses * importance).sum(axis=0), total

    def end_epoch(self) -> None:
        """Lower the learning rates, where `lr_scheduler_step` is auto: once an epoch."""
        if not self._step:
            self._slow_down()

    def _slow_down(self) -> None:
        if self._schedule:
            self._rates = np.maximum(self._rates * self._factor, self._floor)


class _Rule(Protocol):
    def direction(self, gradient: Array) -> Array: ...


class _Adam:
    """Kingma and Ba: "Adam: A Method for Stochastic Optimization", 2015."""

    def __init__(self, shape: tuple[int, ...], *, settings: dict[str, Any]) -> None:
        self._mean, self._square = np.zeros(shape), np.zeros(shape)
        self._first = _given(settings["beta_1"], auto=AUTO_BETA_1)
        self._second = _given(settings["beta_2"], auto=AUTO_BETA_2)
        self._steps = 0

    def direction(self, gradient: Array) -> Array:
        """Return what is subtracted from the parameters, times the learning rate."""
        self._steps += 1
        self._mean += (1 - self._first) * (gradient - self._mean)
        self._square += (1 - self._second) * (gradient**2 - self._square)
        mean = self._mean / (1 - self._first**self._steps)
        square = self._square / (1 - self._second**self._steps)
        return np.asarray(mean / (np.sqrt(square) + _SMALL))


class _RmsProp:
    """Gradients divided by the root of their decaying mean square."""

    def __init__(self, shape: tuple[int, ...], *, settings: dict[str, Any]) -> None:  # noqa: ARG002 – like the others
        self._square = np.zeros(shape)

    def direction(self, gradient: Array) -> Array:
        """See `_Adam.direction`."""
        self._square += (1 - _RMSPROP_DECAY) * (gradient**2 - self._square)
        return np.asarray(gradient / (np.sqrt(self._square) + _SMALL))


class _Sgd:
    """Gradient descent with momentum."""

    def __init__(self, shape: tuple[int, ...], *, settings: dict[str, Any]) -> None:
        self._momentum = _given(settings["momentum"], auto=AUTO_MOMENTUM)
        self._velocity = np.zeros(shape)

    def direction(self, gradient: Array) -> Array:
        """See `_Adam.direction`."""
        # Damped, so that the learning rate means the same with and without momentum.
        self._velocity = self._momentum * self._velocity + (1 - self._momentum) * gradient
        return self._velocity
