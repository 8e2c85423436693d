"""The time that a backend lives in: ours, or that of a simulator which runs faster."""

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

_FORM = re.compile(r"([0-9.]+)@([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Clock:
    """
    Runs *speed* times as fast as the wall's, with which it agreed at *origin* (seconds since the epoch).

    Everything that is said in seconds, periods, back-offs and budgets, then passes as fast: the operator behaves towards
    a simulator of AWS as it does towards AWS, only sooner.
    """

    speed: float = 1.0
    origin: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """``60@1767225600``; empty is the wall's clock. Raises ValueError."""
        if not text:
            return cls()
        match = _FORM.fullmatch(text)
        if match is None or float(match[1]) <= 0:
            raise ValueError("write speed@unix-time, such as 60@1767225600")
        return cls(float(match[1]), float(match[2]))

    def now(self) -> datetime:
        """The time, aware UTC."""
        return datetime.fromtimestamp(self.origin + (time.time() - self.origin) * self.speed, UTC)

    def seconds(self) -> float:
        """Seconds from some moment on; never goes back."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for so many of its seconds."""
        await asyncio.sleep(seconds / self.speed)
