"""One budget of calls for each AWS account and region, shared by all objects: AWS throttles the account, not the caller."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_LEAST_SHARE = 0.1
_RECOVERY = 0.02


class TokenBucket:
    """
    At most *burst* calls at once and *rate* per second in the long run, first come, first served.

    When AWS throttles all the same (others use the account too), the rate is halved, down to a tenth, and comes back by
    two percent with each call that goes through.
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a budget has a rate above 0 and a burst of at least 1")
        self._rate, self._burst, self._clock, self._sleep = rate, float(burst), clock, sleep
        self._tokens, self._at = float(burst), clock()
        self._share = 1.0

    @property
    def rate(self) -> float:
        """Calls per second at present."""
        return self._rate * self._share

    async def take(self) -> float:
        """Wait for a token; the seconds waited."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate) - 1
        self._at = now
        seconds = max(0.0, -self._tokens / self.rate)  # a debt is a place in line
        if seconds:
            await self._sleep(seconds)
        return seconds

    def succeeded(self) -> None:
        """A call was not throttled."""
        self._share = min(1.0, self._share + _RECOVERY)

    def throttled(self) -> None:
        """AWS says that there were too many calls."""
        self._share = max(_LEAST_SHARE, self._share / 2)
        self._tokens = min(self._tokens, 0.0)
        log.warning("AWS throttles: at most %.1f calls/s for now", self.rate)
