"""Training XGBoost by the library itself: on rows that need not fit into memory, on one host or several."""

import functools
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost
from numpy.typing import NDArray

from sagebrush_server.algorithms.xgboost import hyperparameters
from sagebrush_server.algorithms.xgboost.matrices import make_matrix
from sagebrush_server.algorithms.xgboost.model_file import save
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, RowSource, labels_of, open_rows
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.cpus import available_cpus
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
_CHANNELS: Final = ("train", "validation")


def train(job: TrainingInput) -> None:
    """Boost on `train`, stop early by `validation` where asked for, and save `xgboost-model` beside `model.json`.

    After SIGTERM the round under way is finished and the model so far saved, unless `save_model_on_termination` is false.
    Hosts share the work by XGBoost's own collective. Raises ClientError for what the user can mend.
    """
    settings = hyperparameters.read(job.hyperparameters)
    if settings["early_stopping_rounds"] is not None and "validation" not in job.channels:
        raise ClientError("hyperparameter early_stopping_rounds needs a validation channel")
    parameters = hyperparameters.library_parameters(settings, seed=job.seed, threads=available_cpus())
    with together(job) as collective, tempfile.TemporaryDirectory() as cache:
        sources = _open(job, settings=settings, collective=collective)
        with xgboost.config_context(verbosity=settings["verbosity"]):
            try:
                booster, figures = _boost(
                    job, sources=sources, settings=settings, parameters=parameters, cache=cache, collective=collective
                )
            except xgboost.core.XGBoostError as problem:
                # The library checks what only it knows: labels of an objective, constraints, combinations.
                raise ClientError(f"XGBoost refuses: {_said(problem)}") from problem
        if not collective.leads:
            return
        for channel, metrics in figures.items():
            for metric, value in metrics.items():
                job.report(_word(metric), channel=channel, value=value)
        if job.cut_short.is_set() and not settings["save_model_on_termination"]:
            _LOG.warning("xgboost: SIGTERM: no model is saved, save_model_on_termination is false")
            return
        save(booster, folder=job.model_folder, example=next(sources["train"].blocks(1)))


def _open(job: TrainingInput, *, settings: dict[str, Any], collective: Collective) -> dict[str, RowSource]:
    """Open the channels and check what a message of the library wouldn't say by file and row. Raises ClientError."""
    job.channel("train")
    unknown = sorted(set(job.channels) - set(_CHANNELS))
    if unknown:
        raise ClientError(f"xgboost knows the channels train and validation, not {', '.join(unknown)}")
    sources: dict[str, RowSource] = {}
    width = None
    for name in (name for name in _CHANNELS if name in job.channels):
        channel = job.channels[name]
        opened = functools.partial(
            open_rows,
            channel,
            label=True,
            missing=True,
            weights=bool(settings["csv_weights"]),
            share=job.share_of(channel),
        )
        source = opened(feature_dim=width)
        if width is None:
            width = int(collective.maximum(np.array([float(source.width)]))[0])
            if source.width != width:
                source = opened(feature_dim=width)
        _check_labels(source, settings=settings)
        sources[name] = source
    return sources


def _check_labels(source: RowSource, *, settings: dict[str, Any]) -> None:
    objective = settings["objective"]
    if objective in hyperparameters.MULTICLASS:
        classes = settings["num_class"]
        legal, low, high, whole = f"a whole number from 0 to {classes - 1}", 0.0, classes - 1.0, True
    elif objective.startswith("binary:") or objective == "reg:logistic":
        legal, low, high, whole = "from 0 to 1", 0.0, 1.0, False
    else:
        return

    def illegal(block: Block) -> NDArray[np.bool_]:
        labels = labels_of(block)
        outside = (labels < low) | (labels > high)
        return np.asarray(outside | (labels != np.floor(labels)) if whole else outside)

    for block in source.blocks():
        wrong = illegal(block)
        if wrong.any():
            label = labels_of(block)[wrong][0]
            raise ClientError(
                f"channel {source.channel}: {source.find(illegal)}: the label is {label:g}; with objective={objective} it "
                f"must be {legal}"
            )


def _boost(
    job: TrainingInput,
    *,
    sources: Mapping[str, RowSource],
    settings: dict[str, Any],
    parameters: dict[str, Any],
    cache: str,
    collective: Collective,
) -> "tuple[xgboost.Booster, dict[str, dict[str, float]]]":
    """Train, and return the model with the figures of its last round, or of its best one where it stopped early."""
    matrices: dict[str, xgboost.DMatrix] = {}
    for name, source in sources.items():
        matrices[name] = make_matrix(
            source, cache=Path(cache) / name, parameters=parameters, reference=matrices.get("train")
        )
        kind = type(matrices[name]).__name__
        _LOG.info("xgboost: channel %s: %d rows of %d features (%s)", name, source.count, source.width, kind)
    watch = _Watch(job, collective=collective, rounds=settings["num_round"])
    callbacks: list[Any] = [watch]
    if settings["early_stopping_rounds"] is not None:
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=settings["early_stopping_rounds"],
                data_name="validation",
                save_best=settings["booster"] != "gblinear",
            )
        )
    history: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        parameters,
        matrices["train"],
        num_boost_round=settings["num_round"],
        evals=[(matrix, name) for name, matrix in matrices.items()],
        evals_result=history,
        callbacks=callbacks,
        verbose_eval=False,
    )
    best = booster.attr("best_iteration")
    last = -1 if best is None else int(best)
    return booster, {name: {metric: values[last] for metric, values in of.items()} for name, of in history.items()}


class _Watch(xgboost.callback.TrainingCallback):
    """Writes each round's figures as SageMaker's container does, and ends training after SIGTERM."""

    def __init__(self, job: TrainingInput, *, collective: Collective, rounds: int) -> None:
        super().__init__()
        self._job, self._collective, self._rounds = job, collective, rounds

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 – XGBoost's signature
        """Return whether to stop. All hosts stop after the same round."""
        if self._collective.leads:
            # A tab, as CloudWatch shows it; SageMaker's documented patterns look for it so.
            figures = (
                f"#011{name}-{metric}:{values[-1]:.5f}"
                for name, of in evals_log.items()
                for metric, values in of.items()
            )
            print(f"[{epoch}]" + "".join(figures), flush=True)
        if epoch + 1 >= self._rounds or not self._collective.any(self._job.stop.is_set()):
            return False
        _LOG.info("xgboost: SIGTERM: stopping after round %d", epoch)
        self._job.cut_short.set()
        return True


def _word(metric: str) -> str:
    """Return a metric's name as the log's lines and the operator's names can hold it: `error@0.7` becomes `error_0_7`."""
    return "".join(letter if letter.isalnum() else "_" for letter in metric)


def _said(problem: Exception) -> str:
    """Return what a message of the library says, without its source lines and stack trace."""
    lines = [line.strip() for line in str(problem).split("Stack trace")[0].splitlines() if line.strip()]
    said = " ".join(lines)
    _, _, rest = said.partition("Check failed: ")
    return rest or said
