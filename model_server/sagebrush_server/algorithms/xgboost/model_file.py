"""The model folder: `xgboost-model`, the library's own file as SageMaker's container names it, and `model.json`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import orjson

from sagebrush_server.algorithms.registry import MODEL_FILE
from sagebrush_server.algorithms.xgboost.scores import scorer

if TYPE_CHECKING:
    from sagebrush_server.training.blocks import Block

ALGORITHM: Final = "xgboost"
FORMAT_VERSION: Final = 1
BOOSTER_FILE: Final = "xgboost-model"


def save(booster: Any, *, folder: Path, example: "Block") -> None:
    """Write the Booster as UBJSON, and what serving needs beside it; `example` is scored for the self-test."""
    # Absent values are written as 0: a request can't leave one out either.
    features = example.features if isinstance(example.features, np.ndarray) else example.features.toarray()
    row = np.nan_to_num(features[:1], nan=0.0)
    (folder / BOOSTER_FILE).write_bytes(bytes(booster.save_raw(raw_format="ubj")))
    document = {
        "algorithm": ALGORITHM,
        "format_version": FORMAT_VERSION,
        "booster": BOOSTER_FILE,
        "feature_dim": int(row.shape[1]),
        "self_test_row": row[0].tolist(),
        "self_test_score": np.atleast_1d(scorer(booster)(row)[0]).astype(np.float64).tolist(),
    }
    data = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / MODEL_FILE).write_bytes(data)


def read(folder: Path) -> dict[str, Any]:
    """Read `model.json`. Raises ValueError or KeyError for one that isn't an XGBoost model's."""
    document = cast("dict[str, Any]", orjson.loads((folder / MODEL_FILE).read_bytes()))
    if document["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format_version {document['format_version']}; this server reads {FORMAT_VERSION}")
    if document["booster"] != BOOSTER_FILE:
        raise ValueError(f"booster {document['booster']!r}; the file is called {BOOSTER_FILE}")
    if len(document["self_test_row"]) != document["feature_dim"]:
        raise ValueError("self_test_row and feature_dim don't agree")
    return document


__all__ = ["ALGORITHM", "BOOSTER_FILE", "read", "save"]
