"""scikit-learn's estimators as models: by their own numbers where that is exact and known, else by the library."""

import logging
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Model
from sagebrush_server.models.bare import BareModel, ClassColumns, Classes, Columns, bare_model, score_columns
from sagebrush_server.models.ensembles import ensemble_classifier, ensemble_regressor
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.linear import Transform, linear_classifier, linear_regressor, transform_of
from sagebrush_server.models.settings import LoadingSettings

_LOG = logging.getLogger(__name__)
Floats = NDArray[np.float64]
_SEARCHES: Final = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
_COMPARED_ROWS: Final = 32


def estimator_model(estimator: Any, *, settings: LoadingSettings, example: Floats | None = None) -> Model:
    """Serve a fitted estimator, or a booster of another library that was stored in the same way. Raises ModelError."""
    module = type(estimator).__module__.partition(".")[0]
    if module == "xgboost" and type(estimator).__name__ == "Booster":
        from sagebrush_server.models.xgboost_booster import booster_model

        return booster_model(estimator, settings=settings, example=example)
    if module == "lightgbm" and type(estimator).__name__ == "Booster":
        from sagebrush_server.models.lightgbm_booster import booster_model as lightgbm_model

        return lightgbm_model(estimator, settings=settings, example=example)
    if not callable(getattr(estimator, "predict", None)):
        raise ModelError(
            f"the stored object is a {type(estimator).__qualname__}, which has no predict; store a fitted estimator, or "
            "serve it by code/inference.py"
        )
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    width = getattr(estimator, "n_features_in_", None)
    classes = getattr(estimator, "classes_", None)
    score_by = _classifier if isinstance(classes, np.ndarray) else _regressor
    library, fast = score_by(estimator, settings=settings)
    if fast is not None and width is not None and not _agree(fast, library, width=width):
        fast = None
    return _served(estimator, width=width, library=library, fast=fast, example=example)


def _served(
    estimator: Any,
    *,
    width: int | None,
    library: Callable[[Any], Columns],
    fast: Callable[[Any], Columns] | None,
    example: Floats | None,
) -> BareModel:
    name = f"scikit-learn {type(estimator).__name__}" if _is_own(estimator) else type(estimator).__name__
    return bare_model(
        name,
        feature_dim=width,
        score=fast or library,
        library=library,
        example=example,
        # By numpy alone no thread of a library is started. The library's own code may have started some.
        fork_safe=fast is not None,
    )


def _classifier(
    estimator: Any, *, settings: LoadingSettings
) -> tuple[Callable[[Floats], Columns], Callable[[Floats], Columns] | None]:
    """Return the library's way and, where there is one, the fast way."""
    has = {
        kind
        for kind, name in (("probabilities", "predict_proba"), ("raw", "decision_function"))
        if _can(estimator, name)
    }
    names = ClassColumns(estimator.classes_, outputs=settings.outputs, has=frozenset(has))
    wants = {kind for kind in has if names.wants(kind)}
    classes = estimator.classes_

    def library(rows: Floats) -> Columns:
        return names.columns(
            Classes(
                np.searchsorted(classes, estimator.predict(rows)),
                probabilities=estimator.predict_proba(rows) if "probabilities" in wants else None,
                raw=estimator.decision_function(rows) if "raw" in wants else None,
            )
        )

    transform, last = _unwrapped(estimator)
    own = (linear_classifier(last) or ensemble_classifier(last)) if transform else None
    if own is None or transform is None:
        return library, None
    return library, lambda rows: names.columns(own(transform(rows)))


def _regressor(
    estimator: Any, *, settings: LoadingSettings
) -> tuple[Callable[[Floats], Columns], Callable[[Floats], Columns] | None]:
    name = score_columns(outputs=settings.outputs, algorithm=type(estimator).__name__)

    def library(rows: Floats) -> Columns:
        return {name: np.asarray(estimator.predict(rows))}

    transform, last = _unwrapped(estimator)
    own = (linear_regressor(last) or ensemble_regressor(last)) if transform else None
    if own is None or transform is None:
        return library, None
    return library, lambda rows: {name: own(transform(rows))}


def _unwrapped(estimator: Any) -> tuple[Transform | None, Any]:
    """Return what is done to rows before the last step, and the last step; no transform where one isn't known."""
    if _is_own(estimator) and type(estimator).__name__ in _SEARCHES:
        estimator = estimator.best_estimator_
    if not (_is_own(estimator) and type(estimator).__name__ == "Pipeline"):
        return transform_of(None), estimator
    transforms = [transform_of(step) for _, step in estimator.steps[:-1]]
    last = estimator.steps[-1][1]
    known = [one for one in transforms if one is not None]
    if len(known) < len(transforms):
        return None, last

    def transform(rows: Floats) -> Floats:
        for one in known:
            rows = one(rows)
        return rows

    return transform, last


def _agree(fast: Callable[[Floats], Columns], library: Callable[[Floats], Columns], *, width: int) -> bool:
    """Whether both ways say the same of some rows: another version of the library may keep its numbers elsewhere."""
    rows = np.random.default_rng(0).normal(size=(_COMPARED_ROWS, width)) * np.logspace(-1, 3, _COMPARED_ROWS)[:, None]
    try:
        expected = library(rows)
    except Exception:  # noqa: BLE001 – the library's own trouble shows in the self-test, with rows of its own
        return False
    try:
        got = fast(rows)
        same = _same(got, expected)
    except Exception:  # noqa: BLE001 – as above; the library serves it
        _LOG.warning("the fast way to score this model fails; the library serves it", exc_info=True)
        return False
    if not same:
        _LOG.warning("the fast way to score this model differs from the library, which serves it instead")
    return same


def _same(got: Columns, expected: Columns) -> bool:
    def equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
        if other.dtype.kind == "f":
            return one.shape == other.shape and np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True)
        return np.array_equal(one, other)

    return got.keys() == expected.keys() and all(equal(got[name], column) for name, column in expected.items())


def _can(estimator: Any, name: str) -> bool:
    """Whether it has a method; scikit-learn's `available_if` raises where a setting of the estimator forbids it."""
    try:
        return callable(getattr(estimator, name, None))
    except Exception:  # noqa: BLE001 – whatever a property raises, the method can't be called
        return False


def _is_own(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("sklearn.")
