"""From the channels' rows to what gradient descent sees: checked labels, normalised features, a weight per row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, Features, RowSource, labels_of, open_rows
from sagebrush_server.training.collective import Collective
from sagebrush_server.training.job import TrainingInput

Array = NDArray[np.float64]

_EXAMPLES_AT_ONCE: Final = 8192

_OPTIONAL_CHANNELS: Final = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Features become (x - offset) / scale, a regressor's labels (y - label_offset) / label_scale."""

    offset: Array
    scale: Array
    label_offset: float
    label_scale: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """n rows whose features, less `shift`, are normalised (n×d; sparse rows stay sparse because of the shift).

    `targets` are normalised labels, `labels` as they were, `weights` positive; both by n rows.
    """

    features: Features
    shift: Array | None
    targets: Array
    labels: Array
    weights: Array
    binary: bool

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def outputs(self, weights: Array, bias: Array) -> Array:
        """Return n×c outputs for d×c weights and c biases."""
        constant = bias if self.shift is None else bias - self.shift @ weights
        return np.asarray(self.features @ weights + constant)

    def gradient(self, slopes: Array) -> Array:
        """Return d×c: the derivative by the weights, from n×c derivatives by the outputs."""
        gradient = np.asarray(self.features.T @ slopes)
        return gradient if self.shift is None else gradient - np.outer(self.shift, slopes.sum(axis=0))

    def importance(self, positive_weights: Array) -> Array:
        """Return n×m weights of the rows for m models, which differ in how much a positive row counts."""
        importance = np.broadcast_to(self.weights[:, np.newaxis], (len(self), len(positive_weights)))
        return (
            np.where(self.labels[:, np.newaxis] == 1, positive_weights, 1.0) * importance if self.binary else importance
        )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The channels, ready for training: what all hosts know of the data together, and this host's rows."""

    sources: Mapping[str, RowSource]
    settings: Mapping[str, Any]
    normalisation: Normalisation
    class_weights: Array | None
    balanced: float
    mean_row: Array

    @property
    def width(self) -> int:
        """Features a row."""
        return len(self.normalisation.offset)

    def examples(self, channel: str, *, rows: int = _EXAMPLES_AT_ONCE, seed: int | None = None) -> Iterator[Examples]:
        """Pass over this host's rows of a channel in blocks (see `RowSource.blocks`)."""
        for block in self.sources[channel].blocks(rows, seed=seed):
            yield self.normalise(block)

    def normalise(self, block: Block) -> Examples:
        """Apply the normalisation to rows, and weigh them."""
        by, labels = self.normalisation, labels_of(block)
        shift = None
        if isinstance(block.features, np.ndarray):
            features: Features = (block.features - by.offset) / by.scale
        else:
            features = block.features.copy()
            features.data = features.data / by.scale[features.indices]
            shift = by.offset / by.scale if by.offset.any() else None
        weights = np.ones(len(labels)) if self.class_weights is None else self.class_weights[labels.astype(np.intp)]
        return Examples(
            features=features,
            shift=shift,
            targets=(labels - by.label_offset) / by.label_scale,
            labels=labels,
            weights=weights,
            binary=self.settings["predictor_type"] == "binary_classifier",
        )


def prepare(job: TrainingInput, *, settings: dict[str, Any], collective: Collective) -> Prepared:
    """Open the channels, check every label, and take the normalisation from a sample of the training rows.

    Raises ClientError for a channel linear learner doesn't know, features whose number doesn't fit, illegal labels.
    """
    sources, classes = _open(job, settings=settings, collective=collective)
    sample = sources["train"].sample(settings["num_point_for_scaler"], seed=job.seed)
    normalisation, mean_row = _fit_normalisation(sample, settings=settings, collective=collective)
    balanced, class_weights = 1.0, None
    if settings["predictor_type"] == "binary_classifier":
        balanced = float(classes[0] / classes[1])
    elif settings["balance_multiclass_weights"]:
        present = np.maximum(classes, 1.0)
        class_weights = classes.sum() / (np.count_nonzero(classes) * present)
    return Prepared(
        sources=sources,
        settings=settings,
        normalisation=normalisation,
        class_weights=class_weights,
        balanced=balanced,
        mean_row=mean_row,
    )


