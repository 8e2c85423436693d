"""What the trainers of several algorithms ask of their channels and of the other hosts."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.reservoir import Reservoir
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, RowSource, labels_of, open_rows
from sagebrush_server.training.collective import Collective
from sagebrush_server.training.job import TrainingInput

Array = NDArray[np.float64]

SELF_TEST_ROWS: Final = 3
"""Training rows that the model answers and keeps, for serving to compare with."""


def open_channels(
    job: TrainingInput,
    *,
    algorithm: str,
    labelled: Mapping[str, bool],
    feature_dim: int | None,
    collective: Collective,
) -> dict[str, RowSource]:
    """Open `train`, which must be there, and the other channels of `labelled` that are given.

    `labelled` says of each channel the algorithm knows whether its rows must have a label. Of `train` a host gets its
    share, of the others all rows. Raises ClientError, also for a channel that the algorithm doesn't know.
    """
    train = job.channel("train")
    unknown = sorted(set(job.channels) - set(labelled))
    if unknown:
        known = " and ".join(labelled)
        raise ClientError(f"{algorithm} knows the channels {known}, not {', '.join(unknown)}")
    share = job.share_of(train)
    source = open_rows(train, label=labelled["train"], feature_dim=feature_dim, share=share)
    width = int(collective.maximum(np.array([float(source.width)]))[0])
    if width != source.width:
        # Another host has a sparse row with a larger column, or dense rows of another width, which is refused here.
        source = open_rows(train, label=labelled["train"], feature_dim=width, share=share)
    sources = {"train": source}
    for name, label in labelled.items():
        if name in job.channels and name not in sources:
            sources[name] = open_rows(job.channels[name], label=label, feature_dim=width)
    return sources


def until_stopped(job: TrainingInput, source: RowSource, *, rows: int, seed: int | None = None) -> Iterator[Block]:
    """Pass over the rows in blocks until SIGTERM has come; the first block is always given."""
    for number, block in enumerate(source.blocks(rows, seed=seed)):
        if number and job.stop.is_set():
            job.cut_short.set()
            return
        yield block


def in_step(blocks: Iterator[Block], *, collective: Collective) -> Iterator[Block | None]:
    """Give block by block, with None in the place of those that this host no longer has while others do."""
    while True:
        block = next(blocks, None)
        if not collective.any(block is not None):
            return
        yield block


def sample_together(
    job: TrainingInput,
    source: RowSource,
    *,
    size: int,
    rows: int,
    rng: np.random.Generator,
    collective: Collective,
    with_labels: bool = False,
) -> tuple[Array, int]:
    """Draw up to `size` rows in one pass, the same number (give or take one) from each host, and return them on all.

    `with_labels` puts each row's label before its features. Also returned is the number of rows that came by. Every host
    holds the whole sample.
    """
    mine, rest = divmod(size, collective.size)
    reservoir = Reservoir(mine + (collective.rank < rest), rng=rng)
    for block in until_stopped(job, source, rows=rows):
        features = dense(block)
        reservoir.add(np.column_stack((labels_of(block), features)) if with_labels else features)
    drawn = reservoir.rows()
    seen = int(collective.sum(np.array([float(reservoir.seen)]))[0])
    return gather(drawn if len(drawn) else np.zeros((0, 0)), collective=collective), seen


def gather(rows: Array, *, collective: Collective) -> Array:
    """Return the rows of all hosts, in the order of the hosts; a host may have none."""
    if collective.size == 1:
        return rows
    counts = np.zeros(collective.size)
    counts[collective.rank] = len(rows)
    counts = collective.sum(counts).astype(np.int64)
    width = int(collective.maximum(np.array([float(rows.shape[1])]))[0])
    table = np.zeros((int(counts.sum()), width))
    first = int(counts[: collective.rank].sum())
    table[first : first + len(rows)] = rows if len(rows) else 0.0
    return collective.sum(table)


def stopped_anywhere(job: TrainingInput, *, collective: Collective) -> bool:
    """Say whether SIGTERM has cut any host's pass short, and make all hosts say so."""
    if collective.any(job.cut_short.is_set()):
        job.cut_short.set()
        return True
    return False


def dense(block: Block) -> Array:
    """Return the block's features as an array."""
    return np.asarray(block.features if isinstance(block.features, np.ndarray) else block.features.toarray())
