"""Models of every library, fitted on a few rows once and kept for all tests."""

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from sagebrush_server.algorithms.model import Model
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings

WIDTH = 5
threadpoolctl.threadpool_limits(1)  # small models: threads that wait for each other cost more than they gain
UNPICKLING = LoadingSettings(unpickling=True)


@functools.cache
def data(classes: int = 2, *, rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels: integers from 0, or, for `classes` 0, values of a regression."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, WIDTH))
    score = features[:, 0] - 2 * features[:, 1] * features[:, 2] + 0.3 * generator.normal(size=rows)
    if not classes:
        return features, score
    return features, np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))


def rows(count: int = 40, *, seed: int = 7, scale: float = 3.0) -> np.ndarray:
    """Rows that no model has seen."""
    return np.random.default_rng(seed).normal(size=(count, WIDTH)) * scale


def fitted(estimator: Any, classes: int = 2, *, labels: list[str] | None = None) -> Any:
    """The estimator, fitted; `labels` are the classes' names."""
    features, target = data(classes)
    if labels is not None:
        target = np.array(labels)[target]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(features, target)


def pickled(estimator: Any, folder: Path, *, settings: LoadingSettings = UNPICKLING) -> Model:
    """The model that the server makes of an estimator stored by joblib."""
    import joblib

    joblib.dump(estimator, folder / "model.joblib")
    model = load_model(folder, settings=settings)
    assert hasattr(model, "predict")
    return model


def twice(features: np.ndarray) -> np.ndarray:
    """A function of nobody's library."""
    return features * 2
