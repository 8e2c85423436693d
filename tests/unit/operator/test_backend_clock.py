"""The time that a backend lives in."""

import time
from datetime import UTC, datetime

import pytest

from sagebrush.backends.clock import Clock


def test_clock_must_be_the_walls_unless_told():
    """Without a simulator nothing is sped up."""
    assert Clock() == Clock.parse("")
    assert abs((datetime.now(UTC) - Clock().now()).total_seconds()) < 1


def test_clock_must_run_as_fast_as_told():
    """At the origin it agrees with the wall's, and each second after it counts for several."""
    origin = time.time() - 10
    ahead = Clock.parse(f"60@{origin:.6f}").now().timestamp() - origin
    assert 600 <= ahead < 660


async def test_clock_must_sleep_in_its_own_seconds():
    """A minute of a clock that runs 6000 times as fast is a hundredth of a second."""
    clock = Clock.parse("6000@0")
    begun = time.monotonic()
    before = clock.seconds()
    await clock.sleep(60)
    assert time.monotonic() - begun < 5
    assert 60 <= clock.seconds() - before


@pytest.mark.parametrize("text", ["60", "x@1", "0@5", "60@", "-1@3"])
def test_clock_must_refuse_what_is_none(text: str):
    """The message says the form."""
    with pytest.raises(ValueError, match="speed@unix-time"):
        Clock.parse(text)
