"""Kubernetes Events, posted beside the passes: a bounded queue, and one object per message that comes again.

What does not fit is dropped and counted: a pass never waits for its events.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from leasehold.cluster.api import EVENTS, MERGE_PATCH, KubeApi, Request
from leasehold.cluster.objects import MODELS
from leasehold.domain.errors import DomainError, Missing
from leasehold.domain.facts import Key
from leasehold.domain.ports import Clock
from leasehold.domain.reasons import EventReason
from leasehold.domain.report import rfc3339

ROOM = 1000
REMEMBERED = 2000
AGE = 3000.0
"""Seconds for which an event is counted up instead of posted again; the API server keeps events for an hour."""
LONGEST = 1024
PATIENCE = 3.0
"""Seconds that a shutdown waits for events."""
ROUTINE = frozenset({EventReason.CREATED, EventReason.UPDATED, EventReason.STORE_VALID})
"""What a first start has to tell of every object."""
BURST, RATE = 25.0, 2.0
"""Routine events: so many at once, then so many per second. A start over thousands of objects must not double its cost
by telling each of them that its Secret was created."""
RARE_BURST, RARE_RATE = 200.0, 10.0
"""All others, which routine must not crowd out: whoever looks at an object wants to know why it was repaired."""
_API_VERSIONS = {model.resource.kind: model.resource.api_version for model in MODELS}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Event:
    key: Key
    uid: str
    reason: EventReason
    message: str
    warning: bool
    at: float


class Bucket:
    """A token bucket: ``take`` says whether one more may pass now."""

    def __init__(self, burst: float, rate: float) -> None:
        """Take how many may pass at once, and how many per second."""
        self._burst, self._rate = burst, rate
        self._left, self._at = burst, 0.0

    def take(self, now: float) -> bool:
        """Take one at a monotonic time."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class KubeEvents:
    """ports.Events on the API server; ``run`` posts what ``emit`` queued."""

    def __init__(self, api: KubeApi, clock: Clock, *, dropped: Callable[[], None]) -> None:
        """Take the client, the clock, and what to call for each dropped event."""
        self._api, self._clock, self._dropped = api, clock, dropped
        self._routine, self._rare = Bucket(BURST, RATE), Bucket(RARE_BURST, RARE_RATE)
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(maxsize=ROOM)
        self._posted: dict[tuple[object, ...], tuple[str, int, float]] = {}

    def emit(self, key: Key, *, uid: str, reason: EventReason, message: str, warning: bool = False) -> None:
        """Queue one event about the object."""
        _log.info("event", object=str(key), reason=reason.value, message=message, warning=warning)
        bucket = self._routine if reason in ROUTINE else self._rare
        if not bucket.take(self._clock.monotonic()):
            self._dropped()
            return
        event = _Event(key, uid, reason, message[:LONGEST], warning, self._clock.now())
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._dropped()

    async def run(self) -> NoReturn:
        """Post until cancelled."""
        while True:
            await self._post(await self._queue.get())

    async def flush(self) -> None:
        """Post what is queued now; for a shutdown, which waits a moment for it and no longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not self._queue.empty():
                    await self._post(self._queue.get_nowait())

    async def _post(self, event: _Event) -> None:
        same = (event.key, event.uid, event.reason, event.message)
        held = self._posted.get(same)
        try:
            if held is not None and event.at - held[2] < AGE and await self._count_up(event, held):
                self._posted[same] = (held[0], held[1] + 1, held[2])
                return
            name = _name(event)
            await self._api.send(Request("create", EVENTS, self._where(event), body=self._body(event, name)))
            if len(self._posted) >= REMEMBERED:
                self._posted.pop(next(iter(self._posted)))
            self._posted[same] = (name, 1, event.at)
        except DomainError as error:
            self._dropped()
            _log.debug("event_not_posted", object=str(event.key), problem=str(error))
        except Exception as error:  # noqa: BLE001  # an event must never cost the operator its life
            self._dropped()
            _log.error("event_crashed", object=str(event.key), exc_info=error)

    async def _count_up(self, event: _Event, held: tuple[str, int, float]) -> bool:
        body = {"count": held[1] + 1, "lastTimestamp": rfc3339(event.at)}
        request = Request("patch", EVENTS, self._where(event), held[0], body=body, content_type=MERGE_PATCH)
        try:
            await self._api.send(request)
        except Missing:
            return False
        return True

    def _where(self, event: _Event) -> str:
        return event.key.namespace or "default"

    def _body(self, event: _Event, name: str) -> dict[str, Any]:
        at = rfc3339(event.at)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": self._where(event)},
            "involvedObject": {
                "apiVersion": _API_VERSIONS[event.key.kind],
                "kind": event.key.kind,
                "name": event.key.name,
                "uid": event.uid,
                **({"namespace": event.key.namespace} if event.key.namespace else {}),
            },
            "reason": event.reason.value,
            "message": event.message,
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": "leasehold"},
            "reportingComponent": "leasehold",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }


def _name(event: _Event) -> str:
    mark = hashlib.blake2b(f"{event.uid}{event.reason}{event.message}{event.at}".encode(), digest_size=8).hexdigest()
    return f"{event.key.name[:230].rstrip('-.')}.{mark}"
