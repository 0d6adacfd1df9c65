"""The real clock is the machine's."""

import datetime as dt

from leasehold.domain.ports import Clock
from leasehold.schedule.clock import SystemClock


async def test_it_is_a_clock() -> None:
    clock: Clock = SystemClock()
    started = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= started
    assert clock.now() > dt.datetime(2025, 1, 1, tzinfo=dt.UTC).timestamp()
