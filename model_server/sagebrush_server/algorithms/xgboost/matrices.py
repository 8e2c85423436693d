"""A channel's rows as XGBoost wants them: in memory where they fit, else as pages on disk."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost

from sagebrush_server.training.blocks import Block, RowSource
from sagebrush_server.training.formats.base import join

_LOG = logging.getLogger(__name__)

PAGE_BYTES: Final = 32 * 1024 * 1024
"""Rows of one page before XGBoost packs them (a byte a value, about)."""


class _Pages(xgboost.DataIter):
    """Hands over a channel block by block, as often as XGBoost asks."""

    def __init__(self, source: RowSource, *, cache: Path) -> None:
        self._source = source
        self._rows = max(1, PAGE_BYTES // (8 * source.width)) if not source.sparse else None
        self._stream: Iterator[Block] = iter(())
        super().__init__(cache_prefix=str(cache), release_data=True)

    def reset(self) -> None:
        self._stream = self._source.blocks(self._rows)

    def next(self, input_data: Any) -> bool:
        block = next(self._stream, None)
        if block is None:
            return False
        input_data(data=block.features, label=block.labels, weight=block.weights)
        return True


def make_matrix(
    source: RowSource, *, cache: Path, parameters: dict[str, Any], reference: "xgboost.DMatrix | None" = None
) -> "xgboost.DMatrix":
    """Make a matrix of a source. `reference` is the training matrix, whose bins a validation matrix takes over.

    Rows that the source keeps in memory become an ordinary matrix. Others become pages below `cache`, so that memory grows
    by the labels, predictions and gradients of a row only; where the booster or tree method can't work on pages, an
    ordinary matrix again.
    """
    block, threads = source.in_memory(), parameters["nthread"]
    if block is None and not _works_on_pages(parameters):
        _LOG.warning("xgboost: the booster or tree_method needs all rows of channel %s in memory", source.channel)
        block = join(list(source.blocks()))
    if block is not None:
        return xgboost.DMatrix(
            block.features, label=block.labels, weight=block.weights, missing=np.nan, nthread=threads
        )
    more = {} if parameters.get("max_bin") is None else {"max_bin": parameters["max_bin"]}
    if isinstance(reference, xgboost.ExtMemQuantileDMatrix):
        more["ref"] = reference
    return xgboost.ExtMemQuantileDMatrix(_Pages(source, cache=cache), missing=np.nan, nthread=threads, **more)


def _works_on_pages(parameters: dict[str, Any]) -> bool:
    return parameters["booster"] != "gblinear" and parameters["tree_method"] in ("auto", "hist")
