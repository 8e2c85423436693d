"""The intrusion-detection example's pre-processing: records to linear-learner's CSV, with what a client needs beside it.

The default encoding keeps the 41 features: a symbolic value becomes an integer code, its place when the values are
ordered by the share of attacks they have in the training rows (a value not seen there gets the place of the average).
On NSL-KDD's 20 % file that gives linear-learner 97 % validation accuracy, against 95 % with codes in alphabetical order;
one-hot columns give 97 % with some 118 features.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.datasets.kdd_fields import FIELDS, NORMAL, SYMBOLIC
from sagebrush_server.datasets.kdd_source import DataError, read_records

__all__ = ["DataError", "prepare"]

_SAMPLE_ROWS: Final = 20
_SMOOTHING_ROWS: Final = 10.0
"""Rows with the average share of attacks that every symbolic value is given in advance, so that a value seen once
doesn't go to the end of the order."""


def prepare(
    source: str, *, out: Path, validation_fraction: float, seed: int, rows: int | None, encoding: str
) -> dict[str, Any]:
    """Write `train/`, `validation/`, `encoding.json`, `sample.csv`, `sample-labels.csv`, `summary.json`; return the last.

    The label (0 normal, 1 attack) is the first column, there is no header. `rows` below the number of records keeps a
    random part. The split is stratified by label and the same for the same seed. Raises DataError and OSError.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"--validation-fraction {validation_fraction}: must be above 0 and below 1")
    if rows is not None and rows < 10:
        raise DataError(f"--rows {rows}: must be at least 10")
    records = read_records(source, rows=rows, seed=seed)
    random = np.random.default_rng(seed)
    kept = records.rows
    if rows is not None and rows < len(kept):
        kept = [kept[index] for index in np.sort(random.choice(len(kept), size=rows, replace=False))]
    labels = np.array([row[-1] != NORMAL for row in kept], dtype=np.int64)
    if not 2 <= labels.sum() <= len(labels) - 2:
        raise DataError(
            f"{records.origin}: {labels.sum()} attacks in {len(labels)} rows; both classes are needed twice"
        )
    train, validation = _split(labels, fraction=validation_fraction, random=random)
    columns = _plan_columns([kept[index] for index in train], labels=labels[train], encoding=encoding)
    table = [f"{label}," + encode(row, columns=columns) for row, label in zip(kept, labels.tolist(), strict=True)]
    files = {
        "train/part-0000.csv": [table[index] for index in train],
        "validation/part-0000.csv": [table[index] for index in validation],
        "sample.csv": [table[index].partition(",")[2] for index in validation[:_SAMPLE_ROWS]],
        "sample-labels.csv": [str(labels[index]) for index in validation[:_SAMPLE_ROWS]],
    }
    written = {name: _write(out / name, lines=lines) for name, lines in files.items()}
    _write_json(
        out / "encoding.json",
        document={"encoding": encoding, "label": {"0": NORMAL, "1": "attack"}, "columns": columns},
    )
    summary = {
        "source": records.origin,
        "encoding": encoding,
        "seed": seed,
        "features": sum(len(column.get("values", "x")) if column["kind"] == "one-hot" else 1 for column in columns),
        "rows": {"train": len(train), "validation": len(validation)},
        "attackShare": {
            "train": round(float(labels[train].mean()), 4),
            "validation": round(float(labels[validation].mean()), 4),
        },
        "sha256": written,
    }
    _write_json(out / "summary.json", document=summary)
    return summary


def encode(record: Sequence[str], *, columns: Sequence[dict[str, Any]]) -> str:
    """Return a record's features as one CSV line, by the columns of `encoding.json`."""
    cells = []
    for text, column in zip(record, columns, strict=False):
        if column["kind"] == "number":
            cells.append(text)
        elif column["kind"] == "code":
            cells.append(str(column["codes"].get(text, column["unknown"])))
        else:
            cells.extend("1" if text == value else "0" for value in column["values"])
    return ",".join(cells)


def _split(labels: NDArray[np.int64], *, fraction: float, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return row numbers for training and validation, in random order, each label in the same proportion."""
    train: list[int] = []
    validation: list[int] = []
    for label in (0, 1):
        members = random.permutation(np.flatnonzero(labels == label)).tolist()
        cut = min(max(round(len(members) * fraction), 1), len(members) - 1)
        validation += members[:cut]
        train += members[cut:]
    return random.permutation(train).tolist(), random.permutation(validation).tolist()


def _plan_columns(rows: list[list[str]], *, labels: NDArray[np.int64], encoding: str) -> list[dict[str, Any]]:
    """Describe how each of the 41 features is written. Only training rows are looked at."""
    columns: list[dict[str, Any]] = []
    for index, name in enumerate(FIELDS):
        if name not in SYMBOLIC:
            columns.append({"name": name, "kind": "number"})
            continue
        values = [row[index] for row in rows]
        if encoding == "one-hot":
            columns.append({"name": name, "kind": "one-hot", "values": sorted(set(values))})
        elif encoding == "alphabetical":
            codes = {value: code for code, value in enumerate(sorted(set(values)))}
            columns.append({"name": name, "kind": "code", "codes": codes, "unknown": len(codes)})
        else:
            columns.append({"name": name, "kind": "code", **_ordered_codes(values, labels=labels)})
    return columns


def _ordered_codes(values: list[str], *, labels: NDArray[np.int64]) -> dict[str, Any]:
    counts: defaultdict[str, float] = defaultdict(float)
    attacks: defaultdict[str, float] = defaultdict(float)
    for value, label in zip(values, labels.tolist(), strict=True):
        counts[value] += 1
        attacks[value] += label
    average = float(labels.mean())
    shares = {
        value: (attacks[value] + _SMOOTHING_ROWS * average) / (counts[value] + _SMOOTHING_ROWS) for value in counts
    }
    order = sorted(shares, key=lambda value: (shares[value], value))
    unknown = sum(share < average for share in shares.values())
    return {"codes": {value: code for code, value in enumerate(order)}, "unknown": unknown}


def _write(path: Path, *, lines: list[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _write_json(path: Path, *, document: dict[str, Any]) -> None:
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
