"""Asks the endpoint with curl, as a user would, and compares the answers with what is true."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from examples.demo.data import Sample
from examples.demo.progress import DemoError, say, show, table
from examples.demo.shell import display, run

FEWEST_ROWS = 4
MOST_ROWS = 8
LONGEST_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One answer of the linear learner."""

    score: float
    label: int


def predict_with_curl(url: str, *, sample: Sample, folder: Path) -> dict[str, float]:
    """Ask about the same rows as text/csv and as application/json; return the share of right answers of each.

    The bodies are left in `folder`, so that the command shown can be repeated.

    Raises DemoError where an answer is no prediction, or most of them are wrong.
    """
    rows, labels = _mixed(sample)
    features = [{"features": [float(cell) for cell in row.split(",")]} for row in rows]
    bodies = {"text/csv": "\n".join(rows), "application/json": json.dumps({"instances": features})}
    shares = {}
    for content_type, body in bodies.items():
        path = folder / f"rows.{content_type.partition('/')[2]}"
        path.write_text(body + "\n")
        predictions = parse_predictions(_curl(url, content_type=content_type, body=path), expected=len(rows))
        right = sum(found.label == label for found, label in zip(predictions, labels, strict=True))
        shares[content_type] = right / len(rows)
        names = {0: "normal", 1: "attack"}
        lines = [
            (str(number), names.get(label, str(label)), names.get(found.label, str(found.label)), f"{found.score:.4f}")
            for number, (found, label) in enumerate(zip(predictions, labels, strict=True), 1)
        ]
        show(table([("row", "true", "predicted", "score"), *lines]))
        say(f"{content_type}: {right} of {len(rows)} right")
        if shares[content_type] <= 0.5:
            raise DemoError(
                f"{content_type}: only {right} of {len(rows)} predictions are right: see the model's accuracy"
            )
    return shares


def parse_predictions(text: str, *, expected: int) -> list[Prediction]:
    """Read a linear learner's answer. Raises DemoError, with the answer, where it is anything else."""
    try:
        found = [
            Prediction(score=float(entry["score"]), label=int(entry["predicted_label"]))
            for entry in json.loads(text)["predictions"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DemoError(f"the endpoint's answer is no prediction: {text[:500]}") from error
    if len(found) != expected:
        raise DemoError(f"the endpoint answered {len(found)} predictions for {expected} rows: {text[:500]}")
    return found


def _curl(url: str, *, content_type: str, body: Path) -> str:
    headers = ["-H", f"Content-Type: {content_type}", "-H", "Accept: application/json"]
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30", *headers]
    command += ["--data-binary", f"@{display(body)}", url]
    say(f"{display(body)}: {_short(body.read_text().splitlines()[0])}")
    say(f"$ {shlex.join(command)}")
    text = run(command)
    show(_short(text))
    return text


def _mixed(sample: Sample) -> tuple[list[str], list[int]]:
    """Choose a few rows of both labels where there are both, in the order of the file."""
    chosen: list[int] = []
    for label in sorted(set(sample.labels)):
        chosen += [index for index, known in enumerate(sample.labels) if known == label][: MOST_ROWS // 2]
    if len(chosen) < FEWEST_ROWS:
        chosen = list(range(min(MOST_ROWS, len(sample.rows))))
    chosen.sort()
    return [sample.rows[index] for index in chosen], [sample.labels[index] for index in chosen]


def _short(text: str) -> str:
    flat = text.strip()
    return flat if len(flat) <= LONGEST_SHOWN else f"{flat[:LONGEST_SHOWN]}…"
