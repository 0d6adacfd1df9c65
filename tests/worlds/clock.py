"""Time that moves only when a test says so, or when somebody sleeps."""

from __future__ import annotations

import asyncio


class ManualClock:
    """A `domain.ports.Clock`. Wall time and monotonic time start apart, so that nobody mixes them up unnoticed."""

    def __init__(self, *, now: float = 1_700_000_000.0) -> None:
        self._now, self._monotonic = now, 1_000.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds
