"""kopf's settings for the hot path: it writes nothing, keeps no task per object, and never gives up.

Each line is a measured cost or a trap (``reference/kopf.md`` 1.2, 1.3 and 3).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import kopf
import orjson

from leasehold.domain.errors import DomainError
from leasehold.domain.ports import Clock
from leasehold.handlers.watches import Watches

UNUSED_FINALIZER = "leasehold.dev/kopf-unused"
"""kopf removes the finalizer of this name where it finds it, so it must be nobody's."""
_NO_ITEMS = b'"items":null'
METADATA_ONLY = frozenset({"namespaces"})
"""Plurals of which only metadata is asked for."""
LOGIN_EVERY = 5.0
"""Least seconds between two logins of kopf's."""


class NoDiff(kopf.DiffBaseStorage):
    """Keeps no last-handled configuration: without changing handlers nobody reads it."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:  # noqa: ARG002  # kopf's signature
        """Return nothing, which saves a deep copy per event."""
        return {}

    def fetch(self, *, body: Any) -> Any:  # noqa: ARG002  # kopf's signature
        """Return nothing."""
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: on.event handlers have none."""

    def fetch(self, *, key: Any, body: Any) -> Any:  # noqa: ARG002  # kopf's signature
        """Return nothing."""
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Store nothing."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """Purge nothing."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Touch nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return what is there."""
        return essence


class Backoffs:
    """Pauses between tries, without end and uneven, so that a failing list never ends the operator."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1.0, 2.0, 4.0)
        yield from itertools.cycle((5.0, 8.0, 6.0, 9.0, 7.0))


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.persistence.finalizer = UNUSED_FINALIZER
    chosen.persistence.diffbase_storage = NoDiff()
    chosen.persistence.progress_storage = NoProgress()
    chosen.queueing.idle_timeout = 0.05
    chosen.queueing.worker_limit = None
    chosen.watching.chunk_size = 500
    chosen.watching.server_timeout = 600
    chosen.networking.request_timeout, chosen.networking.connect_timeout = 30, 5
    chosen.networking.error_backoffs = Backoffs()
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    return chosen


def middleware(token: Callable[[], str], watches: Watches) -> aiohttp.ClientMiddlewareType:
    """Return the middleware of kopf's session: a fresh token per request, metadata only where that suffices, and
    word of how lists and watches fare."""

    async def prepare(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        plural, query = request.url.path.rsplit("/", 1)[-1], request.url.query
        try:
            held = token()
        except DomainError as error:
            watches.failed(plural)
            raise aiohttp.ClientConnectionError(str(error)) from None  # an error that does not end kopf
        if held:
            request.headers["Authorization"] = f"Bearer {held}"
        if request.method != "GET":
            return await handler(request)
        watch = "watch" in query
        start = "" if watch or "continue" in query else watches.take_start(plural)
        if start:
            request.url = request.url.update_query(limit="1")  # only its status counts
        bare = plural in METADATA_ONLY
        if bare:
            kind = "PartialObjectMetadata" + ("" if watch else "List")
            request.headers["Accept"] = f"application/json;as={kind};g=meta.k8s.io;v=v1,application/json"
        try:
            response = await handler(request)
        except Exception:
            watches.failed(plural)
            raise
        if not response.ok:
            watches.failed(plural)
        elif watch:
            watches.watching(plural)
        elif start:
            return await _heard(response, start)
        elif "continue" not in query:
            watches.listing(plural)
        return await _with_items(response) if bare and not watch else response

    return prepare


async def _heard(response: aiohttp.ClientResponse, version: str) -> aiohttp.ClientResponse:
    """Turn kopf's first list into an empty one of that resourceVersion: the mirror was filled before kopf was started.

    kopf would pass on each object again, at 0.3 ms each, and hold whole chunks of them meanwhile.
    """
    await response.read()
    response._body = orjson.dumps({"items": [], "metadata": {"resourceVersion": version}})  # noqa: SLF001  # as below
    return response


async def _with_items(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """Give an empty metadata list its items: the API server writes null there, which ends kopf's watcher (1.45.2)."""
    body = await response.read()
    if _NO_ITEMS in body:
        response._body = body.replace(_NO_ITEMS, b'"items":[]')  # noqa: SLF001  # what read() keeps, and json() takes
    return response


def log_in(
    registry: kopf.OperatorRegistry,
    *,
    server: str,
    namespace: str,
    session: Callable[[], aiohttp.ClientSession],
    clock: Clock,
) -> None:
    """Give kopf a session of ours: no DNS name, no client library, no passwd entry is needed.

    kopf logs in again at once after each 401, for ever: where the API server does not know us, we slow it down.
    """
    last = clock.monotonic() - LOGIN_EVERY

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:  # in the loop: a session belongs to it
        nonlocal last
        await clock.sleep(max(last + LOGIN_EVERY - clock.monotonic(), 0.0))
        last = clock.monotonic()
        return kopf.AiohttpSession(server=server, default_namespace=namespace or None, aiohttp_session=session())
