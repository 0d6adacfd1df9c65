"""The real clock. Tests use a virtual one with the same face."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Wall time and monotonic time of this machine."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()  # noqa: TID251  # the one place that may ask

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
