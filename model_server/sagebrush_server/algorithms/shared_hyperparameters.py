"""Rows and parsers that the tables of several algorithms share."""

from typing import Any, Final

import orjson

from sagebrush_server.algorithms.hyperparameters import Hyperparameter, Parse, boolean, integer

POSITIVE: Final = "a whole number of at least 1"


def whole(name: str, *, default: int | None = None, required: bool = False) -> Hyperparameter:
    """A row for a whole number of at least 1."""
    return Hyperparameter(name=name, parse=integer(minimum=1), legal=POSITIVE, default=default, required=required)


def flag(name: str, *, default: bool, **more: Any) -> Hyperparameter:
    """A row for true or false."""
    return Hyperparameter(name=name, parse=boolean, legal="true or false", default=default, **more)


def words(*known: str) -> Parse:
    """A JSON list of at least one of the given words, each at most once; or one word alone."""

    def parse(text: str) -> tuple[str, ...]:
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            found = [text]
        if not isinstance(found, list) or not found or len(set(map(str, found))) != len(found):
            raise ValueError
        if not all(word in known for word in found):
            raise ValueError
        return tuple(found)

    return parse


FORCE_DENSE: Final = flag(
    "force_dense",
    default=True,
    only=(True,),
    because="sparse rows are made dense here, a mini-batch at a time",
)
