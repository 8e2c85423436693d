"""The losses of linear learner and their gradients, for many models at once."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO

Array = NDArray[np.float64]

_AUTO_LOSS: Final = {
    "binary_classifier": "logistic",
    "multiclass_classifier": "softmax_loss",
    "regressor": "squared_loss",
}


def resolve_loss(settings: dict[str, Any]) -> str:
    """Return the loss that `auto` stands for, or the one asked for."""
    return _AUTO_LOSS[settings["predictor_type"]] if settings["loss"] == AUTO else str(settings["loss"])


def loss_and_gradient(outputs: Array, *, targets: Array, settings: dict[str, Any]) -> tuple[Array, Array]:
    """Return the loss of n rows for m models (n×m), and its derivative by the outputs (n×m×k).

    `outputs` is n×m×k, k = 1 but for `softmax_loss`; `targets` has n labels: 0/1, the class, or the normalised value.
    """
    loss = resolve_loss(settings)
    if loss == "softmax_loss":
        return _softmax(outputs, classes=targets.astype(np.intp))
    single, wanted = outputs[:, :, 0], targets[:, np.newaxis]
    each, gradient = _single(loss, single, wanted=wanted, settings=settings)
    return each, gradient[:, :, np.newaxis]


def _single(loss: str, outputs: Array, *, wanted: Array, settings: dict[str, Any]) -> tuple[Array, Array]:
    if loss == "logistic":
        shrunk = np.exp(-np.abs(outputs))
        each = np.log1p(shrunk) + np.maximum(outputs, 0.0) - wanted * outputs
        return each, np.where(outputs >= 0, 1.0, shrunk) / (1.0 + shrunk) - wanted
    if loss == "hinge_loss":
        sign = 2 * wanted - 1
        short = settings["margin"] - sign * outputs
        return np.maximum(short, 0.0), np.where(short > 0, -sign, 0.0)
    return _of_error(loss, outputs - wanted, settings=settings)


def _of_error(loss: str, error: Array, *, settings: dict[str, Any]) -> tuple[Array, Array]:
    """Return a regressor's loss and its derivative by the error (output less label)."""
    size, sign = np.abs(error), np.sign(error)
    beyond = np.maximum(size - settings["loss_insensitivity"], 0.0)
    match loss:
        case "squared_loss":
            found = error**2, 2 * error
        case "absolute_loss":
            found = size, sign
        case "eps_insensitive_absolute_loss":
            found = beyond, sign * (beyond > 0)
        case "eps_insensitive_squared_loss":
            found = beyond**2, 2 * sign * beyond
        case "huber_loss":
            delta = settings["huber_delta"]
            found = np.where(size <= delta, error**2 / 2, delta * (size - delta / 2)), np.clip(error, -delta, delta)
        case "quantile_loss":
            # Outputs below the label cost `quantile` a unit, those above it 1 - `quantile`.
            slope = np.where(error >= 0, 1 - settings["quantile"], -settings["quantile"])
            found = slope * error, slope
        case unknown:
            raise ValueError(unknown)
    return found


def _softmax(outputs: Array, *, classes: NDArray[np.intp]) -> tuple[Array, Array]:
    rows = np.arange(len(classes))
    raised = np.exp(outputs - outputs.max(axis=2, keepdims=True))
    shares = raised / raised.sum(axis=2, keepdims=True)
    with np.errstate(divide="ignore"):
        each = -np.log(shares[rows, :, classes])
    shares[rows, :, classes] -= 1.0
    return each, shares
