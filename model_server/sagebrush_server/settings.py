"""Numbers from the environment, refused with the variable's name when they make no sense."""

import math
from collections.abc import Mapping


class SettingError(ValueError):
    """An environment variable holds what it can't mean; the message names variable, value and legal range."""


def read_number(environment: Mapping[str, str], *, name: str, default: float, minimum: float = 0.0) -> float:
    """Return the finite number in `name`, at least `minimum`, or `default` where unset. Raises SettingError."""
    text = environment.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < minimum:
        raise SettingError(f"{name}={text!r}: must be a number of at least {minimum:g}")
    return value


def read_integer(environment: Mapping[str, str], *, name: str, default: int, minimum: int = 0) -> int:
    """Return the whole number in `name`, at least `minimum`, or `default` where unset. Raises SettingError."""
    text = environment.get(name)
    if text is None:
        return default
    if not text.strip().isdecimal() or int(text) < minimum:
        raise SettingError(f"{name}={text!r}: must be a whole number of at least {minimum}")
    return int(text)
