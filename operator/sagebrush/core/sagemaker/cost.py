"""
Estimated cost from the user's price table. Pure.

What was spent is in the object's status alone (:class:`sagebrush.api.aws.Cost`): an operator that was down goes on where
its predecessor stopped, at the rate that was in force then.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sagebrush.api.aws import Cost

SERVERLESS = "serverless"
"""In place of an instance type in *usage*: a variant without instances, which has no price per hour."""
STEP = timedelta(minutes=5)
"""The total in status is brought up to date this often, and at every change of the rate."""
_HOUR = timedelta(hours=1)
_DIGITS = 6
_SINCE = re.compile(r"^Counted since [^ Z]+Z")
_SPOT = "Spot: counted at the full price until the job has ended; what AWS then bills carries the saving."


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices per instance hour, by region and instance type."""

    as_of: str = ""
    currency: str = "USD"
    hosting: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Region → instance type → price per hour."""
    training: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def hosting_cost(
    table: PriceTable, *, region: str, usage: Mapping[str, int], before: Cost | None, created: datetime, now: datetime
) -> Cost | None:
    """
    Cost of an endpoint; None where the table has no prices for hosting.

    *usage*: instances by type (:data:`SERVERLESS` for variants without); empty while nothing runs, which costs nothing.
    Returns *before* itself while the rate is the same and less than :data:`STEP` is to be added, so that the status
    isn't written at every look. Otherwise the time since ``before.billed_until`` is added at ``before.hourly``: a changed
    rate counts from now on. An endpoint that was made since then counts from *created*, at the present rate.

    At the first look an endpoint counts from *created* if it is younger than :data:`STEP`; an older one from now on, and
    the message says since when: nobody knows what it ran on before. Where a price is missing, ``hourly`` is unset and
    the total goes on with the part that has one. A new currency starts the total anew.
    """
    if not table.hosting:
        return None
    rate = _rate(table, region=region, usage=usage)
    kept = before if before is not None and before.currency == table.currency else None
    if kept is None:
        young = before is None and now - created < STEP
        since = "" if young else f"Counted since {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        total = _amount(rate.known, start=created, end=now) if young else 0.0
        return _cost(table, hourly=rate.hourly, total=total, now=now, message=_joined(since, rate.message))

    found = _SINCE.match(kept.message)
    message = _joined(found.group(0) if found else "", rate.message)
    told = (rate.hourly, message, table.as_of)
    same = told == (kept.hourly, kept.message, kept.prices_as_of) and created <= kept.billed_until
    if same and (rate.known == 0 or now - kept.billed_until < STEP):
        return kept
    # Unset says nothing of the part that had a price; it is known as long as nothing has changed.
    old_rate = kept.hourly if kept.hourly is not None else rate.known if kept.message == message else 0.0
    turn = min(created, now) if created > kept.billed_until else now
    added = _amount(old_rate, start=kept.billed_until, end=turn) + _amount(rate.known, start=turn, end=now)
    return _cost(table, hourly=rate.hourly, total=kept.total + added, now=now, message=message)


def training_cost(
    table: PriceTable,
    *,
    region: str,
    instance_type: str,
    count: int,
    billable_seconds: int | None,
    running_seconds: int,
    spot: bool,
    before: Cost | None,
    now: datetime,
) -> Cost | None:
    """
    Cost of a training job; None where the table has no prices for training.

    *billable_seconds*: DescribeTrainingJob's BillableTimeInSeconds once the job has ended, None before (then
    *running_seconds* count, and ``hourly`` is what it costs now); both without the number of instances, and summed over
    attempts where there were several. Returns *before* itself while it would say the same, or less than :data:`STEP` later.
    """
    if not table.training:
        return None
    price = table.training.get(region, {}).get(instance_type)
    seconds = running_seconds if billable_seconds is None else billable_seconds
    running = billable_seconds is None
    if price is None:
        message = _missing("training", region=region, instance_type=instance_type)
        cost = _cost(table, hourly=None, total=0.0, now=now, message=message)
    else:
        hourly = round(price * count, _DIGITS) if running else 0.0
        total = price * count * max(0, seconds) / 3600
        cost = _cost(table, hourly=hourly, total=total, now=now, message=_SPOT if spot and running else "")
    if before is None:
        return cost
    told = cost.model_copy(update={"billed_until": before.billed_until})
    if told == before:
        return before
    soon = running and now - before.billed_until < STEP
    return before if soon and told.model_copy(update={"total": before.total}) == before else cost


def price_table(document: Mapping[str, Any]) -> PriceTable:
    """
    The price table of a ConfigMap's document: ``{asOf, currency, hosting: {region: {type: price}}, training: {...}}``.

    Nothing in it is a table without prices: no cost is reported. Raises ValueError that names the path and what is legal.
    """
    if not isinstance(document, Mapping):
        raise ValueError(f"price table: {document!r} is not a mapping with asOf, currency, hosting and training")  # noqa: TRY004 - one error for a bad document
    unknown = sorted(str(key) for key in document if key not in {"asOf", "currency", "hosting", "training"})
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown; legal are asOf, currency, hosting and training")
    hosting, training = (_prices(document.get(kind), path=kind) for kind in ("hosting", "training"))
    as_of, currency = document.get("asOf", ""), document.get("currency", "USD")
    if isinstance(as_of, date):  # what YAML makes of an unquoted date
        as_of = as_of.isoformat()[:32]
    if not isinstance(as_of, str) or len(as_of) > 32 or (not as_of and (hosting or training)):
        raise ValueError(f"asOf: {as_of!r} is not the date of the prices, such as 2026-11-01")
    if not isinstance(currency, str) or not 1 <= len(currency) <= 8:
        raise ValueError(f"currency: {currency!r} is not the name of a currency of up to 8 characters, such as USD")
    return PriceTable(as_of=as_of, currency=currency, hosting=hosting, training=training)


def _prices(found: Any, *, path: str) -> dict[str, dict[str, float]]:
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: {found!r} is not a mapping from regions to prices, such as us-east-1: {{...}}")  # noqa: TRY004 - one error for a bad document
    out: dict[str, dict[str, float]] = {}
    for region, types in found.items():
        if not isinstance(region, str) or not isinstance(types, Mapping):
            raise ValueError(f"{path}.{region}: {types!r} is not a mapping such as ml.m5.large: 0.115")  # noqa: TRY004 - one error for a bad document
        for instance_type, price in types.items():
            where = f"{path}.{region}.{instance_type}"
            if not isinstance(instance_type, str) or not instance_type.startswith("ml."):
                raise ValueError(f"{where}: {instance_type!r} is not an instance type such as ml.m5.large")
            if isinstance(price, bool) or not isinstance(price, int | float) or not math.isfinite(price) or price < 0:
                raise ValueError(f"{where}: {price!r} is not a price per hour: a number of at least 0")
            out.setdefault(region, {})[instance_type] = float(price)
    return out


@dataclass(frozen=True, slots=True)
class _Rate:
    known: float
    """Per hour, of what has a price."""
    hourly: float | None
    message: str


def _rate(table: PriceTable, *, region: str, usage: Mapping[str, int]) -> _Rate:
    prices = table.hosting.get(region, {})
    instances = {name: count for name, count in sorted(usage.items()) if name != SERVERLESS and count > 0}
    missing = [name for name in instances if name not in prices]
    known = round(sum(prices[name] * count for name, count in instances.items() if name in prices), _DIGITS)
    sentences = [_missing("hosting", region=region, instance_type=name) for name in missing]
    serverless = usage.get(SERVERLESS, 0) > 0
    if serverless:
        sentences.append("Serverless variants have no price per hour: they are left out.")
    incomplete = bool(missing) or (serverless and not instances)
    return _Rate(known=known, hourly=None if incomplete else known, message=" ".join(sentences))


def _missing(kind: str, *, region: str, instance_type: str) -> str:
    return f"No price for {instance_type} in {region}: add {kind}.{region}.{instance_type} to the price table."


def _joined(since: str, message: str) -> str:
    sentence = since and f"{since}: the endpoint is older than this record."
    return " ".join(part for part in (sentence, message) if part)[:512]


def _amount(hourly: float, *, start: datetime, end: datetime) -> float:
    return hourly * max(0.0, (end - start) / _HOUR)


def _cost(table: PriceTable, *, hourly: float | None, total: float, now: datetime, message: str) -> Cost:
    return Cost(
        hourly=hourly,
        total=round(total, _DIGITS),
        currency=table.currency,
        prices_as_of=table.as_of,
        billed_until=now,
        message=message,
    )
