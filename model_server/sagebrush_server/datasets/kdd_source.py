"""Where the KDD records come from: real files, scikit-learn's download, or the generated set."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagebrush_server.datasets.kdd_fields import FIELDS

GENERATED_ROWS: Final = 25_000
_PATTERNS: Final = ("KDDTrain+*.txt", "KDDTrain+*.txt.gz", "kddcup.data*")
_NSL_COLUMNS: Final = len(FIELDS) + 2
_KDD_COLUMNS: Final = len(FIELDS) + 1


class DataError(Exception):
    """The data can't be read or split; the message names file and row."""


@dataclass(frozen=True)
class Records:
    """Rows of 41 feature texts and a label without its final dot, and where they came from."""

    rows: list[list[str]]
    origin: str


def read_records(source: str, *, rows: int | None, seed: int) -> Records:
    """Read `source`: `auto` (real files in the working folder, else generated), `generated`, `download`, or a path.

    `rows` is the number to generate; real data are returned whole. Raises DataError.
    """
    if source == "generated":
        return _generated(rows, seed=seed)
    if source == "download":
        return _download()
    if source == "auto":
        found = _find(Path())
        return _read_file(found) if found is not None else _generated(rows, seed=seed)
    path = Path(source)
    if path.is_dir():
        found = _find(path)
        if found is None:
            raise DataError(f"{path} holds none of {', '.join(_PATTERNS)}")
        path = found
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}; use auto, generated, download or a path")
    return _read_file(path)


def _generated(rows: int | None, *, seed: int) -> Records:
    from sagebrush_server.datasets.kdd_generated import generate

    return Records(generate(GENERATED_ROWS if rows is None else rows, seed=seed), origin="generated")


def _find(folder: Path) -> Path | None:
    """Return the first match of the first pattern that matches: NSL-KDD before the original, whose rows repeat."""
    for pattern in _PATTERNS:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[0]
    return None


def _read_file(path: Path) -> Records:
    opener = gzip.open if path.suffix == ".gz" else open
    rows = []
    try:
        with opener(path, "rt", encoding="ascii") as lines:
            for number, line in enumerate(lines, start=1):
                cells = line.strip().split(",")
                if len(cells) not in (_NSL_COLUMNS, _KDD_COLUMNS):
                    raise DataError(
                        f"{path.name}, row {number}: {len(cells)} columns; NSL-KDD has {_NSL_COLUMNS}, KDD Cup 1999 "
                        f"{_KDD_COLUMNS}"
                    )
                cells[len(FIELDS)] = cells[len(FIELDS)].rstrip(".")
                rows.append(cells[:_KDD_COLUMNS])
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as problem:
        raise DataError(f"{path.name} can't be read: {problem}") from problem
    return Records(rows, origin=path.name)


def _download() -> Records:
    from sklearn.datasets import fetch_kddcup99

    data, labels = fetch_kddcup99(percent10=True, return_X_y=True)
    rows = [
        [cell.decode() if isinstance(cell, bytes) else str(cell) for cell in (*features, label)]
        for features, label in zip(data, labels, strict=True)
    ]
    return Records([[*row[:-1], row[-1].rstrip(".")] for row in rows], origin="fetch_kddcup99 (10 %)")
