"""Whether callers kept to their budgets: in no stretch of time more calls than a token bucket lets go."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.sagemaker_simulator.audit import Entry

UNMETERED = frozenset({"s3", "sts"})
"""Services that no budget counts: data, and who one is."""


@dataclass(frozen=True)
class Budget:
    """What a caller may do: `burst` calls at once, and `rate` more per virtual second."""

    rate: float
    burst: int


def bursts(entries: Iterable[Entry], *, budget_of: Callable[[str], Budget | None], jitter: float) -> list[str]:
    """
    The calls that came too soon, one line each; empty where everybody kept to the budget.

    Of each key, account and region: in every window of W virtual seconds there are at most burst + rate × (W + jitter)
    calls. *jitter*, in virtual seconds: calls that were let go in time may arrive late, and then together. A bucket of
    burst + rate × jitter tokens runs dry exactly where one window holds more. *budget_of* tells by access key; None: not
    counted.
    """
    buckets: dict[tuple[str, str, str], tuple[float, float]] = {}
    found = []
    for entry in sorted(entries, key=lambda each: each.virtual_time):
        budget = budget_of(entry.access_key)
        if budget is None or entry.service in UNMETERED:
            continue
        who, full = (entry.access_key, entry.account, entry.region), budget.burst + budget.rate * jitter
        tokens, since = buckets.get(who, (full, entry.virtual_time))
        left = min(full, tokens + (entry.virtual_time - since) * budget.rate) - 1
        if left < 0:
            text = f"{budget.rate:g}/s and {budget.burst} at once, with {jitter:g} s of jitter"
            found.append(f"{'/'.join(who)}: {entry.operation} at {entry.virtual_time:.1f} is beyond {text}")
        buckets[who] = (max(left, 0.0), entry.virtual_time)
    return found
