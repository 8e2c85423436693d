"""Schedules of Application Auto Scaling: at(), rate() and six-field cron() in a time zone."""

import re
from calendar import month_abbr
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tests.sagemaker_simulator.errors import invalid

AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")
CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
UNITS = {"minute": 60, "hour": 3600, "day": 86400}
MONTHS = {name.upper(): str(n) for n, name in enumerate(month_abbr[1:], 1)}
DAYS = {name.upper(): str(n) for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), 1)}
DAYS_AHEAD = 366 * 5

Next = Callable[[float], float | None]
"""The first time after this one, or None."""


def parse(schedule: str, *, timezone: str = "UTC", start: float) -> Next:
    """When the schedule fires; ValidationException where AWS would not take it. `start` anchors rates."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise invalid(f"Invalid timezone: {timezone}") from error
    if match := AT.fullmatch(schedule):
        try:
            moment = datetime.fromisoformat(match[1]).replace(tzinfo=zone).timestamp()
        except ValueError as error:
            raise invalid(f"Schedule expression is invalid: {schedule}") from error
        return lambda after: moment if moment > after else None
    if match := RATE.fullmatch(schedule):
        period = int(match[1]) * UNITS[match[2]]
        return lambda after: start + period * max(0 if start > after else 1, int((after - start) // period) + 1)
    if match := CRON.fullmatch(schedule):
        return _cron(match.groups(), zone, schedule)
    raise invalid(
        f"Schedule expression is invalid: {schedule}. Supported: at(yyyy-mm-ddThh:mm:ss), rate(value unit), cron(fields)."
    )


def _cron(fields: tuple[str, ...], zone: ZoneInfo, schedule: str) -> Next:
    minute, hour, day, month, weekday, year = fields
    wrong = f"Schedule expression is invalid: {schedule}. Cron expression is invalid"
    if (day == "?") == (weekday == "?"):
        raise invalid(f"{wrong}: one of day-of-month and day-of-week must be ?")
    try:
        minutes, hours = _numbers(minute, 0, 59), _numbers(hour, 0, 23)
        days = None if day in {"?", "L"} else set(_numbers(day, 1, 31))
        months = set(_numbers(_named(month, MONTHS), 1, 12))
        weekdays = None if weekday == "?" else set(_numbers(_named(weekday, DAYS), 1, 7))
        years = set(_numbers(year, 1970, 2199))
    except ValueError as error:
        raise invalid(f"{wrong}: {error}") from error

    def matches(date: datetime) -> bool:
        last = (date + timedelta(days=1)).day == 1
        return (
            date.year in years
            and date.month in months
            and (days is None or date.day in days)
            and (day != "L" or last)
            and (weekdays is None or date.isoweekday() % 7 + 1 in weekdays)
        )

    def following(after: float) -> float | None:
        date = datetime.fromtimestamp(after, tz=UTC).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(DAYS_AHEAD):
            if matches(date):
                for each_hour in hours:
                    for each_minute in minutes:
                        moment = date.replace(hour=each_hour, minute=each_minute).timestamp()
                        if moment > after:
                            return moment
            date += timedelta(days=1)
        return None

    return following


def _named(field: str, names: dict[str, str]) -> str:
    for name, number in names.items():
        field = field.replace(name, number)
    return field


def _numbers(field: str, least: int, most: int) -> list[int]:
    found: set[int] = set()
    for part in field.split(","):
        spread, _, step = part.partition("/")
        first, dash, last = spread.partition("-")
        low = least if first in {"*", "?"} else int(first)
        high = int(last) if dash else (most if first in {"*", "?"} or step else low)
        if not least <= low <= high <= most:
            raise ValueError(f"{part} is not within {least}-{most}")
        found.update(range(low, high + 1, int(step or 1)))
    return sorted(found)
