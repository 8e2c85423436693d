"""A uniform sample of rows that come by once, of a size fixed beforehand.

Source: algorithm R in J. Vitter, "Random sampling with a reservoir" (1985).
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Reservoir:
    """Keeps `size` of the rows added (all of them while there are fewer): each one with the same chance."""

    def __init__(self, size: int, *, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._parts: list[Array] = []
        self._kept = 0
        self.seen = 0

    def add(self, rows: Array) -> None:
        """Let n×d rows come by."""
        room = self._size - self._kept
        if room > 0:
            self._parts.append(np.array(rows[:room]))
            self._kept += len(self._parts[-1])
            self.seen += len(self._parts[-1])
            rows = rows[room:]
        if not len(rows):
            return
        places = (self._rng.random(len(rows)) * (self.seen + 1 + np.arange(len(rows)))).astype(np.int64)
        self.seen += len(rows)
        taken = places < self._size
        # Where two rows go to one place the later one stays, as if they had come one by one.
        self.rows()[places[taken]] = rows[taken]

    def rows(self) -> Array:
        """Return the sample so far, in no particular order."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate(self._parts)] if self._parts else []
        return self._parts[0] if self._parts else np.zeros((0, 0))
