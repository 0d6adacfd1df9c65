"""How late the event loop is: the one figure that tells a busy operator from a stuck one.

A sleeper asks to be woken at a fixed pace; by how much it wakes late is the lag that every other task sees too. It
measures only; what a lag means is said by the checks that are built from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from leasehold.domain.ports import Clock

PERIOD = 0.5
"""Seconds between two measurements."""
STUCK = 5.0
"""Seconds of lag at which the loop counts as stuck."""


class LoopLag:
    """Measures the lag and remembers the last figure."""

    def __init__(self, clock: Clock, *, report: Callable[[float], None]) -> None:
        """Take the clock, and what to call with each figure in seconds."""
        self._clock, self._report = clock, report
        self._seconds = 0.0
        self._due = clock.monotonic() + PERIOD

    async def run(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            self._due = self._clock.monotonic() + PERIOD
            await self._clock.sleep(PERIOD)
            self._seconds = max(self._clock.monotonic() - self._due, 0.0)
            self._report(self._seconds)

    def problem(self) -> str:
        """Return why the loop counts as stuck, "" while it does not: the larger of the last lag and the present one."""
        lag = max(self._seconds, self._clock.monotonic() - self._due)
        return f"the event loop is {lag:.1f} s late" if lag >= STUCK else ""
