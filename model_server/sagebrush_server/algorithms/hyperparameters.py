"""Hyperparameters as one table per algorithm: what is legal, what is the default, and what this version can't honour."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sagebrush_server.errors import ClientError

AUTO: Final = "auto"

Parse = Callable[[str], Any]
"""Turns text into a value. Raises ValueError for what is outside the legal range."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One row of the table. `legal` is the range in words, as messages show it; `default` None means required.

    `only` names the values this version honours, where those are fewer than SageMaker's (none: the hyperparameter isn't
    offered), and `because` says why.
    """

    name: str
    parse: Parse
    legal: str
    default: Any = None
    required: bool = False
    only: Sequence[Any] | None = None
    because: str = ""

    def read(self, text: str) -> Any:
        """Return the value of `text`. Raises ClientError naming the hyperparameter, the value and the legal range."""
        try:
            value = self.parse(text)
        except ValueError:
            raise ClientError(f"hyperparameter {self.name}={text!r}: must be {self.legal}") from None
        if self.only is not None and value not in self.only:
            honoured = " or use " + ", ".join(map(str, self.only)) if self.only else ""
            raise ClientError(
                f"hyperparameter {self.name}={text!r} can't be honoured: {self.because}; leave it out{honoured}"
            )
        return value


def integer(*, minimum: int, maximum: int | None = None) -> Parse:
    """Whole numbers from `minimum` to `maximum`, both included."""

    def parse(text: str) -> int:
        value = int(text)
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError
        return value

    return parse


def number(
    *,
    above: float | None = None,
    minimum: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
) -> Parse:
    """Finite numbers; `above` and `below` are excluded themselves, `minimum` and `maximum` included."""

    def parse(text: str) -> float:
        value = float(text)
        outside = (
            not math.isfinite(value)
            or (above is not None and value <= above)
            or (minimum is not None and value < minimum)
            or (below is not None and value >= below)
            or (maximum is not None and value > maximum)
        )
        if outside:
            raise ValueError
        return value

    return parse


def choice(*values: str) -> Parse:
    """One of the given words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return parse


def boolean(text: str) -> bool:
    """`true` or `false`, in any case, as the SDK writes Python's and JSON's."""
    return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse()


def or_auto(parse: Parse) -> Parse:
    """`auto`, or what `parse` takes."""

    def parse_or_auto(text: str) -> Any:
        return AUTO if text == AUTO else parse(text)

    return parse_or_auto


def or_word(parse: Parse, *words: str) -> Parse:
    """One of the words, or what `parse` takes."""

    def parse_or_word(text: str) -> Any:
        return text if text in words else parse(text)

    return parse_or_word


def read_hyperparameters(given: Mapping[str, Any], *, table: Sequence[Hyperparameter]) -> dict[str, Any]:
    """Return a value for every row of `table`.

    Values are strings as SageMaker writes them; the SDK's JSON-encoded strings (a quoted word within the string) are understood too.
    Raises ClientError for an unknown name (listing the legal ones), a missing required one, and a value that is illegal
    or can't be honoured.
    """
    rows = {row.name: row for row in table}
    unknown = sorted(set(given) - set(rows))
    if unknown:
        names = ", ".join(sorted(rows))
        raise ClientError(f"unknown hyperparameter {', '.join(unknown)}; there are: {names}")
    values = {}
    for row in table:
        if row.name in given:
            values[row.name] = row.read(_plain(given[row.name]))
        elif row.required:
            raise ClientError(f"hyperparameter {row.name} is required: it must be {row.legal}")
        else:
            values[row.name] = row.default
    return values


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(orjson.loads(text))
        except orjson.JSONDecodeError:
            return text
    return text


def _refuse() -> bool:
    raise ValueError
