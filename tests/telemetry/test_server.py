"""Metrics and health over real sockets of this machine."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from leasehold.domain.errors import Misconfigured
from leasehold.telemetry.address import Address
from leasehold.telemetry.metrics import Metrics
from leasehold.telemetry.server import Check, Server

ANY = Address("127.0.0.1", 0)


def _fine() -> str:
    return ""


@asynccontextmanager
async def _serving(
    *,
    live: Callable[[], str] = _fine,
    ready: Callable[[], str] = _fine,
    metrics_addr: Address | None = ANY,
    live_addr: Address | None = ANY,
) -> AsyncIterator[Server]:
    server = Server(
        Metrics(version="1.2.3"),
        live=[Check("event loop", live)],
        ready=[Check("watches", ready)],
        metrics_addr=metrics_addr,
        live_addr=live_addr,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _get(address: Address, path: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_metrics_and_health_are_separate_servers() -> None:
    async with _serving() as server:
        metrics, live = server.addresses["--metrics-addr"], server.addresses["--live-addr"]
        assert metrics != live
        status, content_type, page = await _get(metrics, "/metrics")
        assert (status, content_type) == (200, "text/plain")
        assert "leasehold_build_info" in page
        assert (await _get(metrics, "/healthz"))[0] == 404
        assert (await _get(live, "/metrics"))[0] == 404


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
async def test_live_asks_live_checks_only(path: str) -> None:
    async with _serving(ready=lambda: "first list not heard") as server:
        status, content_type, body = await _get(server.addresses["--live-addr"], path)
        assert (status, content_type) == (200, "application/json")
        assert body == '{"status":"pass","checks":[{"name":"event loop","status":"pass","reason":""}]}'


async def test_ready_names_each_check_and_its_reason() -> None:
    async with _serving(ready=lambda: "ExternalSecrets: first list not heard") as server:
        status, _, body = await _get(server.addresses["--live-addr"], "/readyz")
        assert status == 503
        assert '{"name":"event loop","status":"pass","reason":""}' in body
        assert '{"name":"watches","status":"fail","reason":"ExternalSecrets: first list not heard"}' in body


async def test_what_is_not_live_is_not_ready() -> None:
    async with _serving(live=lambda: "the event loop is 9.0 s late") as server:
        for path in ("/healthz", "/readyz"):
            assert (await _get(server.addresses["--live-addr"], path))[0] == 503


async def test_checks_are_asked_each_time() -> None:
    answers = ["not yet", ""]
    async with _serving(ready=lambda: answers.pop(0)) as server:
        live = server.addresses["--live-addr"]
        assert [(await _get(live, "/readyz"))[0] for _ in range(2)] == [503, 200]


async def test_none_does_not_listen() -> None:
    async with _serving(metrics_addr=None) as server:
        assert list(server.addresses) == ["--live-addr"]
    async with _serving(metrics_addr=None, live_addr=None) as server:
        assert not server.addresses


async def test_one_address_for_both_is_one_server() -> None:
    async with _serving() as server:
        free = server.addresses["--live-addr"]
    async with _serving(metrics_addr=free, live_addr=free) as server:
        assert set(server.addresses.values()) == {free}
        assert (await _get(free, "/metrics"))[0] == 200
        assert (await _get(free, "/readyz"))[0] == 200


async def test_a_taken_address_is_named_and_nothing_stays_open() -> None:
    async with _serving() as first:
        taken = first.addresses["--live-addr"]
        second = Server(Metrics(version="1"), live=[], ready=[], metrics_addr=ANY, live_addr=taken)
        with pytest.raises(Misconfigured, match=f"--live-addr: cannot listen on {taken}.*free address"):
            await second.start()
        assert not second.addresses
