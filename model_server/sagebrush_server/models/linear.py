"""scikit-learn's linear models and scalers by their own numbers: the same operations, without 60-130 µs of checks a call."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.models.bare import Classes

Floats = NDArray[np.float64]
Transform = Callable[[Floats], Floats]

_REGRESSORS: Final = frozenset(
    (
        "ARDRegression",
        "BayesianRidge",
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lars",
        "Lasso",
        "LassoCV",
        "LassoLars",
        "LinearRegression",
        "LinearSVR",
        "Ridge",
        "RidgeCV",
        "SGDRegressor",
    )
)
_WITH_PROBABILITIES: Final = frozenset(("LogisticRegression", "LogisticRegressionCV", "SGDClassifier"))
_CLASSIFIERS: Final = _WITH_PROBABILITIES | frozenset(("LinearSVC", "PassiveAggressiveClassifier", "Perceptron"))


def transform_of(step: Any) -> Transform | None:
    """Return what a scaler does to dense rows, to the bit; None for a step that isn't known here."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return lambda rows: rows
    if not _is_own(step):
        return None
    name = type(step).__name__
    if name == "StandardScaler":
        mean, scale = step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None
        return lambda rows: _standardised(rows, mean=mean, scale=scale)
    if name == "MinMaxScaler" and not step.clip:
        return lambda rows: np.add(rows * step.scale_, step.min_)
    if name == "MaxAbsScaler" and not getattr(step, "clip", False):
        return lambda rows: np.divide(rows, step.scale_)
    return None


def _standardised(rows: Floats, *, mean: Floats | None, scale: Floats | None) -> Floats:
    if mean is not None:
        rows = rows - mean
    return rows / scale if scale is not None else rows


def _is_own(estimator: Any) -> bool:
    """Whether its class is scikit-learn's own, not one derived from it that may do something else."""
    return type(estimator).__module__.startswith("sklearn.")


def linear_regressor(estimator: Any) -> Callable[[Floats], Floats] | None:
    """Return what `predict` computes, for a linear regressor with numbers in float64; None for another estimator."""
    if not _is_own(estimator) or type(estimator).__name__ not in _REGRESSORS or not _is_float64(estimator):
        return None
    coefficients, intercept = estimator.coef_, estimator.intercept_
    weights = coefficients if coefficients.ndim == 1 else coefficients.T
    return lambda rows: rows @ weights + intercept


def linear_classifier(estimator: Any) -> Callable[[Floats], Classes] | None:
    """Return what `decision_function`, `predict` and `predict_proba` compute; None for another estimator."""
    if not _is_own(estimator) or type(estimator).__name__ not in _CLASSIFIERS or not _is_float64(estimator):
        return None
    weights, intercept = estimator.coef_.T, estimator.intercept_
    if estimator.coef_.ndim != 2 or getattr(estimator.classes_, "ndim", 0) != 1:
        return None
    probabilities = _probabilities_of(estimator)
    if estimator.coef_.shape[0] == 1:

        def one(rows: Floats) -> Classes:
            raw = (rows @ weights + intercept).reshape(-1)
            return Classes((raw > 0).astype(np.intp), raw=raw, probabilities=probabilities(raw))

        return one

    def several(rows: Floats) -> Classes:
        raw = rows @ weights + intercept
        return Classes(raw.argmax(axis=1), raw=raw, probabilities=probabilities(raw))

    return several


def _probabilities_of(estimator: Any) -> Callable[[Floats], Floats | None]:
    from scipy.special import expit

    def of_one(raw: Floats) -> Floats:
        return both(expit(raw))

    def of_each(raw: Floats) -> Floats:
        shares: Floats = expit(raw)
        total = shares.sum(axis=1, keepdims=True)
        shares[total[:, 0] == 0] = 1
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def none(_: Floats) -> None:
        return None

    name = type(estimator).__name__
    if name not in _WITH_PROBABILITIES or (name == "SGDClassifier" and estimator.loss != "log_loss"):
        return none
    if estimator.coef_.shape[0] == 1:
        return of_one
    return of_each if name == "SGDClassifier" else softmax


def both(second: NDArray[Any]) -> NDArray[Any]:
    """Return n×2 probabilities of two classes, of which the second's are given."""
    shares = np.empty((len(second), 2), dtype=second.dtype)
    np.subtract(1, second, out=shares[:, 0])
    shares[:, 1] = second
    return shares


def softmax(raw: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities of n×k scores, as scikit-learn computes them."""
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _is_float64(estimator: Any) -> bool:
    coefficients = getattr(estimator, "coef_", None)
    return isinstance(coefficients, np.ndarray) and coefficients.dtype == np.float64
