"""What the request path counts: numbers in one block of memory, which processes may share."""

import itertools
from typing import Final

from sagebrush_server.cells import CODE_CELLS, ByCode, Cell, Cells, Histogram

BUCKETS_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of durations, from a tenth of a millisecond to the 60 s after which SageMaker gives up."""

BUCKETS_TOGETHER: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
"""Upper bounds of how many requests, or rows, were predicted together."""

REASONS: Final = ("QueueFull", "WaitedTooLong", "NotReady", "ClientGone")
"""Why a request was not computed."""

_numbers = itertools.count()


def _cell() -> Cell:
    return Cell(next(_numbers))


class RequestCounts(Cells):
    """The counts of one process. Written by its event loop only; anybody with the memory may read at any time.

    `memory` is a block of `CELLS` doubles; without it the counts have one of their own.
    """

    invocations = _cell()
    in_flight = _cell()
    computing = _cell()
    queued = _cell()
    waiting = _cell()
    busy_seconds = _cell()
    handling_seconds = _cell()
    model_load_seconds = _cell()
    request_bytes = _cell()
    response_bytes = _cell()
    ready = _cell()
    last_activity = _cell()
    """Monotonic clock, kept while the process drains."""

    def __init__(self, memory: "memoryview[float] | None" = None) -> None:
        super().__init__(memoryview(bytearray(CELLS * 8)).cast("d") if memory is None else memory)
        parts = iter(_PARTS)

        def part() -> "memoryview[float]":
            start, end = next(parts)
            return self.cells[start:end]

        self.responses = ByCode(part())
        self._refused = part()
        self.duration = Histogram(part(), bounds=BUCKETS_SECONDS)
        self.queue_seconds = Histogram(part(), bounds=BUCKETS_SECONDS)
        self.inference_seconds = Histogram(part(), bounds=BUCKETS_SECONDS)
        self.batch_requests = Histogram(part(), bounds=BUCKETS_TOGETHER)
        self.batch_rows = Histogram(part(), bounds=BUCKETS_TOGETHER)

    def predicted(self, *, requests: int, rows: int, queued: float, seconds: float) -> None:
        """Count requests that were predicted together, after waiting `queued` seconds, within `seconds`."""
        self.queue_seconds.observe(queued, times=requests)
        self.inference_seconds.observe(seconds, times=requests)
        self.batch_requests.observe(requests)
        if rows:
            self.batch_rows.observe(rows)

    def refuse(self, reason: str) -> None:
        """Count a request that is not computed, by one of `REASONS`."""
        self._refused[REASONS.index(reason)] += 1

    def refused(self) -> list[tuple[str, float]]:
        """Return every reason and how often it was given."""
        return list(zip(REASONS, self._refused.tolist(), strict=True))

    def begin_anew(self) -> None:
        """Set what is a state and no sum to 0: another process goes on with the counts of one that is gone."""
        self.in_flight = self.computing = self.queued = self.waiting = self.ready = 0.0


def _layout() -> tuple[list[tuple[int, int]], int]:
    seconds, together = len(BUCKETS_SECONDS) + 2, len(BUCKETS_TOGETHER) + 2
    parts, start = [], next(_numbers)
    for size in (CODE_CELLS, len(REASONS), seconds, seconds, seconds, together, together):
        parts.append((start, start + size))
        start += size
    return parts, start


_PARTS, CELLS = _layout()
