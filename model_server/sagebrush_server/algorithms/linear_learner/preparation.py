"""From the channels' rows to what gradient descent sees: checked labels, normalised features, a weight per row."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.errors import ClientError
from sagebrush_server.training.job import TrainingInput
from sagebrush_server.training.tables import LabelledRows, read_labelled_csv

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Features become (x - offset) / scale, a regressor's labels (y - label_offset) / label_scale."""

    offset: Array
    scale: Array
    label_offset: float
    label_scale: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """n normalised rows (n×d), their normalised labels, the labels as they were, and a positive weight per row."""

    features: Array
    targets: Array
    labels: Array
    weights: Array


_OPTIONAL_CHANNELS: Final = ("validation", "test")


def read_channels(job: TrainingInput, *, settings: dict[str, Any]) -> dict[str, LabelledRows]:
    """Read `train` and, where given, `validation` and `test`.

    Raises ClientError for a channel linear learner doesn't know, features whose number doesn't fit, illegal labels.
    """
    job.channel("train")
    unknown = sorted(set(job.channels) - {"train", *_OPTIONAL_CHANNELS})
    if unknown:
        raise ClientError(f"linear-learner knows the channels train, validation and test, not {', '.join(unknown)}")
    tables = {}
    width = settings["feature_dim"]
    for name in ("train", *_OPTIONAL_CHANNELS):
        if name not in job.channels:
            continue
        table = read_labelled_csv(job.channels[name])
        found = table.features.shape[1]
        if width == AUTO:
            width = found
        if found != width:
            expected = "feature_dim says" if name == "train" else "expected are"
            raise ClientError(f"channel {name}: rows have {found} features beside the label; {expected} {width}")
        _check_labels(table, channel=name, settings=settings)
        tables[name] = table
    return tables


def _check_labels(table: LabelledRows, *, channel: str, settings: dict[str, Any]) -> None:
    kind = settings["predictor_type"]
    if kind == "regressor":
        return
    classes = 2 if kind == "binary_classifier" else settings["num_classes"]
    legal = (table.labels >= 0) & (table.labels < classes) & (table.labels == np.floor(table.labels))
    if not legal.all():
        row = int(np.flatnonzero(~legal)[0])
        hint = "0 or 1" if classes == 2 else f"a whole number from 0 to {classes - 1}"
        raise ClientError(
            f"channel {channel}: {table.place(row)}: the label (first column) is {table.labels[row]:g}; for {kind} it "
            f"must be {hint}"
        )
    if channel == "train" and len(np.unique(table.labels)) < 2:
        raise ClientError(f"channel train: every label is {table.labels[0]:g}; there is nothing to tell apart")


def fit_normalisation(train: LabelledRows, *, settings: dict[str, Any]) -> Normalisation:
    """Take means and standard deviations from the training rows, as the hyperparameters ask for.

    `auto` of `unbias_data` follows `use_bias`; `auto` of `normalize_label` and `unbias_label` means a regressor
    ("Linear Learner Hyperparameters"). A constant feature keeps scale 1. Raises ClientError where a mean overflows.
    """
    features, regressor = train.features, settings["predictor_type"] == "regressor"
    use_bias = bool(settings["use_bias"])
    unbias = use_bias if settings["unbias_data"] == AUTO else settings["unbias_data"]
    _refuse_unbias_without_bias(settings)
    with np.errstate(over="ignore", invalid="ignore"):
        offset = features.mean(axis=0) if unbias else np.zeros(features.shape[1])
        scale = features.std(axis=0) if settings["normalize_data"] else np.ones(features.shape[1])
    if not (np.isfinite(offset).all() and np.isfinite(scale).all()):
        column = int(np.flatnonzero(~(np.isfinite(offset) & np.isfinite(scale)))[0])
        raise ClientError(f"channel train: feature {column + 1} is too large to be normalised; scale it down")
    # What rounding alone makes of a constant column is no spread.
    scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(features).max(axis=0)), scale, 1.0)
    label_offset, label_scale = 0.0, 1.0
    if regressor and settings["unbias_label"] in (AUTO, True) and use_bias:
        label_offset = float(train.labels.mean())
    if regressor and settings["normalize_label"] in (AUTO, True):
        label_scale = float(train.labels.std()) or 1.0
    return Normalisation(offset=offset, scale=scale, label_offset=label_offset, label_scale=label_scale)


def _refuse_unbias_without_bias(settings: dict[str, Any]) -> None:
    for name in ("unbias_data", "unbias_label"):
        if settings[name] is True and not settings["use_bias"]:
            raise ClientError(f"hyperparameter {name}=true needs use_bias=true: taking the mean away is a bias")


def normalise(table: LabelledRows, *, by: Normalisation, settings: dict[str, Any]) -> Examples:
    """Apply `by` to a channel's rows and weigh them."""
    targets = (table.labels - by.label_offset) / by.label_scale
    return Examples(
        features=(table.features - by.offset) / by.scale,
        targets=targets,
        labels=table.labels,
        weights=_weights(table.labels, settings=settings),
    )


def _weights(labels: Array, *, settings: dict[str, Any]) -> Array:
    """Weigh positive examples, or every class so that all count the same in sum."""
    weights = np.ones(len(labels))
    if settings["predictor_type"] == "binary_classifier":
        factor = settings["positive_example_weight_mult"]
        positives = float(labels.sum())
        if factor == "balanced":
            factor = (len(labels) - positives) / positives if 0 < positives < len(labels) else 1.0
        weights[labels == 1] = factor
    elif settings["balance_multiclass_weights"]:
        classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = (len(labels) / (len(classes) * counts))[inverse]
    return weights
