"""Estimated cost from the user's price table. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices per instance hour, by region and instance type."""

    as_of: str = ""
    currency: str = "USD"
    hosting: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Region → instance type → price per hour."""
    training: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
