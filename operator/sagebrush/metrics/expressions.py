"""The users' own PromQL: each distinct expression is asked once a round, whoever shares it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from sagebrush.core.scaling.window import stale_after_seconds
from sagebrush.metrics.answer import PrometheusError, Values, parse_values
from sagebrush.metrics.prometheus import NOT_CONFIGURED
from sagebrush.metrics.query_api import QueryApi

_AT_ONCE = 8
_FORGOTTEN_AFTER_SECONDS = 120.0

_logger = logging.getLogger(__name__)


class ExpressionValue(NamedTuple):
    """The value, or None and why, in words that stay the same for as long as the reason does."""

    value: float | None
    problem: str = ""


_NOT_ASKED = ExpressionValue(None, "Prometheus has not been asked for target.query yet")


@dataclass(slots=True)
class _Expression:
    wanted_at: float
    answer: ExpressionValue = _NOT_ASKED
    answered_at: float = 0.0


class ExpressionSource:
    """Asks what decisions want to know: an expression is taken up when it is first wanted, and dropped when no longer.

    *clock* gives seconds that never go back.
    """

    def __init__(
        self, api: QueryApi | None, *, interval_seconds: float, timeout_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._fresh_seconds = stale_after_seconds(interval_seconds)
        self._timeout = timeout_seconds
        self._clock = clock
        self._expressions: dict[str, _Expression] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._round: asyncio.Task[None] | None = None

    def value(self, expression: str) -> ExpressionValue:
        """The newest value of the expression, if it is fresh; it is asked for from now on."""
        if self._api is None:
            return ExpressionValue(None, f"target.query: {NOT_CONFIGURED}")
        now = self._clock()
        known = self._expressions.setdefault(expression, _Expression(wanted_at=now))
        known.wanted_at = now
        if known.answered_at and now - known.answered_at > self._fresh_seconds:
            return ExpressionValue(None, f"target.query was last answered more than {self._fresh_seconds:.0f} s ago")
        return known.answer

    async def refresh(self, *, patience_seconds: float) -> None:
        """Asks all of them, and returns when they are answered or patience has run out; then the round goes on."""
        now = self._clock()
        self._expressions = {
            text: each for text, each in self._expressions.items() if now - each.wanted_at <= _FORGOTTEN_AFTER_SECONDS
        }
        if not self._expressions or self._api is None:
            return
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._ask_all(self._api), name="target.query")
        await asyncio.wait({self._round}, timeout=patience_seconds)

    async def close(self) -> None:
        """Ends a round under way."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    async def _ask_all(self, api: QueryApi) -> None:
        await asyncio.gather(*(self._ask(api, text, each) for text, each in list(self._expressions.items())))

    async def _ask(self, api: QueryApi, text: str, known: _Expression) -> None:
        async with self._slots:
            try:
                found = await api.ask("query", form={"query": text}, timeout_seconds=self._timeout)
                answer = value_of(parse_values(found.body, http_status=found.status))
            except PrometheusError as error:
                answer = ExpressionValue(None, f"target.query: {error}")
            except Exception as error:
                _logger.exception("target.query failed in a way not foreseen")
                answer = ExpressionValue(None, f"target.query failed: {type(error).__name__}")
        known.answer, known.answered_at = answer, self._clock()


def value_of(answer: Values) -> ExpressionValue:
    """The one number in the answer. Nothing, several, NaN, an infinity, less than 0, a doubt: unknown, and never 0."""
    if answer.warnings:
        return ExpressionValue(None, f"target.query: Prometheus warns: {answer.warnings[0]}")
    if not answer.values:
        return ExpressionValue(
            None, "target.query gave no series; check the selector, and add 'or vector(0)' where none means 0"
        )
    if len(answer.values) > 1:
        return ExpressionValue(
            None, f"target.query gave {len(answer.values)} series in place of one; put sum() around it"
        )
    value = answer.values[0].value
    if not isfinite(value) or value < 0:
        return ExpressionValue(None, f"target.query gave {value:g}, which is no demand")
    return ExpressionValue(value)
