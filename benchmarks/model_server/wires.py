"""How rows go to a server and how its answers are read: each server's own forms."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.model_server.generator import Exchange

Cells = Sequence[Sequence[str]]
"""The rows of one body; values as text, since that is what is sent."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One form of request, and which numbers the answer must hold behind the text `anchor`."""

    path: str
    """`{rows}` in it is the number of rows of the request."""
    content_type: str
    body: Callable[[Cells], bytes]
    numbers: Callable[[Sequence[float]], list[float] | bytes]
    """From the scores of a body to the numbers of the right answer, or to the whole of it."""
    anchor: bytes = b""


def exchanges(wire: Wire, *, bodies: Iterable[Cells], scores: Iterable[Sequence[float]]) -> list[Exchange]:
    """Return a request for each body, with the numbers of the answer that is right."""
    made = []
    for cells, expected in zip(bodies, scores, strict=True):
        body = wire.body(cells)
        head = f"POST {wire.path.format(rows=len(cells))} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {wire.content_type}\r\n"
        head += f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        made.append(Exchange(head.encode() + body, wire.numbers(expected)))
    return made


# --- bodies ---


def csv(cells: Cells) -> bytes:
    """One line per row."""
    return ("\n".join(",".join(row) for row in cells) + "\n").encode()


def _array(cells: Cells) -> str:
    return "[" + ",".join("[" + ",".join(row) + "]" for row in cells) + "]"


def json_rows(cells: Cells) -> bytes:
    """A list of rows, each a list: what SageMaker's scikit-learn container takes."""
    return _array(cells).encode()


def json_instances(cells: Cells) -> bytes:
    """V1 of KServe's protocol."""
    return f'{{"instances":{_array(cells)}}}'.encode()


def json_features(cells: Cells) -> bytes:
    """The form of SageMaker's built-in algorithms."""
    rows = ",".join('{"features":[' + ",".join(row) + "]}" for row in cells)
    return f'{{"instances":[{rows}]}}'.encode()


def json_named(cells: Cells) -> bytes:
    """BentoML: an object with the arguments of the service's function."""
    return f'{{"rows":{_array(cells)}}}'.encode()


def json_v2(cells: Cells) -> bytes:
    """The Open Inference Protocol: one tensor."""
    values = ",".join(",".join(row) for row in cells)
    shape = json.dumps([len(cells), len(cells[0])])
    return f'{{"inputs":[{{"name":"rows","shape":{shape},"datatype":"FP64","data":[{values}]}}]}}'.encode()


# --- numbers of the answer ---


def scores_only(scores: Sequence[float]) -> list[float]:
    """The probability of class 1 of each row."""
    return list(scores)


def scores_and_labels(scores: Sequence[float]) -> list[float]:
    """Score and label of each row."""
    return [number for score in scores for number in (score, float(score >= 0.5))]


def both_classes(scores: Sequence[float]) -> list[float]:
    """The probabilities of class 0 and 1 of each row."""
    return [number for score in scores for number in (1 - score, score)]


def labels_and_both_classes(scores: Sequence[float]) -> list[float]:
    """The label of each row, and the probabilities of class 0 and 1."""
    return [number for score in scores for number in (float(score > 0.5), 1 - score, score)]
