"""The thin client against a server on loopback that answers what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from leasehold.cluster import api as room
from leasehold.cluster.access import Access
from leasehold.cluster.answers import TurnedAway, Unknown
from leasehold.cluster.api import MERGE_PATCH, SECRETS, KubeApi, Request, Resource
from leasehold.domain.errors import Conflict, Denied, DomainError, Misconfigured, Missing, Pace, Unavailable
from leasehold.domain.values import SecretBytes
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock, breathe

GET = Request("get", SECRETS, "shop", "db")
LIST = Request("list", SECRETS, "shop")
CREATE = Request("create", SECRETS, "shop", body={"data": {"password": "canary"}})
UPDATE = Request("update", SECRETS, "shop", "db", body={})
PATCH = Request("patch", SECRETS, "shop", "db", body={}, content_type=MERGE_PATCH)
DELETE = Request("delete", SECRETS, "shop", "db")
ALL = (GET, LIST, CREATE, UPDATE, PATCH, DELETE)
Answer = Callable[[], web.StreamResponse]


def status(code: int, reason: str = "", *, message: str = "", headers: dict[str, str] | None = None, **details: Any):
    """Return an answer as the API server gives it when it refuses; its message carries a canary."""
    body = {"kind": "Status", "reason": reason, "message": f"{message} canary", "details": details}
    return lambda: web.json_response(body, status=code, headers=headers)


def good(body: Any = None) -> Answer:
    return lambda: web.json_response({} if body is None else body)


@dataclass
class Server:
    """Answers in the order given, the last one again and again; ``None`` hangs up."""

    answers: list[Answer | None] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    observed: list[tuple[str, str, str, float]] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)
    gate: asyncio.Event | None = None
    arrival: asyncio.Condition = field(default_factory=asyncio.Condition)
    under_way: int = 0
    most: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        async with self.arrival:
            self.arrival.notify_all()
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.under_way -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            request.transport.abort()
            return web.Response()
        return answer()

    async def full(self, count: int) -> None:
        """Wait until so many requests are under way."""
        async with self.arrival:
            await self.arrival.wait_for(lambda: self.under_way >= count)

    def observe(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        """Take what the metrics are told."""
        self.observed.append((verb, resource, code, seconds))


@asynccontextmanager
async def served(
    *answers: Answer | None, token: str = "canary-token", **more: Any
) -> AsyncIterator[tuple[Server, KubeApi, ManualClock]]:
    """Start a server and a client of it; ``more`` are options of the client."""
    server, clock = Server(list(answers)), ManualClock()
    app = web.Application(client_max_size=4 * 2**20)

    async def forward(request: web.Request) -> web.StreamResponse:
        return await server.handle(request)  # the test may have put another in its place

    app.router.add_route("*", "/{tail:.*}", forward)
    async with TestServer(app, host="127.0.0.1") as listening:
        access = Access(str(listening.make_url("")).rstrip("/"), None, lambda: SecretBytes(token), "shop")
        api = KubeApi(access, clock, observe=server.observe, **more)
        try:
            yield server, api, clock
        finally:
            await api.close()


# ------------------------------------------------------------------------------------------------------ what is sent


@pytest.mark.parametrize(
    ("resource", "where", "path"),
    [
        (SECRETS, ("shop", "db"), "/api/v1/namespaces/shop/secrets/db"),
        (SECRETS, ("", ""), "/api/v1/secrets"),
        (Resource("external-secrets.io", "v1", "clustersecretstores"), ("", "v", "status"),
         "/apis/external-secrets.io/v1/clustersecretstores/v/status"),
        (Resource("apps", "v1", "deployments"), ("shop",), "/apis/apps/v1/namespaces/shop/deployments"),
    ],
)  # fmt: skip
def test_paths(resource: Resource, where: tuple[str, ...], path: str) -> None:
    assert resource.path(*where) == path


@pytest.mark.parametrize("name", ["y?resourceVersion=0", "../configmaps/x", "a/b", "..", "a#b", "a%2fb", "Å", " "])
async def test_a_name_stays_a_name(name: str) -> None:
    async with served(status(404, "NotFound")) as (server, api, _):
        assert await api.get(SECRETS, "shop", name) is None
        assert await api.get(SECRETS, name, "db") is None
    for _method, path, _headers, _body in server.seen:
        assert "?" not in path
        assert path.startswith("/api/v1/namespaces/")
        assert path.count("/") == 6


async def test_a_request_says_who_asks_for_what() -> None:
    async with served(good({"metadata": {"name": "db"}}), correlation=lambda: "c-1") as (server, api, _):
        request = Request(
            "patch",
            SECRETS,
            "shop",
            "db",
            subresource="status",
            params={"fieldManager": "leasehold"},
            body={"a": 1},
            content_type=MERGE_PATCH,
        )
        assert await api.send(request) == {"metadata": {"name": "db"}}
    method, path, headers, body = server.seen[0]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/shop/secrets/db/status?fieldManager=leasehold")
    assert headers["Authorization"] == "Bearer canary-token"
    assert headers["Content-Type"] == MERGE_PATCH
    assert headers["Audit-ID"] == "c-1"
    assert headers["User-Agent"] == "leasehold"
    assert orjson.loads(body) == {"a": 1}


async def test_a_body_of_the_greatest_size_arrives() -> None:
    value = "x" * 1_400_000  # a Secret of 1 MiB in base64
    async with served(good()) as (server, api, _):
        await api.send(Request("create", SECRETS, "shop", body={"data": {"password": value}}))
    assert orjson.loads(server.seen[0][3]) == {"data": {"password": value}}


async def test_without_a_token_nothing_is_said_of_one() -> None:
    async with served(good(), token="") as (server, api, _):
        await api.send(GET)
    assert "Authorization" not in server.seen[0][2]
    assert "Audit-ID" not in server.seen[0][2]


async def test_the_token_is_that_of_the_moment() -> None:
    tokens = iter([SecretBytes("one"), SecretBytes("two")])
    async with served(good()) as (server, api, _):
        api.access = Access(api.access.server, None, lambda: next(tokens))
        await api.send(GET)
        await api.send(GET)
    assert [headers["Authorization"] for _, _, headers, _ in server.seen] == ["Bearer one", "Bearer two"]


async def test_an_absent_object_is_none() -> None:
    async with served(status(404, "NotFound")) as (_, api, _clock):
        assert await api.get(SECRETS, "shop", "db") is None


# ------------------------------------------------------------------------------------------------------------- errors

TABLE: list[tuple[int, str, dict[str, Any], type[DomainError], str]] = [
    (401, "Unauthorized", {}, Unknown, "does not know the operator"),
    (403, "Forbidden", {"message": 'secrets "db" is forbidden: User "x" cannot get resource'}, Denied,
     "may not get secrets .*grant it"),
    (403, "Forbidden", {"message": "exceeded quota: compute, used: 10"}, Denied, "ResourceQuota"),
    (403, "Forbidden", {"message": "denied by the policy of y"}, Denied, "admission rule"),
    (403, "Forbidden", {"causes": [{"reason": "NamespaceTerminating"}]}, Denied, "namespace is being deleted"),
    (404, "NotFound", {}, Missing, "does not exist"),
    (409, "AlreadyExists", {}, Conflict, "exists already"),
    (409, "Conflict", {}, Conflict, "changed in between"),
    (410, "Expired", {}, Conflict, "not read in time"),
    (429, "TooManyRequests", {}, TurnedAway, "busy"),
    (400, "BadRequest", {}, Misconfigured, "refuses it .BadRequest"),
    (405, "MethodNotAllowed", {}, Misconfigured, "MethodNotAllowed"),
    (408, "Timeout", {}, Unavailable, "failed .408"),
    (413, "RequestEntityTooLarge", {}, Misconfigured, "RequestEntityTooLarge"),
    (415, "UnsupportedMediaType", {}, Misconfigured, "UnsupportedMediaType"),
    (422, "Invalid", {"causes": [{"field": "data", "message": "canary"}, {"field": "data"}, {"field": "type"}]},
     Misconfigured, "Invalid: data, type"),
    (500, "InternalError", {}, Unavailable, "failed .500"),
    (502, "", {}, Unavailable, "failed .502"),
    (503, "ServiceUnavailable", {}, Unavailable, "failed .503"),
    (504, "Timeout", {}, Unavailable, "failed .504"),
    (302, "", {}, Misconfigured, "refuses it .302"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "reason", "more", "kind", "told"), TABLE)
async def test_an_answer_becomes_its_consequence(
    code: int, reason: str, more: dict[str, Any], kind: type[DomainError], told: str
) -> None:
    async with served(status(code, reason, **more)) as (_, api, _clock):
        with pytest.raises(kind, match=told) as caught:
            await api.send(GET)
    assert type(caught.value) is kind
    assert "secrets shop/db" in str(caught.value)
    assert caught.value.remedy
    assert_clean(caught.value)


@pytest.mark.parametrize("body", ["canary", "[1]", '"canary"', '{"kind": "Other", "message": "canary"}', ""])
async def test_an_error_of_somebody_in_between(body: str) -> None:
    async with served(lambda: web.Response(text=body, status=502)) as (_, api, _clock):
        with pytest.raises(Unavailable) as caught:
            await api.send(CREATE)
    assert_clean(caught.value)


async def test_a_success_that_is_no_json() -> None:
    async with served(lambda: web.Response(text="<html>canary</html>")) as (_, api, _clock):
        with pytest.raises(Unavailable, match="in the place of the API server") as caught:
            await api.send(CREATE)
    assert_clean(caught.value)
    assert caught.value.__context__ is None  # which would hold the whole answer


async def test_nobody_listens() -> None:
    async with served(good()) as (_, api, clock):
        api.access = Access("http://127.0.0.1:1", None, lambda: SecretBytes("canary"))
        started = clock.now()
        with pytest.raises(Unavailable, match=r"does not answer \(ClientConnectorError") as caught:
            await api.send(GET)
        assert clock.now() - started == pytest.approx(0.6)
    assert_clean(caught.value)


async def test_a_server_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TIMEOUT", 0.05)
    async with served(good()) as (server, api, _):
        server.gate = asyncio.Event()
        with pytest.raises(Unavailable, match=r"does not answer \(.*Timeout"):
            await api.send(CREATE)
        server.gate.set()
    assert len(server.seen) == 1  # a write whose end is unknown is not sent again


async def test_time_limits_are_given() -> None:
    async with served(good()) as (_, api, _clock):
        assert api._session.timeout == aiohttp.ClientTimeout(total=room.TIMEOUT, connect=room.CONNECT_TIMEOUT)


# ------------------------------------------------------------------------------------------------------------ retries


@pytest.mark.parametrize("request_", ALL, ids=lambda one: one.verb)
@pytest.mark.parametrize(
    "refusal",
    [
        status(429, "TooManyRequests", headers={"Retry-After": "2"}),
        status(503, "ServiceUnavailable", headers={"Retry-After": "2"}),
        status(504, "Timeout", retryAfterSeconds=2),
    ],
)
async def test_what_was_turned_away_is_sent_again(request_: Request, refusal: Answer) -> None:
    async with served(refusal, refusal, good()) as (server, api, clock):
        started = clock.now()
        await api.send(request_)
        assert clock.now() - started == 4.0
    assert len(server.seen) == 3
    assert [code for _, _, code, _ in server.observed][-1] == "200"


@pytest.mark.parametrize("request_", ALL, ids=lambda one: one.verb)
@pytest.mark.parametrize("answer", [status(500, "InternalError"), status(503)])
async def test_what_may_have_been_done_is_sent_again_only_where_it_is_a_read(request_: Request, answer: Answer) -> None:
    async with served(answer, good()) as (server, api, _):
        if request_.verb in ("get", "list"):
            await api.send(request_)
        else:
            with pytest.raises(Unavailable):
                await api.send(request_)
            assert len(server.seen) == 1


@pytest.mark.parametrize("request_", [CREATE, PATCH], ids=lambda one: one.verb)
async def test_a_write_is_not_sent_again_when_the_server_hangs_up(request_: Request) -> None:
    async with served(None, good()) as (server, api, _):
        with pytest.raises(Unavailable, match="does not answer"):
            await api.send(request_)
    assert len(server.seen) == 1


@pytest.mark.parametrize("request_", [UPDATE, DELETE], ids=lambda one: one.verb)
async def test_guarded_writes_are_sent_again_once_by_the_transport(request_: Request) -> None:
    async with served(None, None, good()) as (server, api, _):
        with pytest.raises(Unavailable, match="does not answer"):
            await api.send(request_)
    assert len(server.seen) == 2  # of version or uid: the second can do no harm


async def test_patience_ends() -> None:
    async with served(status(429, headers={"Retry-After": "1"})) as (server, api, _):
        with pytest.raises(TurnedAway) as caught:
            await api.send(CREATE)
    assert len(server.seen) == room.TRIES
    assert caught.value.retry_after == 1.0
    assert caught.value.retry.pace is Pace.BACKOFF


async def test_a_long_wait_is_the_callers() -> None:
    async with served(status(429, headers={"Retry-After": "60"})) as (server, api, clock):
        started = clock.now()
        with pytest.raises(TurnedAway) as caught:
            await api.send(GET)
        assert clock.now() == started
    assert caught.value.retry_after == 60.0
    assert len(server.seen) == 1


@pytest.mark.parametrize("request_", [GET, CREATE], ids=lambda one: one.verb)
async def test_a_refused_token_is_renewed_once(request_: Request) -> None:
    tokens = ["old"]
    async with served(status(401, "Unauthorized"), good()) as (server, api, _):
        api.access = Access(
            api.access.server, None, lambda: SecretBytes(tokens[-1]), renew=lambda: tokens.append("new")
        )
        await api.send(request_)
    assert [headers["Authorization"] for _, _, headers, _ in server.seen] == ["Bearer old", "Bearer new"]


async def test_a_token_that_is_refused_for_good() -> None:
    async with served(status(401, "Unauthorized")) as (server, api, _):
        with pytest.raises(Denied, match="check the operator's token"):
            await api.send(CREATE)
    assert len(server.seen) == 2


async def test_a_token_that_cannot_be_read_sends_nothing() -> None:
    def broken() -> SecretBytes:
        raise Misconfigured("the token file cannot be read", path="/token", remedy="mount it")

    async with served(good()) as (server, api, _):
        api.access = Access(api.access.server, None, broken)
        with pytest.raises(Misconfigured, match="token file"):
            await api.send(GET)
    assert not server.seen
    assert server.observed[0][:3] == ("get", "secrets", "error")


# ----------------------------------------------------------------------------------------------------- limits, metrics


async def test_no_more_requests_at_once_than_asked_for() -> None:
    async with served(good(), concurrency=3) as (server, api, _):
        server.gate = asyncio.Event()
        tasks = [asyncio.ensure_future(api.send(GET)) for _ in range(8)]
        await asyncio.wait_for(server.full(3), timeout=30)
        await breathe(50)
        assert len(server.seen) == 3
        server.gate.set()
        await asyncio.gather(*tasks)
    assert server.most == 3
    assert len(server.seen) == 8


async def test_who_waits_for_the_server_holds_up_nobody() -> None:
    async with served(status(429, headers={"Retry-After": "1"}), good(), concurrency=1) as (server, api, clock):
        waits = asyncio.Event()

        async def sleep(_: float) -> None:
            waits.set()
            await asyncio.Event().wait()

        clock.sleep = sleep  # type: ignore[method-assign]
        first = asyncio.ensure_future(api.send(CREATE))
        await waits.wait()
        await api.send(GET)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert [method for method, *_ in server.seen] == ["POST", "GET"]


async def test_every_try_is_observed() -> None:
    async with served(status(500), status(404), good()) as (server, api, _):
        assert await api.get(SECRETS, "shop", "db") is None
        await api.send(Request("create", room.ACCOUNTS, "shop", "app", subresource="token", body={}))
    assert [entry[:3] for entry in server.observed] == [
        ("get", "secrets", "500"),
        ("get", "secrets", "404"),
        ("create", "serviceaccounts/token", "200"),
    ]


async def test_a_connection_is_used_again() -> None:
    async with served(good()) as (server, api, _):
        for _ in range(3):
            await api.send(GET)
    assert len(server.peers) == 1


# -------------------------------------------------------------------------------------------------------------- streams

WATCH = Request("watch", SECRETS, "shop", params={"watch": "true"})


async def lines_of(api: KubeApi, opened: list[None] | None = None) -> list[bytes]:
    noted = [] if opened is None else opened
    return [line async for line in api.stream(WATCH, opened=lambda: noted.append(None))]


async def test_a_stream_is_told_line_by_line() -> None:
    opened: list[None] = []
    async with served(lambda: web.Response(body=b'{"a":1}\n{"b":2}\n')) as (server, api, _):
        assert await lines_of(api, opened) == [b'{"a":1}', b'{"b":2}']
    assert len(opened) == 1
    assert server.seen[0][1].endswith("/secrets?watch=true")


async def test_a_line_in_pieces_is_one_and_the_rest_of_one_is_none() -> None:
    async with served(good()) as (server, api, _):

        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in (b'{"a"', b":1}", b'\n{"b":2}\n{"c', b'":3'):
                await response.write(piece)
                await asyncio.sleep(0)
            return response

        server.handle = handle  # type: ignore[method-assign]
        assert await lines_of(api) == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize(("code", "kind"), [(403, Denied), (410, Conflict), (500, Unavailable), (429, TurnedAway)])
async def test_a_stream_that_is_refused(code: int, kind: type[DomainError]) -> None:
    opened: list[None] = []
    async with served(status(code, "R")) as (server, api, _):
        with pytest.raises(kind) as caught:
            await lines_of(api, opened)
    assert not opened
    assert len(server.seen) == 1
    assert_clean(caught.value)


async def test_a_stream_whose_token_is_refused_has_the_next_one_next_time() -> None:
    tokens = ["old"]
    async with served(status(401), good()) as (server, api, _):
        api.access = Access(
            api.access.server, None, lambda: SecretBytes(tokens[-1]), renew=lambda: tokens.append("new")
        )
        with pytest.raises(Unknown):
            await lines_of(api)
        await lines_of(api)
    assert [headers["Authorization"] for _, _, headers, _ in server.seen] == ["Bearer old", "Bearer new"]


async def test_a_stream_that_breaks_off_says_so() -> None:
    async with served(good()) as (server, api, _):

        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"a":1}\n')
            assert request.transport is not None
            request.transport.abort()
            return response

        server.handle = handle  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="does not go on"):
            await lines_of(api)


async def test_a_silent_stream_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SILENCE", 0.05)
    async with served(good()) as (server, api, _):
        server.gate = asyncio.Event()
        with pytest.raises(Unavailable, match="does not go on"):
            await lines_of(api)
        server.gate.set()


async def test_a_stream_takes_no_place_of_a_request() -> None:
    async with served(good(), concurrency=1) as (server, api, _):
        begun = asyncio.Event()

        async def handle(request: web.Request) -> web.StreamResponse:
            if "watch" not in request.query:
                return web.json_response({"here": True})
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"{}\n")
            begun.set()
            await asyncio.Event().wait()
            return response

        server.handle = handle  # type: ignore[method-assign]
        watching = asyncio.ensure_future(lines_of(api))
        await begun.wait()
        assert await api.send(GET) == {"here": True}
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
