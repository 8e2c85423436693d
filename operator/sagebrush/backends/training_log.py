"""Final metrics from a training log, by the patterns of SageMaker's MetricDefinitions."""

from collections.abc import AsyncIterable
from typing import Any

import re2

from sagebrush.api.training_job import Metric, TrainingJobSpec
from sagebrush.core.plan import SpecError

# Built-in algorithms say: #quality_metric: host=algo-1, validation binary_classification_accuracy <score>=0.95
_QUALITY = re2.compile(r"#quality_metric: host=\S+, (?:epoch=\d+, )?(\w+) (\w+) <\w+>=(\S+)")


_QUIET = re2.Options()
_QUIET.log_errors = False


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def patterns_of(spec: TrainingJobSpec) -> list[tuple[str, Any]]:
    """The user's metrics with their compiled patterns. Raises SpecError naming a pattern that RE2 refuses."""
    compiled = []
    for definition in spec.algorithm.metric_definitions:
        try:
            pattern = re2.compile(definition.regex, _QUIET)
        except re2.error as error:
            raise SpecError(
                f"spec.algorithm.metricDefinitions[{definition.name}].regex: {_said(error)}; write RE2 syntax"
            ) from error
        if pattern.groups < 1:
            raise SpecError(
                f"spec.algorithm.metricDefinitions[{definition.name}].regex: has no group; put parentheses around the number"
            )
        compiled.append((definition.name, pattern))
    return compiled


async def final_metrics(spec: TrainingJobSpec, lines: AsyncIterable[str]) -> tuple[Metric, ...]:
    """The last value of each metric in *lines*, in order of first appearance; what is no number is passed over."""
    patterns = patterns_of(spec)
    found: dict[str, float] = {}
    async for line in lines:
        if spec.algorithm.name is not None:
            match = _QUALITY.search(line)
            if match:
                _note(found, f"{match.group(1)}:{match.group(2)}", match.group(3))
        for name, pattern in patterns:
            match = pattern.search(line)
            if match:
                _note(found, name, match.group(1))
    return tuple(Metric(name=name, value=value) for name, value in found.items())


def _note(found: dict[str, float], name: str, text: str | None) -> None:
    try:
        value = float(text or "")
    except ValueError:
        return
    if value == value and abs(value) != float("inf"):  # noqa: PLR0124 - NaN has no JSON form
        found[name] = value
