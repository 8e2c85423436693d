"""Numbers in a block of memory that processes may share: compiled, since every turn of the event loop changes twenty of them."""

from collections.abc import Iterator, Sequence
from typing import Final

CODE_CELLS: Final[int]
"""The cells that `ByCode` takes."""

class Cells:
    """A block of doubles, some of which have names: a subclass says which, by `Cell`."""

    cells: Final[memoryview[float]]
    def __init__(self, cells: memoryview[float]) -> None: ...

class Cell:
    """A number of `Cells` by its place in the block, as an attribute."""

    def __init__(self, place: int) -> None: ...
    def __get__(self, block: Cells, owner: type) -> float: ...
    def __set__(self, block: Cells, value: float) -> None: ...

class Histogram:
    """A sum, and how many values fell into each bucket; the last bucket has no bound. Takes two cells more than bounds."""

    bounds: Final[Sequence[float]]
    def __init__(self, cells: memoryview[float], *, bounds: Sequence[float]) -> None: ...
    def observe(self, value: float, *, times: int = 1) -> None:
        """Add a value that was seen `times` times."""
    @property
    def sum(self) -> float:
        """The sum of all values."""
    @property
    def buckets(self) -> Sequence[float]:
        """How many values each bucket has, not cumulated."""

class ByCode:
    """How many answers had each status code, 100 to 599. Raises IndexError for another."""

    def __init__(self, cells: memoryview[float]) -> None: ...
    def __getitem__(self, code: int) -> float: ...
    def add(self, code: int, *, times: int = 1) -> None:
        """Count answers."""
    def items(self) -> Iterator[tuple[int, float]]:
        """Yield the codes that were seen, and how often."""
