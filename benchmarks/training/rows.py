"""Generated training rows as CSV: 40 features of four digits, and a label that depends on them; quick to write, never the same."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEATURES: Final = 40
FILE_ROWS: Final = 250_000
CHARACTERS: Final = 5
"""Of a value, `0.dd` and a digit more, with the comma or end of line behind it."""
ROW_BYTES: Final = 2 + FEATURES * (CHARACTERS + 1)
FILE_BYTES: Final = FILE_ROWS * ROW_BYTES
_CHUNK_ROWS: Final = 25_000
_BYTE: Final = np.dtype(np.uint8)


def write_files(folder: Path, *, gigabytes: float, labelled: bool) -> int:
    """Write files of `FILE_ROWS` rows, at least one, and return the number of rows. The same every time."""
    folder.mkdir(parents=True, exist_ok=True)
    files = max(1, round(gigabytes * 1e9 / FILE_BYTES))
    for number in range(files):
        path = folder / f"part-{number:05d}.csv"
        if path.exists() and path.stat().st_size == FILE_ROWS * (ROW_BYTES - (0 if labelled else 2)):
            continue
        random = np.random.default_rng(number)
        with path.open("wb") as file:
            for _ in range(FILE_ROWS // _CHUNK_ROWS):
                file.write(_chunk(random, labelled=labelled))
    return files * FILE_ROWS


def _chunk(random: np.random.Generator, *, labelled: bool) -> bytes:
    """Return rows as text: each value is one digit, a point and three digits."""
    values = random.integers(0, 10_000, size=(_CHUNK_ROWS, FEATURES))
    text = np.empty((_CHUNK_ROWS, FEATURES, CHARACTERS + 1), dtype=_BYTE)
    for place, power in ((0, 1000), (2, 100), (3, 10), (4, 1)):
        text[:, :, place] = ord("0") + values // power % 10
    text[:, :, 1] = ord(".")
    text[:, :, CHARACTERS] = ord(",")
    text[:, -1, CHARACTERS] = ord("\n")
    rows = text.reshape(_CHUNK_ROWS, -1)
    if labelled:
        front = np.empty((_CHUNK_ROWS, 2), dtype=_BYTE)
        front[:, 0] = ord("0") + _labels(values, random=random)
        front[:, 1] = ord(",")
        rows = np.hstack((front, rows))
    return rows.tobytes()


def _labels(values: NDArray[np.int64], *, random: np.random.Generator) -> NDArray[np.int64]:
    weights = np.cos(np.arange(FEATURES))
    score = (values / 10_000 - 0.5) @ weights + random.normal(scale=0.3, size=len(values))
    return (score > 0).astype(np.int64)
