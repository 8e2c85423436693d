"""What AWS documents about each built-in algorithm: its hyperparameters and channels, read from data/."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from sagebrush.core.plan import SpecError

ALGORITHMS = (
    "factorization-machines",
    "kmeans",
    "knn",
    "linear-learner",
    "pca",
    "random-cut-forest",
    "xgboost",
)


class ValueType(StrEnum):
    """What a hyperparameter's text must read as. The first three are SageMaker's own types, text is anything."""

    INTEGER = "integer"
    CONTINUOUS = "continuous"
    CATEGORICAL = "categorical"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one hyperparameter may be. Where a name has several rules, the last whose *when* holds counts."""

    name: str
    type: ValueType
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    """Bound that is itself outside the range."""
    below: float | None = None
    """Bound that is itself outside the range."""
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Words that are legal beside numbers, such as auto."""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other hyperparameters and the values that make this rule apply; it always applies when empty."""

    def applies(self, values: Mapping[str, str]) -> bool:
        """Whether this rule holds for a job with these hyperparameters."""
        return all(values.get(name) in legal for name, legal in self.when.items())


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """What one channel must be: whether there must be one, and the only distribution it may have (None: any)."""

    name: str
    required: bool
    distribution: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """All that is known of one algorithm."""

    source: str
    """Page of AWS' documentation."""
    rules: tuple[Rule, ...]
    channels: tuple[ChannelRule, ...]
    others_allowed: bool
    """Whether hyperparameters that the table doesn't know may exist, as new versions bring them."""

    def applicable(self, values: Mapping[str, str]) -> dict[str, Rule]:
        """Each known name with its rule for a job with these hyperparameters, in the table's order."""
        return {rule.name: rule for rule in self.rules if rule.applies(values)}


def check_name(algorithm: str) -> None:
    """Raise SpecError, naming spec.algorithm.name, unless *algorithm* is one of ALGORITHMS."""
    if algorithm not in ALGORITHMS:
        raise SpecError(f"spec.algorithm.name: {algorithm} is not one of {', '.join(ALGORITHMS)}")


@cache
def table(algorithm: str) -> Table:
    """What is known of *algorithm*, read once. Raises SpecError for an algorithm that isn't one of ALGORITHMS."""
    check_name(algorithm)
    text = resources.files(__package__).joinpath("data", f"{algorithm}.json").read_text(encoding="utf-8")
    raw: Any = json.loads(text)
    return Table(
        source=raw["source"],
        rules=tuple(_rule(row) for row in raw["hyperparameters"]),
        channels=tuple(
            ChannelRule(name, row.get("required", False), row.get("distribution"))
            for name, row in raw["channels"].items()
        ),
        others_allowed=raw.get("others") == "allowed",
    )


def _rule(row: dict[str, Any]) -> Rule:
    lists: dict[str, Any] = {key: tuple(row[key]) for key in ("choices", "words") if key in row}
    when = {name: tuple(legal) for name, legal in row.get("when", {}).items()}
    return Rule(**{**row, **lists, "type": ValueType(row["type"]), "when": when})
