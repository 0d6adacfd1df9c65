"""The watch of managed Secrets: metadata only, resumed where it broke, listed again where that is too old.

kopf hears everything else. It takes 0.3 ms for an event, a task and a queue among them, and each Secret that we write
comes back as one: this watch takes a tenth of it (docs/reference/performance.md). Nothing is decided here; what was
heard is passed on as kopf's events are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

import orjson
import structlog

from leasehold.cluster import gist, listing
from leasehold.cluster.api import JSON, SECRETS, KubeApi, Request
from leasehold.domain.errors import Conflict, DomainError, Unavailable
from leasehold.domain.ports import Clock

SERVER_TIMEOUT = 600
"""Seconds after which the API server ends a watch."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries while lists or watches fail."""
BREATH = 0.1
"""Seconds between two watches of which none failed: something in between may end each at once."""
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
_log = structlog.get_logger(__name__)

Heard = Callable[[str, str | None, Mapping[str, Any]], None]
"""Takes kind, event type (None: listed) and the object."""


class Fortune(Protocol):
    """Is told how the watch fares, by the plural of the resource."""

    def listing(self, plural: str) -> None:
        """Take it that the API server begins to answer a list."""
        ...

    def watching(self, plural: str) -> None:
        """Take it that the API server begins to answer a watch."""
        ...

    def failed(self, plural: str) -> None:
        """Take it that a list or a watch was refused, not answered, or broken off."""
        ...


class SecretWatch:
    """Hears for ever what becomes of managed Secrets."""

    def __init__(self, api: KubeApi, clock: Clock, *, namespace: str, heard: Heard, fortune: Fortune) -> None:
        """Take the client, the one namespace that is heard ("" for all), and whom to tell."""
        self._api, self._clock, self._namespace = api, clock, namespace
        self._heard, self._fortune = heard, fortune
        self._version = ""

    async def run(self, version: str) -> NoReturn:
        """Watch until cancelled, from the resourceVersion of a list that has been heard ("" for none)."""
        self._version = version
        pause = FIRST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                pause = FIRST_PAUSE
                await self._clock.sleep(BREATH)
            except DomainError as error:
                self._fortune.failed(SECRETS.plural)
                _log.warning("watch_failed", resource=SECRETS.plural, problem=str(error), retry_in=pause)
                await self._clock.sleep(max(pause, error.retry_after or 0.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _list(self) -> None:
        """Hear everything again, after a gap: what is no longer there is found by the sweep (cluster.lists)."""
        versions: list[str] = []

        def take(version: str) -> None:
            if not versions:
                self._fortune.listing(SECRETS.plural)
            versions.append(version)

        async for body in listing.everything(self._api, gist.SECRET, self._namespace, version=take):
            self._heard(gist.SECRET, None, body)
        self._version = versions[-1]

    async def _watch(self) -> None:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": listing.SELECTOR,
            "resourceVersion": self._version,
            "timeoutSeconds": str(SERVER_TIMEOUT),
        }
        request = Request("watch", SECRETS, self._namespace, params=params, accept=METADATA)
        try:
            stream = self._api.stream(request, opened=lambda: self._fortune.watching(SECRETS.plural))
            async with contextlib.aclosing(stream) as lines:
                async for line in lines:
                    self._take(request, orjson.loads(line))
        except ValueError:
            problem = "the watch says what is no JSON"
        except Conflict:  # the version is too old
            self._version = ""
            return
        else:
            return
        # raised outside the handler: its error would keep the line alive
        raise Unavailable(problem, path=request.where, remedy="it is tried again")

    def _take(self, request: Request, event: Mapping[str, Any]) -> None:
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            if body.get("code") == 410:
                raise Conflict("the watch is too old", path=request.where, remedy="it is listed again")
            raise Unavailable(f"the watch failed ({body.get('code')})", path=request.where, remedy="it is tried again")
        if kind != "BOOKMARK":
            self._heard(gist.SECRET, kind, body)
        self._version = body["metadata"]["resourceVersion"]
