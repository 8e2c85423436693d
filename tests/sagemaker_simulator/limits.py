"""Token buckets per operation: an optional, truly counted API rate limit, in virtual seconds."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

DEFAULTS: dict[str, tuple[float, float]] = {"ListTrainingJobs": (2, 2)}
"""Not adjustable at AWS (reference §0.9)."""


class Limits:
    """(rate per second, burst) by operation glob; each account and region has buckets of its own."""

    def __init__(self, limits: Mapping[str, tuple[float, float]] | None = None) -> None:
        self.limits = {} if limits is None else {**limits, **{k: v for k, v in DEFAULTS.items() if k not in limits}}
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    def clear(self) -> None:
        self._buckets.clear()

    def allows(self, operation: str, *, account: str, region: str, now: float) -> bool:
        """Take one token from every bucket that counts this operation."""
        allowed = True
        for pattern, (rate, burst) in self.limits.items():
            if fnmatchcase(operation, pattern):
                key = (account, region, pattern)
                tokens, since = self._buckets.get(key, (burst, now))
                tokens = min(burst, tokens + (now - since) * rate)
                allowed = allowed and tokens >= 1
                self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        return allowed
