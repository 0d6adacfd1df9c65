"""kopf's settings, its login, and the middleware of its session."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import aiohttp
import kopf
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from leasehold.cluster import listing
from leasehold.domain.errors import Misconfigured
from leasehold.handlers import habits
from leasehold.handlers.watches import Watches
from tests.worlds.clock import ManualClock

# ------------------------------------------------------------------------------------------------------------- settings


def test_kopf_writes_nothing_and_waits_for_nothing() -> None:
    chosen = habits.settings()
    assert not chosen.posting.enabled
    assert chosen.scanning.disabled
    assert chosen.peering.standalone
    assert chosen.persistence.finalizer == habits.UNUSED_FINALIZER
    assert "external-secrets" not in chosen.persistence.finalizer
    assert chosen.queueing.idle_timeout == 0.05
    assert chosen.queueing.worker_limit is None
    assert isinstance(chosen.watching.server_timeout, int)  # sent as it is
    assert chosen.watching.server_timeout == 600
    assert chosen.watching.chunk_size == listing.CHUNK
    assert (chosen.networking.request_timeout, chosen.networking.connect_timeout) == (30, 5)
    assert logging.getLogger("kopf.objects").level == logging.WARNING


def test_storages_store_nothing() -> None:
    chosen, body = habits.settings(), {"metadata": {"annotations": {}}}
    patch: dict[str, Any] = {}
    diff, progress = chosen.persistence.diffbase_storage, chosen.persistence.progress_storage
    diff.store(body=body, patch=patch, essence={"spec": 1})
    progress.store(key="k", record={}, body=body, patch=patch)
    progress.purge(key="k", body=body, patch=patch)
    progress.touch(body=body, patch=patch, value="v")
    assert patch == {}
    assert diff.build(body=body) == {}
    assert diff.fetch(body=body) is None
    assert progress.fetch(key="k", body=body) is None
    assert progress.clear(essence=body) is body


def test_backoffs_never_end_and_can_be_asked_again() -> None:
    backoffs = habits.settings().networking.error_backoffs
    first, second = (list(islice(iter(backoffs), 100)) for _ in range(2))
    assert first == second
    assert first[0] < 1
    assert all(pause < 10 for pause in first)
    assert len(set(first[4:9])) > 1  # uneven, so that watches do not come back all at once
    assert not hasattr(backoffs, "__len__")  # kopf would stop after so many


# ---------------------------------------------------------------------------------------------------------------- login


async def test_the_login_is_ours_and_asks_nobody() -> None:
    registry, clock, made = kopf.OperatorRegistry(), ManualClock(), []

    def session() -> Any:
        made.append(clock.monotonic())
        return object()

    habits.log_in(registry, server="https://10.0.0.1:443", namespace="", session=session, clock=clock)
    (handler,) = registry._activities._handlers
    info = await handler.fn(logger=None)
    assert isinstance(info, kopf.AiohttpSession)
    assert (info.server, info.default_namespace) == ("https://10.0.0.1:443", None)
    begun = clock.monotonic()
    for _ in range(3):
        await handler.fn(logger=None)
    assert clock.monotonic() - begun == 3 * habits.LOGIN_EVERY  # kopf would come again at once, for ever
    clock.advance(3600)
    begun = clock.monotonic()
    await handler.fn(logger=None)
    assert clock.monotonic() == begun  # a first refusal after a while is answered at once
    assert len(made) == 5


# ----------------------------------------------------------------------------------------------------------- middleware


class Door:
    """An API server's door, and kopf's session in front of it."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.answer: Callable[[], web.StreamResponse] = lambda: web.json_response({"items": [{"metadata": {}}]})
        self.token = "one"
        self.listed: list[str] = []
        kinds = {"secrets": "Secret", "externalsecrets": "ExternalSecret", "namespaces": "Namespace"}
        self.watches = Watches(kinds, ManualClock().monotonic, listed=self.listed.append)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        self.seen.append(request)
        return self.answer()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Callable[..., Any]]:
        """Return how to ask: path and method."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        async with TestServer(app, host="127.0.0.1") as server:
            prepare = habits.middleware(lambda: self.token, self.watches)
            async with aiohttp.ClientSession(str(server.make_url("")), middlewares=[prepare]) as session:

                async def ask(path: str, method: str = "GET") -> tuple[int, Any]:
                    async with session.request(method, path) as answer:
                        return answer.status, await answer.json(content_type=None)

                yield ask


ALL, ONE = "/api/v1/namespaces", "/api/v1/namespaces/shop"
ES = "/apis/external-secrets.io/v1/externalsecrets"


async def test_lists_and_watches_of_namespaces_are_of_metadata() -> None:
    door = Door()
    async with door.open() as ask:
        await ask(ALL)
        await ask(f"{ALL}?watch=true&resourceVersion=1")
    assert [request.headers["Accept"] for request in door.seen] == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    ]


@pytest.mark.parametrize(
    ("path", "method"),
    [(ES, "GET"), (f"{ES}?watch=true", "GET"), ("/apis", "GET"), (ALL, "POST"), (ONE, "GET")],
)
async def test_everything_else_is_as_kopf_asks(path: str, method: str) -> None:
    door = Door()
    async with door.open() as ask:
        await ask(path, method)
    assert "PartialObjectMetadata" not in door.seen[0].headers["Accept"]


async def test_the_token_is_that_of_the_moment() -> None:
    door = Door()
    async with door.open() as ask:
        await ask(ES)
        door.token = "two"
        await ask(ES, "PATCH")
        door.token = ""
        await ask(ES)
    assert [request.headers.get("Authorization") for request in door.seen] == ["Bearer one", "Bearer two", None]


async def test_a_token_that_cannot_be_had_is_an_outage_to_kopf() -> None:
    def broken() -> str:
        raise Misconfigured("the plug-in gives no token", path="x", remedy="run it")

    door = Door()
    prepare = habits.middleware(broken, door.watches)
    door.watches.watching("externalsecrets")
    async with aiohttp.ClientSession(middlewares=[prepare]) as session:
        with pytest.raises(aiohttp.ClientConnectionError, match="no token"):  # which kopf tries again, for ever
            await session.get(f"http://127.0.0.1:1{ES}")
    assert door.watches._watches["externalsecrets"].failing is not None


async def test_a_metadata_list_without_items_has_an_empty_list() -> None:
    door = Door()
    door.answer = lambda: web.Response(body=b'{"metadata":{"resourceVersion":"7"},"items":null}')
    async with door.open() as ask:
        assert await ask(ALL) == (200, {"metadata": {"resourceVersion": "7"}, "items": []})
        assert await ask(ES) == (200, {"metadata": {"resourceVersion": "7"}, "items": None})


async def test_the_first_list_is_what_was_heard_already() -> None:
    door = Door()
    door.watches.go_on("namespaces", "17")
    async with door.open() as ask:
        assert await ask(f"{ALL}?limit=500") == (200, {"items": [], "metadata": {"resourceVersion": "17"}})
        assert door.listed == []  # nothing is in doubt for it
        assert await ask(f"{ALL}?limit=500") == (200, {"items": [{"metadata": {}}]})
    assert [request.query["limit"] for request in door.seen] == ["1", "500"]
    assert door.listed == ["Namespace"]


async def test_a_first_list_that_is_refused_is_refused() -> None:
    door = Door()
    door.watches.go_on("namespaces", "17")
    door.answer = lambda: web.json_response({"kind": "Status"}, status=403)
    async with door.open() as ask:
        assert (await ask(ALL))[0] == 403
        door.answer = lambda: web.json_response({"items": [{"metadata": {}}]})
        assert await ask(ALL) == (200, {"items": [{"metadata": {}}]})


async def test_word_of_how_lists_and_watches_fare() -> None:
    door = Door()
    async with door.open() as ask:
        await ask(f"{ES}?limit=500")
        await ask(f"{ES}?limit=500&continue=x")  # the rest of a list begins none
        assert door.listed == ["ExternalSecret"]
        await ask(f"{ES}?watch=true")
        assert "externalsecrets" not in door.watches.problem()
        door.answer = lambda: web.Response(body=orjson.dumps({}), status=500)
        await ask(f"{ES}?watch=true")
        assert door.watches._watches["externalsecrets"].failing is not None


async def test_a_server_that_is_away_is_a_failure() -> None:
    door = Door()
    prepare = habits.middleware(lambda: "", door.watches)
    async with aiohttp.ClientSession(middlewares=[prepare]) as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://127.0.0.1:1{ES}")
    assert door.watches._watches["externalsecrets"].failing is not None
