"""Time that moves only when a test says so, or when somebody sleeps."""

from __future__ import annotations

import asyncio
import heapq


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


class VirtualClock(ManualClock):
    """A clock on which sleepers wait until a test moves the time past them; nothing waits in real time."""

    def __init__(self, *, now: float = 1_700_000_000.0) -> None:
        super().__init__(now=now)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has been moved that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._order, waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    async def pass_time(self, seconds: float) -> None:
        """Move the time in the order of those who wait for it, letting everybody act in between."""
        end = self._monotonic + seconds
        await breathe()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, waiter = heapq.heappop(self._sleepers)
            if waiter.done():
                continue
            self.advance(max(at - self._monotonic, 0.0))
            waiter.set_result(None)
            await breathe()
        self.advance(max(end - self._monotonic, 0.0))
        await breathe()


async def breathe(turns: int = 30) -> None:
    """Let everybody who can act, act."""
    for _ in range(turns):
        await asyncio.sleep(0)
