"""What the request path counts: numbers in one block of memory, which processes may share."""

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

BUCKETS_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of durations, from a tenth of a millisecond to the 60 s after which SageMaker gives up."""

BUCKETS_TOGETHER: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
"""Upper bounds of how many requests, or rows, were predicted together."""

REASONS: Final = ("QueueFull", "WaitedTooLong", "NotReady", "ClientGone")
"""Why a request was not computed."""

_CODES: Final = 500
_FIRST_CODE: Final = 100
_numbers = itertools.count()


class _Cell:
    """A number of `RequestCounts`, by its place in the block."""

    def __init__(self) -> None:
        self._place = next(_numbers)

    def __get__(self, counts: "RequestCounts", owner: type) -> float:
        return counts.cells[self._place]

    def __set__(self, counts: "RequestCounts", value: float) -> None:
        counts.cells[self._place] = value


class Histogram:
    """A sum, and how many values fell into each bucket; the last bucket has no bound."""

    def __init__(self, cells: "memoryview[float]", *, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._cells = cells

    def observe(self, value: float, *, times: int = 1) -> None:
        """Add a value that was seen `times` times."""
        cells = self._cells
        cells[0] += value * times
        cells[1 + bisect.bisect_left(self.bounds, value)] += times

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return self._cells[0]

    @property
    def buckets(self) -> Sequence[float]:
        """How many values each bucket has, not cumulated."""
        return self._cells[1:].tolist()


class ByCode:
    """How many answers had each status code."""

    def __init__(self, cells: "memoryview[float]") -> None:
        self._cells = cells

    def __getitem__(self, code: int) -> float:
        return self._cells[code - _FIRST_CODE]

    def add(self, code: int, *, times: int = 1) -> None:
        """Count answers; `code` is 100 to 599."""
        self._cells[code - _FIRST_CODE] += times

    def items(self) -> Iterator[tuple[int, float]]:
        """Yield the codes that were seen, and how often."""
        return ((code, number) for code, number in enumerate(self._cells.tolist(), start=_FIRST_CODE) if number)


class RequestCounts:
    """The counts of one process. Written by its event loop only; anybody with the memory may read at any time.

    `memory` is a block of `CELLS` doubles; without it the counts have one of their own.
    """

    invocations = _Cell()
    in_flight = _Cell()
    computing = _Cell()
    queued = _Cell()
    waiting = _Cell()
    busy_seconds = _Cell()
    handling_seconds = _Cell()
    model_load_seconds = _Cell()
    request_bytes = _Cell()
    response_bytes = _Cell()
    ready = _Cell()
    last_activity = _Cell()
    """Monotonic clock, kept while the process drains."""

    def __init__(self, memory: "memoryview[float] | None" = None) -> None:
        self.cells = memoryview(bytearray(CELLS * 8)).cast("d") if memory is None else memory
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
    for size in (_CODES, len(REASONS), seconds, seconds, seconds, together, together):
        parts.append((start, start + size))
        start += size
    return parts, start


_PARTS, CELLS = _layout()
