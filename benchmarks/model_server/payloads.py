"""What is asked of the servers."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Payload:
    """One thing that is asked of a server. `model` is the artifact that answers, `connections` ask at the same time."""

    key: str
    title: str
    model: str = "linear"
    rows: int = 1
    form: str = "csv"
    connections: int = 64
    needs_csv: bool = True
    """False: a server without CSV is asked in its own JSON form."""


PAYLOADS = {
    payload.key: payload
    for payload in (
        Payload(key="csv-1", title="1 row, CSV"),
        Payload(key="json-1", title="1 row, JSON", form="json"),
        Payload(key="csv-100", title="100 rows, CSV", rows=100, needs_csv=False),
        Payload(key="lone", title="1 row, one connection", connections=1, needs_csv=False),
        Payload(key="many", title="1 row, 1,000 connections", connections=1000, needs_csv=False),
        Payload(key="gb-1", title="gradient boosting, 100 trees, 1 row", model="boosting", needs_csv=False),
        Payload(key="code-1", title="own inference.py with Python for each request, 1 row", model="code"),
    )
}
