"""The few numbers that the scaler wants, out of a pod's ``/metrics``.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4). Only the lines that begin
with a wanted name are looked at; a whole parser takes a hundred times as long for what a model server exposes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

ARRIVALS = "sagebrush_invocations_total"
_BUSY = "sagebrush_busy_seconds_total"
_WAITING = "sagebrush_requests_waiting"
_IN_FLIGHT = "sagebrush_requests_in_flight"
_WORKERS = "sagebrush_workers"
_RESPONSES = "sagebrush_responses_total"
_REFUSED = frozenset({"429", "503"})
_WANTED = frozenset({ARRIVALS, _BUSY, _WAITING, _IN_FLIGHT, _WORKERS, _RESPONSES})

_PREFIX = b"\nsagebrush_"
_MOST_LINES = 1000
# Possessive, so that no answer, whatever it is, takes more than one look at each of its bytes.
_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*+"
_EQUALS = r"[ \t]*+=[ \t]*+"
_TEXT = r'(?:[^"\\]|\\.)*+'
_LABELS = re.compile(rf'({_NAME}){_EQUALS}"({_TEXT})"')
_LINE = re.compile(
    rf'([a-z_]++)[ \t]*+(?:\{{[ \t]*+((?:{_NAME}{_EQUALS}"{_TEXT}"[ \t]*+,?+[ \t]*+)*+)\}})?+'
    r"[ \t]*+(\S++)(?:[ \t]++-?+\d++)?+\s*+"
)


class ExpositionError(ValueError):
    """What a pod exposes is of no use; the text says why, and reads on after "pod x"."""


@dataclass(frozen=True, slots=True)
class PodNumbers:
    """What one pod says of one variant; None: it does not say."""

    arrivals: float
    busy_seconds: float | None = None
    waiting: float | None = None
    in_flight: float | None = None
    workers: float | None = None
    refused: float | None = None


def parse_exposition(body: bytes, *, endpoint: str, variant: str) -> PodNumbers:
    """The numbers of the variant, summed where the pod has several series of a name (one for each of its processes).

    Series of other endpoints are left out: an address may have gone to another pod since. Raises
    :class:`ExpositionError` where there is no counter of arrivals.
    """
    sums: dict[str, float] = {}
    others: set[str] = set()
    for name, labels, value in _wanted(body):
        if labels.get("endpoint_name") != endpoint or labels.get("variant_name") != variant:
            others.add(labels.get("endpoint_name", ""))
        elif value is not None and (name != _RESPONSES or labels.get("code") in _REFUSED):
            sums[name] = sums.get(name, 0.0) + value
    if ARRIVALS not in sums:
        raise ExpositionError(_why_not(endpoint, others=others))
    return PodNumbers(
        arrivals=sums[ARRIVALS],
        busy_seconds=sums.get(_BUSY),
        waiting=sums.get(_WAITING),
        in_flight=sums.get(_IN_FLIGHT),
        workers=sums.get(_WORKERS),
        refused=sums.get(_RESPONSES),
    )


def _wanted(body: bytes) -> Iterator[tuple[str, dict[str, str], float | None]]:
    """Name, labels and value of each line that begins with a wanted name."""
    text = b"\n" + body
    seen = 0
    begin = text.find(_PREFIX)
    while begin >= 0:
        end = text.find(b"\n", begin + 1)
        line = text[begin + 1 : end if end >= 0 else None].decode(errors="replace")
        begin = text.find(_PREFIX, begin + 1)
        found = _LINE.fullmatch(line)
        if found is None or found[1] not in _WANTED:
            continue
        seen += 1
        if seen > _MOST_LINES:
            raise ExpositionError(f"exposes more than {_MOST_LINES} series of the names that the scaler reads")
        yield found[1], dict(_LABELS.findall(found[2] or "")), _number(found[3])


def _number(text: str) -> float | None:
    """A count: NaN, infinities, less than 0 and what is no number are none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0 else None


def _why_not(endpoint: str, *, others: set[str]) -> str:
    if others - {"", endpoint}:
        return f"answers for endpoint {min(others - {'', endpoint})}"
    return f"exposes no {ARRIVALS} with the labels endpoint_name and variant_name of its environment"
