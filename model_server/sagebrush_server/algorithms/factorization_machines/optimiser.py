"""Adam on the three parts of a factorization machine, for sparse rows: what a mini-batch doesn't touch costs nothing.

Source: D. Kingma and J. Ba, "Adam: a method for stochastic optimization" (2015).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.factorization_machines.machine import logistic

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from sagebrush_server.training.collective import Collective

Array = NDArray[np.float64]

_FIRST_DECAY: Final = 0.9
_SECOND_DECAY: Final = 0.999


class Part:
    """Parameters (one row for each feature, or a single one) with their running moments."""

    def __init__(self, values: Array, *, rate: float, decay: float, settings: Mapping[str, Any]) -> None:
        self.values = values
        self._rate, self._decay = rate, decay
        self._eps, self._clip = settings["eps"], settings["clip_gradient"]
        self._first, self._second = np.zeros_like(values), np.zeros_like(values)

    def step(self, gradient: Array, *, at: NDArray[np.int64], time: int) -> None:
        """Move the rows `at` by one step. `gradient` is rescaled already; weight decay is added here, then it is clipped."""
        values = self.values[at]
        gradient = gradient + self._decay * values
        if self._clip is not None:
            gradient = np.clip(gradient, -self._clip, self._clip)
        first = _FIRST_DECAY * self._first[at] + (1 - _FIRST_DECAY) * gradient
        second = _SECOND_DECAY * self._second[at] + (1 - _SECOND_DECAY) * gradient**2
        self._first[at], self._second[at] = first, second
        size = np.sqrt(second / (1 - _SECOND_DECAY**time)) + self._eps
        self.values[at] = values - self._rate * (first / (1 - _FIRST_DECAY**time)) / size


class Optimiser:
    """The parameters, from their start to where the mini-batches bring them."""

    def __init__(self, settings: Mapping[str, Any], *, rng: np.random.Generator) -> None:
        self._settings = settings
        width, count = settings["feature_dim"], settings["num_factors"]
        self._parts = {
            name: Part(
                start(name, shape=shape, settings=settings, rng=rng),
                rate=settings[f"{name}_lr"],
                decay=settings[f"{name}_wd"],
                settings=settings,
            )
            for name, shape in (("bias", (1,)), ("linear", (width,)), ("factors", (width, count)))
        }
        for name, switch in (("bias", "use_bias"), ("linear", "use_linear")):
            if not settings[switch]:
                self._parts[name].values[:] = 0.0
        self._time = 0

    @property
    def bias(self) -> float:
        """The constant term."""
        return float(self._parts["bias"].values[0])

    @property
    def linear(self) -> Array:
        """The factor of each feature (d values)."""
        return self._parts["linear"].values

    @property
    def factors(self) -> Array:
        """The factors of each feature (d×k)."""
        return self._parts["factors"].values

    def agree(self, collective: "Collective", *, rows: float) -> None:
        """Take the mean of the hosts' parameters, each weighted with the number of its rows."""
        for part in self._parts.values():
            part.values = collective.mean(part.values, weight=rows)

    def step(self, rows: "csr_matrix", *, labels: Array) -> Array:
        """Learn from n sparse rows and return their outputs before that, infinite or NaN where training diverges."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._step(rows, labels=labels)

    def _step(self, rows: "csr_matrix", *, labels: Array) -> Array:
        touched, inverse = np.unique(rows.indices, return_inverse=True)
        # The same rows with the columns that occur in them alone.
        narrow = type(rows)((rows.data, inverse, rows.indptr), shape=(rows.shape[0], max(len(touched), 1)))
        at = touched.astype(np.int64) if len(touched) else np.zeros(1, dtype=np.int64)
        factors = self.factors[at]
        squares = narrow.multiply(narrow).tocsr()
        sums = narrow @ factors
        pairs = 0.5 * ((sums**2).sum(axis=1) - squares @ (factors**2).sum(axis=1))
        outputs = np.asarray(self.bias + narrow @ self.linear[at] + pairs)
        binary = self._settings["predictor_type"] == "binary_classifier"
        # The derivative of the loss by the output: of the cross-entropy, or of half the squared error.
        slope = ((logistic(outputs) if binary else outputs) - labels) * self._rescale()
        gradients = {
            "linear": narrow.T @ slope,
            "factors": narrow.T @ (slope[:, np.newaxis] * sums) - (squares.T @ slope)[:, np.newaxis] * factors,
        }
        self._time += 1
        if self._settings["use_bias"]:
            self._parts["bias"].step(slope.sum(keepdims=True), at=np.zeros(1, dtype=np.int64), time=self._time)
        if self._settings["use_linear"]:
            self._parts["linear"].step(gradients["linear"], at=at, time=self._time)
        self._parts["factors"].step(gradients["factors"], at=at, time=self._time)
        return outputs

    def _rescale(self) -> float:
        given = self._settings["rescale_grad"]
        return float(1.0 / self._settings["mini_batch_size"] if given is None else given)


def start(name: str, *, shape: tuple[int, ...], settings: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Return the values that the part `name` starts from, as its `_init_` hyperparameters say."""
    match settings[f"{name}_init_method"]:
        case "normal":
            return rng.normal(0.0, settings[f"{name}_init_sigma"], size=shape)
        case "uniform":
            scale = settings[f"{name}_init_scale"]
            return rng.uniform(-scale, scale, size=shape)
        case "constant":
            return np.full(shape, settings[f"{name}_init_value"], dtype=np.float64)
        case unknown:
            raise ValueError(unknown)
