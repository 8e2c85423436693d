"""What the trainers of several algorithms ask of their channels."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, RowSource, labels_of, open_rows
from sagebrush_server.training.job import TrainingInput

Array = NDArray[np.float64]

SELF_TEST_ROWS = 3
"""Training rows that the model answers and keeps, for serving to compare with."""


def open_channels(
    job: TrainingInput, *, algorithm: str, labelled: Mapping[str, bool], feature_dim: int | None
) -> dict[str, RowSource]:
    """Open `train`, which must be there, and the other channels of `labelled` that are given.

    `labelled` says of each channel the algorithm knows whether its rows must have a label. Raises ClientError, also for
    a channel that the algorithm doesn't know.
    """
    job.channel("train")
    unknown = sorted(set(job.channels) - set(labelled))
    if unknown:
        known = " and ".join(labelled)
        raise ClientError(f"{algorithm} knows the channels {known}, not {', '.join(unknown)}")
    sources: dict[str, RowSource] = {}
    for name, label in labelled.items():
        if name not in job.channels:
            continue
        width = sources["train"].width if "train" in sources else feature_dim
        sources[name] = open_rows(job.channels[name], label=label, feature_dim=width)
    return sources


def refuse_several_hosts(job: TrainingInput, *, algorithm: str) -> None:
    """Raise ClientError where the job has more than one instance."""
    if len(job.hosts) > 1:
        raise ClientError(
            f"this version of {algorithm} trains on one instance, the job has {len(job.hosts)}; set instanceCount to 1"
        )


def until_stopped(job: TrainingInput, source: RowSource, *, rows: int, seed: int | None = None) -> Iterator[Block]:
    """Pass over the rows in blocks until SIGTERM has come; at least one block is always given."""
    for block in source.blocks(rows, seed=seed):
        yield block
        if job.stop.is_set():
            job.cut_short.set()
            return


def dense(block: Block) -> Array:
    """Return the block's features as an array."""
    return np.asarray(block.features if isinstance(block.features, np.ndarray) else block.features.toarray())


def labels(block: Block) -> Array:
    """Return the labels of a block of a channel that has them."""
    return labels_of(block)
