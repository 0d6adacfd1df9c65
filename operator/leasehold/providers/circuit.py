"""One gate per backend address: how many calls run at once, and none at all while the backend is known to be down.

A dead backend costs one probe at a time, not one time-out per object: after the first failure everybody else is
refused at once with the same error and the time at which another try makes sense. What counts as a failure is the
provider's to say; this room knows no protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypeVar

from leasehold.domain.errors import DomainError
from leasehold.domain.ports import Clock

_T = TypeVar("_T")
_E = TypeVar("_E", bound=DomainError)

FIRST_PAUSE = 1.0
"""Seconds without calls after the first failure; doubles with each failed probe."""
LONGEST_PAUSE = 30.0
"""Seconds between two probes of a backend that stays down."""
LONGEST_ORDER = 60.0
"""Most seconds that a Retry-After can close the gate for: a wrong header must not stop a backend for an hour."""


@dataclass(frozen=True, slots=True)
class Down:
    """The backend as a whole cannot answer: what everybody is told, and whether it is only too busy."""

    error: DomainError
    throttled: bool = False


class Health(Enum):
    """What a call says about the address when it does not say that it is down."""

    ANSWERED = "answered"
    """Somebody is there, whatever he said."""
    UNKNOWN = "unknown"
    """The call failed for a reason of its own."""


Judgement: TypeAlias = Down | Health


def again(error: _E, *, retry_after: float | None = None) -> _E:
    """Return an equal error that can be raised on its own: an exception raised twice grows its traceback."""
    return type(error)(
        error.cause,
        path=error.path,
        remedy=error.remedy,
        retry_after=error.retry_after if retry_after is None else retry_after,
    )


class Circuit:
    """The gate of one address. Each lane has its own slots, so that slow calls of one kind starve no other kind."""

    def __init__(self, *, clock: Clock, limit: int, lanes: Iterable[str]) -> None:
        """Let ``limit`` calls run at once in each lane."""
        self._clock = clock
        self._slots = {lane: asyncio.Semaphore(limit) for lane in lanes}
        self._down: Down | None = None
        self._until = 0.0
        self._failures = 0
        self._probing = False

    async def run(
        self, send: Callable[[], Awaitable[_T]], *, judge: Callable[[_T | Exception], Judgement], lane: str
    ) -> _T:
        """Send one call when its lane has a slot, and learn from what comes of it.

        Raises:
            DomainError: the gate is closed (the error of the failure that closed it, with the time that is left).
            Exception: whatever ``send`` raised.
        """
        self._refuse()
        async with self._slots[lane]:
            self._refuse()
            probe = self._down is not None
            self._probing = self._probing or probe
            try:
                result = await send()
            except Exception as error:
                self._learn(judge(error))
                raise
            finally:
                # also after a cancellation: the next caller probes
                self._probing = self._probing and not probe
            self._learn(judge(result))
            return result

    def trip(self, down: Down) -> None:
        """Close the gate for what no single call could tell: a fault that was taken for a passing one has stayed."""
        self._close(down)

    def _refuse(self) -> None:
        """Raise while the gate is closed or somebody else probes."""
        if self._down is None:
            return
        left = self._until - self._clock.monotonic()
        if left > 0 or self._probing:
            raise again(self._down.error, retry_after=max(left, FIRST_PAUSE))

    def _learn(self, judgement: Judgement) -> None:
        if judgement is Health.ANSWERED:
            self._down, self._failures = None, 0
        elif isinstance(judgement, Down):
            self._close(judgement)

    def _close(self, down: Down) -> None:
        now = self._clock.monotonic()
        pause = FIRST_PAUSE
        if not down.throttled:
            if self._down is None or now >= self._until:
                # the calls that were under way when the gate closed fail together: they count as one
                self._failures += 1
            pause = min(FIRST_PAUSE * 2.0 ** (self._failures - 1), LONGEST_PAUSE)
        pause = max(pause, min(down.error.retry_after or 0.0, LONGEST_ORDER))
        self._down, self._until = down, max(self._until, now + pause)
