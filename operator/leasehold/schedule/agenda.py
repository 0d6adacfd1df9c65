"""The due-queue: which key is to be looked at when. Adding moves the earlier entry; a key runs once at a time.

Refresh, renewal, backoff, rollout follow-up and wake-up are all one act: "look at X at T". Lanes keep users' changes
ahead of drift, and drift ahead of routine refreshes, but none waits for ever: a renewal is a routine look too.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NoReturn

from leasehold.domain.facts import Key
from leasehold.domain.ports import Clock

LONGEST_NAP = 30.0
"""Most seconds until the wall clock is looked at again: it may have been set, or the machine been asleep."""
SPARE = 64
"""Stale entries that the heap may hold beside as many as there are keys."""


class Lane(IntEnum):
    """Who goes first among those that are due."""

    USER = 0
    """An object, or what it depends on, was changed."""
    DRIFT = 1
    """A Secret was changed by somebody else."""
    REFRESH = 2
    """A time has come."""


TURNS = (Lane.USER, Lane.USER, Lane.DRIFT, Lane.USER, Lane.USER, Lane.REFRESH)
"""Which lane is asked first at each turn; the others follow in their order."""


@dataclass(slots=True)
class _Slot:
    due: float | None = None
    """Wall time of the next look, None when none is planned or it is due already."""
    lane: Lane = Lane.REFRESH
    entry: int = -1
    """Number of the heap's entry that counts; others of the key are stale."""
    running: bool = False
    again: tuple[float, Lane] | None = None
    """What was asked for while the key ran."""
    queued: bool = False
    since: float = 0.0
    """Monotonic time since which it is due."""


@dataclass(slots=True)
class Agenda:
    """Keys, their due times, and the queues of those that are due now."""

    clock: Clock
    _slots: dict[Key, _Slot] = field(default_factory=dict)
    _heap: list[tuple[float, int, Key]] = field(default_factory=list)
    _ready: dict[Lane, dict[Key, None]] = field(default_factory=lambda: {lane: {} for lane in Lane})
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _turn: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    _running: int = 0

    # ------------------------------------------------------------------------------------------------------ planning

    def wake(self, key: Key, lane: Lane = Lane.USER) -> None:
        """Look at the key as soon as a worker is free; once more after the present look, if it runs."""
        self.at(key, self.clock.now(), lane)

    def at(self, key: Key, due: float, lane: Lane = Lane.REFRESH) -> None:
        """Look at the key at that wall time; an earlier entry stays, a later one is moved ahead."""
        slot = self._slots.setdefault(key, _Slot())
        if slot.running:
            if slot.again is None or due < slot.again[0]:
                slot.again = (due, lane if slot.again is None else min(lane, slot.again[1]))
            return
        if slot.queued:
            if due <= self.clock.now() and lane < slot.lane:
                del self._ready[slot.lane][key]
                slot.lane = lane
                self._ready[lane][key] = None
            return
        if slot.due is not None and slot.due <= due:
            return
        slot.lane = lane
        if due <= self.clock.now():
            self._enqueue(key, slot)
        else:
            self._plan(key, slot, due)

    def _plan(self, key: Key, slot: _Slot, due: float) -> None:
        slot.due, slot.entry = due, next(self._numbers)
        entry = (due, slot.entry, key)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._slots) + SPARE:
            self._heap = [one for one in self._heap if self._counts(one)]
            heapq.heapify(self._heap)
        if self._heap[0] is entry:
            self._changed.set()

    def _enqueue(self, key: Key, slot: _Slot) -> None:
        slot.queued, slot.due, slot.since = True, None, self.clock.monotonic()
        self._ready[slot.lane][key] = None
        self._call_worker()

    def _counts(self, entry: tuple[float, int, Key]) -> bool:
        """Tell whether the entry is its key's plan: entries that were overtaken stay in the heap until they come up."""
        slot = self._slots.get(entry[2])
        return slot is not None and slot.due is not None and slot.entry == entry[1]

    def _promote(self) -> None:
        """Move what has become due from the heap to the queues."""
        now = self.clock.now()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._counts(entry):
                self._enqueue(entry[2], self._slots[entry[2]])

    # ------------------------------------------------------------------------------------------------------- working

    def take_now(self) -> Key | None:
        """Return the next key that is due and mark it as running; None where nothing is due."""
        self._promote()
        first = TURNS[self._turn]
        for lane in (first, *(lane for lane in Lane if lane is not first)):
            queue = self._ready[lane]
            if queue:
                self._turn = (self._turn + 1) % len(TURNS)
                key = next(iter(queue))
                del queue[key]
                slot = self._slots[key]
                slot.queued, slot.running = False, True
                self._running += 1
                return key
        return None

    async def take(self) -> Key:
        """Wait for the next key that is due, and mark it as running."""
        while True:
            key = self.take_now()
            if key is not None:
                return key
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif not waiter.cancelled():
                    self._call_worker()  # the call that was meant for us goes to another worker
                raise

    def done(self, key: Key, due: float | None) -> None:
        """End the look at a key: plan the next one at ``due`` (None: none), or at once if it was woken meanwhile."""
        slot = self._slots[key]
        slot.running = False
        self._running -= 1
        again, slot.again = slot.again, None
        if due is None and again is None:
            del self._slots[key]
            return
        if due is not None:
            self.at(key, due)
        if again is not None:
            self.at(key, *again)

    def _call_worker(self) -> None:
        """Let one waiting worker look at the queues."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def run(self) -> NoReturn:
        """Move keys to the queues as they become due, until cancelled: one sleeper for all workers."""
        while True:
            self._changed.clear()
            self._promote()
            due = self.next_due()
            if due is None:
                await self._changed.wait()
                continue
            waiter = asyncio.ensure_future(self._changed.wait())
            nap = min(max(due - self.clock.now(), 0.0), LONGEST_NAP)
            sleeper = asyncio.ensure_future(self.clock.sleep(nap))
            try:
                await asyncio.wait((sleeper, waiter), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                waiter.cancel()
                await asyncio.gather(sleeper, waiter, return_exceptions=True)

    # -------------------------------------------------------------------------------------------------------- looking

    @property
    def running(self) -> int:
        """How many keys are being looked at."""
        return self._running

    def next_due(self) -> float | None:
        """Return the earliest planned time, None where nothing is planned."""
        while self._heap:
            if self._counts(self._heap[0]):
                return self._heap[0][0]
            heapq.heappop(self._heap)
        return None

    def due(self, key: Key) -> float | None:
        """Return when the key is looked at next, None where nothing is planned."""
        slot = self._slots.get(key)
        return slot.due if slot is not None else None

    def depths(self) -> dict[Lane, int]:
        """Return how many due keys wait per lane."""
        return {lane: len(queue) for lane, queue in self._ready.items()}

    def lag(self) -> float:
        """Return for how many seconds the longest waiting key has been due."""
        firsts = [self._slots[next(iter(queue))].since for queue in self._ready.values() if queue]
        return max(self.clock.monotonic() - min(firsts), 0.0) if firsts else 0.0
