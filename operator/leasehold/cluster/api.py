"""A thin Kubernetes client on aiohttp and orjson: one connection pool, time-outs, and errors by consequence.

Only what the server has not acted upon is sent again by itself: reads, and anything that it turned away with 429, with
a Retry-After, or for our token. Everything else is a matter of the next pass. (When the server hangs up on a PUT or
DELETE, aiohttp itself sends it once more: ours name a version or a uid.)
"""

from __future__ import annotations

import asyncio
import io
import itertools
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from leasehold.cluster.access import Access
from leasehold.cluster.answers import TurnedAway, Unknown, retry_after, status, translate
from leasehold.domain.errors import Missing, Unavailable
from leasehold.domain.ports import Clock

TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0
SILENCE = 70.0
"""Seconds without a word after which a stream counts as broken: the API server sends a bookmark each minute."""
TRIES = 3
LONGEST_WAIT = 10.0
"""Most seconds that one request waits for the server's Retry-After before its caller is told."""
LARGE = 1024 * 1024
"""Bytes of a body above which aiohttp wants a file, which it sends piece by piece."""
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Observe(Protocol):
    """Counts one request."""

    def __call__(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        """Take verb, plural resource (with /subresource), HTTP status or error, and how long it took."""
        ...


_PLAIN = re.compile(r"[a-z0-9][-a-z0-9.]*")


@dataclass(frozen=True, slots=True)
class Resource:
    """A place in the API: group and version, the plural, and the words for errors."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the request path; ``namespace`` "" is cluster scope, ``name`` "" is the collection."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [base, *(("namespaces", _segment(namespace)) if namespace else ()), self.plural]
        return "/".join([*parts, *((_segment(name),) if name else ()), *((subresource,) if subresource else ())])


def _segment(name: str) -> str:
    """Return a name as one segment of a path: what users write in a reference reaches neither the query nor others."""
    return name if _PLAIN.fullmatch(name) else quote(name, safe="")


SECRETS = Resource("", "v1", "secrets")
CONFIG_MAPS = Resource("", "v1", "configmaps")
EVENTS = Resource("", "v1", "events")
ACCOUNTS = Resource("", "v1", "serviceaccounts")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and the words by which its failure is told."""

    verb: str
    """get | list | watch | create | update | patch | delete."""
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    accept: str = JSON

    @property
    def label(self) -> str:
        """Plural and subresource, as RBAC writes them."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def where(self) -> str:
        """What the request is about."""
        made = self.body.get("metadata", {}).get("name", "") if isinstance(self.body, dict) else ""
        parts = "/".join(part for part in (self.namespace, self.name or made) if part)
        return f"{self.label} {parts}" if parts else self.label


_WRITES = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


def _ignore(*, verb: str, resource: str, code: str, seconds: float) -> None:
    pass


class KubeApi:
    """Sends requests under one identity; close it at the end."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        *,
        concurrency: int = 32,
        observe: Observe = _ignore,
        correlation: Callable[[], str] = str,
    ) -> None:
        """Take where and who, and how many requests may be under way at once."""
        self.access = access
        self._clock, self._observe, self._correlation = clock, observe, correlation
        self._limit = asyncio.Semaphore(concurrency)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT, connect=CONNECT_TIMEOUT)
        # one more for the stream, which holds no slot
        self._connector = aiohttp.TCPConnector(limit=concurrency + 1, ssl=access.tls or True, ttl_dns_cache=60)
        jar = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(connector=self._connector, timeout=timeout, cookie_jar=jar)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, request: Request) -> Any:
        """Return the parsed body of a 2xx answer.

        Raises:
            Denied: 401 or 403; names verb, resource and remedy.
            Missing: 404. Conflict: 409. Misconfigured: 400, 413, 422 and other refusals.
            Unavailable: 429, 5xx, time-out, no connection.
        """
        refused = False
        for attempt in itertools.count(1):
            try:
                return await self._once(request)
            except Unknown:
                if refused:
                    raise
                refused = True
                self.access.renew()  # the token was replaced a moment ago, or ends now
            except Unavailable as error:
                wait = error.retry_after if error.retry_after is not None else 0.2 * attempt
                again = isinstance(error, TurnedAway) or request.verb in ("get", "list")
                if not again or attempt >= TRIES or wait > LONGEST_WAIT:
                    raise
                await self._clock.sleep(wait)
        raise AssertionError  # the loop returns or raises

    async def _once(self, request: Request) -> Any:
        started = self._clock.monotonic()
        code = "error"
        try:
            async with self._limit, self._open(request) as answer:
                code = str(answer.status)
                raw = await answer.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unavailable(
                f"the API server does not answer ({type(error).__name__})",
                path=request.where,
                remedy="it is tried again",
            ) from None
        finally:
            seconds = self._clock.monotonic() - started
            self._observe(verb=request.verb, resource=request.label, code=code, seconds=seconds)
        if answer.status >= 300:
            told = status(raw)
            raise translate(request, answer.status, told, retry_after(answer.headers, told))
        try:
            return orjson.loads(raw) if raw else {}
        except ValueError:
            problem = "something answers in the place of the API server"
        # raised outside the handler: its error would keep the answer alive
        raise Unavailable(problem, path=request.where, remedy="check the address and what is in between")

    async def stream(self, request: Request, *, opened: Callable[[], None]) -> AsyncGenerator[bytes, None]:
        """Yield the lines of an answer that does not end soon; ``opened`` is called where it begins.

        It holds no slot of the requests. Raises as ``send`` does, Unavailable too where the answer breaks off.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE)
        held = b""
        try:
            async with self._open(request, timeout=timeout) as answer:
                if answer.status >= 300:
                    if answer.status == 401:
                        self.access.renew()  # its caller comes again
                    told = status(await answer.read())
                    raise translate(request, answer.status, told, retry_after(answer.headers, told))
                opened()
                async for part in answer.content.iter_any():
                    *lines, held = (held + part).split(b"\n")
                    for line in lines:
                        yield line
        except (TimeoutError, aiohttp.ClientError) as error:
            problem = f"the API server does not go on ({type(error).__name__})"
            raise Unavailable(problem, path=request.where, remedy="it is tried again") from None

    def _open(self, request: Request, **options: Any) -> aiohttp.client._RequestContextManager:
        headers = {"Accept": request.accept, "User-Agent": "leasehold"}
        if token := self.access.token():
            headers["Authorization"] = f"Bearer {token.reveal().decode()}"
        if identifier := self._correlation():
            headers["Audit-ID"] = identifier
        data: bytes | io.BytesIO | None = None
        if request.body is not None:
            headers["Content-Type"] = request.content_type
            raw = request.body if isinstance(request.body, bytes) else orjson.dumps(request.body)
            data = io.BytesIO(raw) if len(raw) > LARGE else raw
        path = request.resource.path(request.namespace, request.name, request.subresource)
        query = f"?{urlencode(request.params)}" if request.params else ""
        return self._session.request(
            _WRITES.get(request.verb, "GET"),
            URL(self.access.server + path + query, encoded=True),  # names need no quoting, and it takes a while
            data=data,
            headers=headers,
            allow_redirects=False,
            **options,
        )

    async def get(self, resource: Resource, namespace: str, name: str, **options: Any) -> Any | None:
        """Return one object, None where there is none."""
        try:
            return await self.send(Request("get", resource, namespace, name, **options))
        except Missing:
            return None