def _open(
    job: TrainingInput, *, settings: dict[str, Any], collective: Collective
) -> tuple[dict[str, RowSource], Array]:
    """Return the channels' rows, and how often each class occurs in the training rows of all hosts."""
    job.channel("train")
    unknown = sorted(set(job.channels) - {"train", *_OPTIONAL_CHANNELS})
    if unknown:
        raise ClientError(f"linear-learner knows the channels train, validation and test, not {', '.join(unknown)}")
    width = None if settings["feature_dim"] == AUTO else int(settings["feature_dim"])
    sources: dict[str, RowSource] = {}
    for name in ("train", *_OPTIONAL_CHANNELS):
        if name not in job.channels:
            continue
        channel = job.channels[name]
        share = job.share_of(channel)
        source = open_rows(channel, label=True, feature_dim=width, share=share)
        if width is None:
            width = int(collective.maximum(np.array([float(source.width)]))[0])
            if width != source.width:
                source = open_rows(channel, label=True, feature_dim=width, share=share)
        counts = collective.sum(_count_labels(source, settings=settings))
        if name == "train":
            classes = counts
            if settings["predictor_type"] != "regressor" and np.count_nonzero(classes) < 2:
                only = int(np.flatnonzero(classes)[0])
                raise ClientError(f"channel train: every label is {only}; there is nothing to tell apart")
        sources[name] = source
    return sources, classes


def _count_labels(source: RowSource, *, settings: dict[str, Any]) -> Array:
    """Return how often each class occurs in this host's rows, one pass. Raises ClientError for an illegal label."""
    kind = settings["predictor_type"]
    if kind == "regressor":
        return np.zeros(1)
    classes = 2 if kind == "binary_classifier" else int(settings["num_classes"])

    def illegal(block: Block) -> NDArray[np.bool_]:
        labels = labels_of(block)
        return np.asarray((labels < 0) | (labels >= classes) | (labels != np.floor(labels)))

    counts = np.zeros(classes)
    for block in source.blocks():
        wrong = illegal(block)
        if wrong.any():
            label = labels_of(block)[wrong][0]
            hint = "0 or 1" if classes == 2 else f"a whole number from 0 to {classes - 1}"
            raise ClientError(
                f"channel {source.channel}: {source.find(illegal)}: the label is {label:g}; for {kind} it must be {hint}"
            )
        counts += np.bincount(labels_of(block).astype(np.intp), minlength=classes)
    return counts


def _fit_normalisation(
    sample: Block, *, settings: dict[str, Any], collective: Collective
) -> tuple[Normalisation, Array]:
    """Take means and standard deviations from a sample, as the hyperparameters ask for; also return the mean row.

    `auto` of `unbias_data` follows `use_bias`; `auto` of `normalize_label` and `unbias_label` means a regressor
    ("Linear Learner Hyperparameters"). A constant feature keeps scale 1. The first host's sample counts.
    Raises ClientError where a mean overflows.
    """
    regressor, use_bias = settings["predictor_type"] == "regressor", bool(settings["use_bias"])
    unbias = use_bias if settings["unbias_data"] == AUTO else settings["unbias_data"]
    _refuse_unbias_without_bias(settings)
    mean, spread, largest = _moments(sample.features)
    labels = labels_of(sample)
    both = collective.from_leader(np.concatenate((mean, spread, largest, [labels.mean(), labels.std()])))
    mean, spread, largest = both[:-2].reshape(3, -1)
    if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
        column = int(np.flatnonzero(~(np.isfinite(mean) & np.isfinite(spread)))[0])
        raise ClientError(f"channel train: feature {column + 1} is too large to be normalised; scale it down")
    # What rounding alone makes of a constant column is no spread.
    scale = np.where(spread > 1e-12 * np.maximum(1.0, largest), spread, 1.0)
    label_offset, label_scale = 0.0, 1.0
    if regressor and settings["unbias_label"] in (AUTO, True) and use_bias:
        label_offset = float(both[-2])
    if regressor and settings["normalize_label"] in (AUTO, True):
        label_scale = float(both[-1]) or 1.0
    normalisation = Normalisation(
        offset=mean if unbias else np.zeros(len(mean)),
        scale=scale if settings["normalize_data"] else np.ones(len(mean)),
        label_offset=label_offset,
        label_scale=label_scale,
    )
    return normalisation, mean


def _moments(features: Features) -> tuple[Array, Array, Array]:
    """Return each column's mean, standard deviation and greatest magnitude."""
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(features, np.ndarray):
            return features.mean(axis=0), features.std(axis=0), np.abs(features).max(axis=0)
        mean = np.asarray(features.mean(axis=0)).ravel()
        square = np.asarray(features.multiply(features).mean(axis=0)).ravel()
        largest = np.asarray(abs(features).max(axis=0).todense()).ravel()
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0)), largest


def _refuse_unbias_without_bias(settings: dict[str, Any]) -> None:
    for name in ("unbias_data", "unbias_label"):
        if settings[name] is True and not settings["use_bias"]:
            raise ClientError(f"hyperparameter {name}=true needs use_bias=true: taking the mean away is a bias")
