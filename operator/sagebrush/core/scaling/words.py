"""Sentences that are made only when somebody reads them.

A decision is made every few seconds and read a few times a day: it carries the template and the values.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from string import Formatter
from typing import Any, ClassVar, NamedTuple

__all__ = ["Said", "length", "number", "replicas", "sentence"]


class Said(NamedTuple):
    """A sentence and its values.

    Beyond Python's own, a field takes the formats ``num`` (a quantity), ``rep`` (a count of replicas), ``len`` (a
    number of seconds or a timedelta), ``clock`` (the time of day in UTC) and ``said`` (another such sentence).
    """

    template: str
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return _WORDS.vformat(self.template, self.values, {})


def sentence(template: str, *values: Any) -> Said:
    """A sentence, unmade."""
    return Said(template, values)


def replicas(count: int) -> str:
    """1 replica, 2 replicas."""
    return f"{count} replica" if count == 1 else f"{count} replicas"


def number(value: float) -> str:
    """Whole from ten upwards, else at most two decimals."""
    return f"{value:.0f}" if value >= 10 else f"{round(value, 2):g}"


def length(time: timedelta | float) -> str:
    """Whole minutes as minutes, else seconds."""
    seconds = int(time.total_seconds() if isinstance(time, timedelta) else time)
    return f"{seconds // 60} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds} s"


def _clock(time: datetime) -> str:
    return f"{time:%H:%M:%S}"


class _Words(Formatter):
    _OWN: ClassVar[dict[str, Callable[[Any], str]]] = {
        "num": number,
        "rep": replicas,
        "len": length,
        "clock": _clock,
        "said": str,
    }

    def format_field(self, value: Any, format_spec: str) -> str:
        own = self._OWN.get(format_spec)
        return str(own(value)) if own else str(super().format_field(value, format_spec))


_WORDS = _Words()
