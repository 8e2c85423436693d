"""CPU time of reading requests and writing answers, in microseconds, without a server around them.

`python -m benchmarks.model_server.codecs`: rows of 41 numbers as in the KDD data, one row in each of 32 bodies that are read together,
and 100 rows in one body; the same by the slow and exact readers, one by one. Best of several rounds of CPU time.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.codecs.base import slices
from sagebrush_server.codecs.csv_rows import CsvDecoder
from sagebrush_server.codecs.json_rows import JSON
from sagebrush_server.codecs.responses import ENCODERS

WIDTH = 41
TOGETHER = 32
MANY = 100
ROUNDS = 9


def microseconds(work: Callable[[], object], *, repeats: int = 100) -> float:
    """Return the CPU time of one call, the best of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - start) / repeats)
    return min(rounds) * 1e6


def row_texts(count: int) -> list[list[str]]:
    """Return rows of counters, rates and zeros, written as short as they are in the KDD files."""
    random = np.random.default_rng(0)
    table = np.where(random.random((count, WIDTH)) < 0.6, 0, 10 ** random.uniform(-2, 4, (count, WIDTH)))
    return [[f"{value:.2f}" if column % 2 else str(int(value)) for column, value in enumerate(row)] for row in table]


def report(name: str, *, fast: Callable[[], object], slow: Callable[[], object], per: int = 1) -> None:
    """Print one line: microseconds per row, or per body, both ways."""
    print(f"{name:<48} {microseconds(fast) / per:8.2f} {microseconds(slow, repeats=20) / per:8.2f}")


def main() -> None:
    """Measure and print."""
    rows = row_texts(MANY)
    csv = [",".join(row).encode() for row in rows]
    json = [('{"instances": [{"features": [' + ", ".join(row) + "]}]}").encode() for row in rows]
    csv_body = b"\n".join(csv)
    json_body = (
        '{"instances": [' + ", ".join('{"features": [' + ", ".join(row) + "]}" for row in rows) + "]}"
    ).encode()
    decoder = CsvDecoder()

    def json_one_by_one(bodies: Sequence[bytes]) -> None:
        for body in bodies:
            JSON.read(body, feature_dim=WIDTH)

    print(f"{'':<48} {'together':>8} {'alone':>8}")
    ones = csv[:TOGETHER]
    report(
        f"CSV, 1 row x {TOGETHER}, each",
        fast=lambda: decoder.decode_together(ones, feature_dim=WIDTH),
        slow=lambda: [decoder.decode(body, feature_dim=WIDTH) for body in ones],
        per=TOGETHER,
    )
    report(
        f"JSON, 1 row x {TOGETHER}, each",
        fast=lambda: JSON.decode_together(json[:TOGETHER], feature_dim=WIDTH),
        slow=lambda: json_one_by_one(json[:TOGETHER]),
        per=TOGETHER,
    )
    # A sign sends a body to the slow reader.
    signed = b"+" + csv_body
    report(
        f"CSV, {MANY} rows ({len(csv_body)} bytes), fast and slow",
        fast=lambda: decoder.decode(csv_body, feature_dim=WIDTH),
        slow=lambda: decoder.decode(signed, feature_dim=WIDTH),
    )
    report(
        f"JSON, {MANY} rows ({len(json_body)} bytes), fast and slow",
        fast=lambda: JSON.decode(json_body, feature_dim=WIDTH),
        slow=lambda: JSON.read(json_body, feature_dim=WIDTH),
    )
    measure_answers()


def measure_answers() -> None:
    """Measure and print what writing costs."""
    scores = np.random.default_rng(1).random(MANY)
    answers = Predictions({"score": scores, "predicted_label": (scores > 0.5).astype(np.int64)})
    (few,) = slices(answers, counts=[TOGETHER])
    for media, encoder in ENCODERS.items():
        report(
            f"{media}, 1 row x {TOGETHER}, each",
            fast=lambda encoder=encoder: encoder.encode(few, counts=[1] * TOGETHER),  # type: ignore[misc]
            slow=lambda encoder=encoder: [  # type: ignore[misc]
                encoder.encode(part, counts=[1]) for part in slices(few, counts=[1] * TOGETHER)
            ],
            per=TOGETHER,
        )
        print(f"{f'{media}, {MANY} rows':<48} {microseconds(lambda: encoder.encode(answers, counts=[MANY])):8.2f}")  # noqa: B023 – called at once


if __name__ == "__main__":
    main()
