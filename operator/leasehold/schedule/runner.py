"""Bounded workers that take keys from the agenda and look at them; an error that escapes backs off its key alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from leasehold.domain.errors import DomainError
from leasehold.domain.facts import Key
from leasehold.domain.lease import spread
from leasehold.domain.ports import Clock
from leasehold.schedule.agenda import Agenda

FIRST_BACKOFF = 1.0
LAST_BACKOFF = 120.0
MOST_AT_ONCE = 100
"""Looks that a key may have one after the other without rest: a pass with many steps takes some, a bug takes all."""
_log = structlog.get_logger(__name__)


class Runner:
    """Runs ``look`` for each due key, ``workers`` at once."""

    def __init__(
        self, agenda: Agenda, look: Callable[[Key], Awaitable[float | None]], *, workers: int, clock: Clock
    ) -> None:
        """Take the agenda, the look (returns when the next one is due), and how many may run at once."""
        self._agenda, self._look, self._workers, self._clock = agenda, look, workers, clock
        self._failures: dict[Key, int] = {}
        self._restless: dict[Key, int] = {}
        self._stopping = asyncio.Event()
        self._quiet = asyncio.Event()

    async def run(self) -> None:
        """Work until ``drain`` (or cancellation)."""
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = [
                group.create_task(self._work(), name=f"worker-{index}") for index in range(self._workers)
            ]
            tasks.append(group.create_task(self._agenda.run(), name="agenda"))
            await self._stopping.wait()
            while self._agenda.running:
                self._quiet.clear()
                await self._quiet.wait()
            for task in tasks:
                task.cancel()

    async def drain(self, deadline: float) -> int:
        """Start nothing new and wait up to ``deadline`` seconds for what runs; return how many still run."""
        self._stopping.set()
        end = self._clock.monotonic() + deadline
        while self._agenda.running and self._clock.monotonic() < end:
            await self._clock.sleep(0.05)
        return self._agenda.running

    async def _work(self) -> None:
        while True:
            key = await self._agenda.take()
            if self._stopping.is_set():  # it became due while we drain: the next life looks at it
                self._agenda.done(key, None)
                self._quiet.set()
                return
            await self.look_at(key)

    async def look_at(self, key: Key) -> None:
        """Look at a key that was taken from the agenda, and plan its next look."""
        due: float | None = None
        try:
            due = self._rested(key, await self._look(key))
            self._failures.pop(key, None)
        except DomainError as error:
            due = self._back_off(key, error, retry_after=error.retry_after)
        except Exception as error:  # noqa: BLE001  # a bug in one object must not stop the others
            due = self._back_off(key, error, retry_after=None)
        finally:
            self._agenda.done(key, due)
            self._quiet.set()

    def _back_off(self, key: Key, error: Exception, *, retry_after: float | None) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), LAST_BACKOFF)
        wait = max(wait - spread(f"{key}/{failures}", 0.2) * wait, retry_after or 0.0)
        if isinstance(error, DomainError):
            _log.warning("pass_unreported", object=str(key), problem=str(error), retry_in=round(wait, 1))
        else:
            _log.error("pass_crashed", object=str(key), retry_in=round(wait, 1), exc_info=error)
        return self._clock.now() + wait

    def _rested(self, key: Key, due: float | None) -> float | None:
        """Return the due time, later where the key has asked for the next look at once too many times in a row."""
        now = self._clock.now()
        if due is None or due > now:
            self._restless.pop(key, None)
            return due
        times = self._restless[key] = self._restless.get(key, 0) + 1
        if times < MOST_AT_ONCE:
            return due
        wait = min(FIRST_BACKOFF * 2.0 ** min(times - MOST_AT_ONCE, 10), LAST_BACKOFF)
        _log.error("pass_restless", object=str(key), times=times, retry_in=wait)
        return now + wait
