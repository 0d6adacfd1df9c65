"""A cluster in memory behind HTTP on loopback: what kopf and the whole operator talk to in fast tests.

It serves discovery, objects, lists and watches. Watches end, expire or break when a test says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from leasehold.cluster.api import Request, Resource
from tests.worlds.cluster import CLUSTERED, KINDS, RESOURCES, ClusterWorld
from tests.worlds.kube import Echo, Refusal, selected

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class ApiServer:
    """Serves one world. `url` is where."""

    def __init__(self, world: ClusterWorld) -> None:
        self.world, self.url = world, ""
        self.watching: dict[str, int] = {}
        """Plural -> watches that are open."""
        self.lists: dict[str, list[Request]] = {}
        """Plural -> lists and watches that were asked for."""
        self.paths: list[str] = []
        self.tokens: set[str] = set()
        """Bearer tokens that are known; none: everybody."""
        self.expired_before = 0
        """Watches from an earlier version are told that it is gone."""
        self._changed = asyncio.Condition()
        self._lines: set[asyncio.Task[Any]] = set()
        self._ticks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ApiServer]:
        """Listen until the end of the block."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        async with TestServer(app, host="127.0.0.1") as server:
            self.url = str(server.make_url("")).rstrip("/")
            self.world.storage.listeners.append(self._tick)
            yield self
            self.world.storage.listeners.remove(self._tick)
            self.break_watches()
            await asyncio.gather(*self._lines, *self._ticks, return_exceptions=True)

    # ---------------------------------------------------------------------------------------------------------- tests

    async def until(self, met: Callable[[], object], *, patience: float = 20.0) -> None:
        """Wait until something is so; asked at every change and request."""
        async with asyncio.timeout(patience), self._changed:
            await self._changed.wait_for(lambda: bool(met()))

    async def until_watched(self) -> None:
        """Wait until every kind is watched."""
        await self.until(
            lambda: set(self.watching) >= {RESOURCES[kind].plural for kind in ("ExternalSecret", "Secret")}
        )

    def break_watches(self) -> None:
        """Cut every watch off, as a load balancer does."""
        for line in self._lines:
            line.cancel()

    def expire(self) -> None:
        """Forget what happened so far: watches end, and none can go on from before now."""
        self.expired_before = self.world.storage.revision
        self.break_watches()

    # --------------------------------------------------------------------------------------------------------- serving

    def _tick(self) -> None:
        task = asyncio.ensure_future(self._notify())
        self._ticks.add(task)
        task.add_done_callback(self._ticks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        try:
            return await self._answer(request)
        except Refusal as refusal:
            headers = {"Retry-After": f"{refusal.retry_after:.0f}"} if refusal.retry_after is not None else {}
            return web.json_response(refusal.body, status=refusal.status, headers=headers)
        except ConnectionError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        finally:
            await self._notify()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.tokens and token not in self.tokens:
            raise Refusal(401, "Unauthorized")
        found = discover(request.path)
        if found is not None:
            return web.json_response(found)
        asked = parse(request, await request.read())
        if asked.verb == "list":
            self.lists.setdefault(asked.resource.plural, []).append(asked)
        if "watch" in request.query:
            return await self._watch(request, asked)
        answer = await self.world.serve(asked)
        if asked.verb == "list" and not answer["items"] and "PartialObjectMetadata" in asked.accept:
            answer["items"] = None  # as the real one does
        return web.json_response(answer, dumps=lambda body: orjson.dumps(body).decode())

    async def _watch(self, request: web.Request, asked: Request) -> web.StreamResponse:
        plural, since = asked.resource.plural, int(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        line = asyncio.current_task()
        assert line is not None
        for fault in self.world.faults:
            if fault.hits(Request("watch", asked.resource)):
                raise Refusal(fault.status, fault.reason, retry_after=fault.retry_after, message="")
        await response.prepare(request)
        self._lines.add(line)
        self.watching[plural] = self.watching.get(plural, 0) + 1
        await self._notify()
        try:
            if since < self.expired_before:
                gone = {"kind": "Status", "code": 410, "reason": "Expired"}
                await response.write(orjson.dumps({"type": "ERROR", "object": gone}) + b"\n")
            else:
                await self._tell(response, asked, since)
        except asyncio.CancelledError:
            with contextlib.suppress(AttributeError):
                request.transport.abort()  # type: ignore[union-attr]
        finally:
            self._lines.discard(line)
            self.watching[plural] -= 1
        return response

    async def _tell(self, response: web.StreamResponse, asked: Request, since: int) -> None:
        """Say every change after a version, and go on."""
        stream, told = self.world.storage.stream, 0
        while True:
            while told < len(stream):
                echo = stream[told]
                told += 1
                if int(echo.body["metadata"]["resourceVersion"]) > since and (said := matched(echo, asked)):
                    await response.write(orjson.dumps(said) + b"\n")
            async with self._changed:
                await self._changed.wait()


def matched(echo: Echo, asked: Request) -> dict[str, Any] | None:
    """Return the event that a watch gives of a change, None where it does not concern it."""
    metadata = echo.body["metadata"]
    if echo.plural != asked.resource.plural or asked.namespace not in ("", metadata.get("namespace", "")):
        return None
    now = selected(echo.body, asked.params)
    before = echo.before is not None and selected(echo.before, asked.params)
    if not (now or before):
        return None
    kinds = {(True, False): "ADDED", (False, True): "DELETED"}
    said = "DELETED" if echo.type == "DELETED" else kinds.get((now, before), "MODIFIED")
    bare = "PartialObjectMetadata" in asked.accept
    body = {"kind": "PartialObjectMetadata", "metadata": metadata} if bare else echo.body
    return {"type": said, "object": body}


def parse(request: web.Request, raw: bytes) -> Request:
    """Return what an HTTP request asks for."""
    parts = request.path.strip("/").split("/")
    group, version, parts = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    if plural not in KINDS:
        raise Refusal(404, "NotFound")
    verb = ("get" if name else "list") if request.method == "GET" else _VERBS[request.method]
    apply = "apply-patch" in request.content_type
    return Request(
        verb,
        Resource(group, version, plural),
        namespace,
        name,
        subresource=subresource,
        params=dict(request.query),
        body=raw if apply else (orjson.loads(raw) if raw else None),
        content_type=request.content_type,
        accept=request.headers.get("Accept", ""),
    )


def discover(path: str) -> dict[str, Any] | None:
    """Return what discovery says at a path, None where it is no path of discovery."""
    places = {(resource.group, resource.version) for resource in RESOURCES.values()}
    if path in ("/version", "/"):
        return {"major": "1", "minor": "36"}
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        groups = sorted({group for group, _ in places if group})
        return {"groups": [_group(group, {version for one, version in places if one == group}) for group in groups]}
    parts = path.strip("/").split("/")
    core, other = parts[0] == "api" and len(parts) == 2, parts[0] == "apis" and len(parts) == 3
    if not (core or other):
        return None
    place = ("", parts[1]) if core else (parts[1], parts[2])
    verbs = ["list", "watch", "get", "create", "update", "patch", "delete"]
    resources = [
        {"name": resource.plural, "kind": kind, "namespaced": kind not in CLUSTERED, "verbs": verbs}
        for kind, resource in RESOURCES.items()
        if (resource.group, resource.version) == place
    ]
    return {"resources": [{**one, "singularName": one["kind"].lower()} for one in resources]}  # type: ignore[attr-defined]


def _group(name: str, versions: set[str]) -> dict[str, Any]:
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in sorted(versions)]
    return {"name": name, "versions": told, "preferredVersion": told[0]}
