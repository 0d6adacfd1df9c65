from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leasehold.domain.errors import DomainError, Unavailable
from leasehold.domain.values import SecretBytes
from leasehold.providers.circuit import Circuit
from leasehold.providers.vault.adapter import LANES, LIMITS, Line, client
from leasehold.providers.vault.documents import Number
from leasehold.providers.vault.errors import Trouble, Why
from leasehold.providers.vault.transport import Reply, Request
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock


class Wire:
    """A transport with one answer."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.reply = Reply(200, {}, b'{"data":{"a":1.50}}')
        self.fault: Why | None = None

    async def send(self, request: Request) -> Reply:
        self.sent.append(request)
        if self.fault is not None:
            raise Trouble(self.fault)
        return self.reply

    async def close(self) -> None:
        pass


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def seen() -> list[tuple[str, str, str]]:
    return []


Make = Callable[..., Any]


@pytest.fixture
def vault(wire: Wire, seen: list[tuple[str, str, str]]) -> Make:
    clock = ManualClock()
    circuit = Circuit(clock=clock, limit=4, lanes=LANES)

    def make(*, lane: str = "read", namespace: str = "", token: str = "", **more: Any) -> Any:
        line = Line(
            wire,
            circuit,
            "https://vault:8200",
            clock=clock,
            observe=lambda provider, call, status, _: seen.append((provider, call, status)),
            **more,
        )
        made = client(line, lane=lane, namespace=namespace)
        made.adapter.token = SecretBytes(token) if token else None
        return made

    return make


async def test_hvac_methods_can_be_awaited(vault: Make, wire: Wire) -> None:
    answer = await vault(token="canary").sys.renew_lease(SecretBytes("lease"), 30)
    assert answer == {"data": {"a": 1.5}}
    request = wire.sent[0]
    assert (request.method, request.url) == ("PUT", "https://vault:8200/v1/sys/leases/renew")
    assert json.loads(request.body or b"") == {"lease_id": "lease", "increment": 30}
    assert request.headers["X-Vault-Token"] == "canary"
    assert request.headers["Content-Type"] == "application/json"
    assert_clean(request)


async def test_the_environment_gives_no_token(
    vault: Make, wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").mkdir()  # whoever looks into it fails
    await vault().adapter.get("/v1/secret/data/a")
    monkeypatch.setenv("VAULT_TOKEN", "from-the-environment")
    monkeypatch.setenv("VAULT_ADDR", "https://elsewhere")
    await vault().adapter.get("/v1/secret/data/a")
    for request in wire.sent:
        assert "X-Vault-Token" not in request.headers
        assert request.url.startswith("https://vault:8200/")


async def test_headers(vault: Make, wire: Wire) -> None:
    made = vault(namespace="team", headers={"X-Team": "a"}, correlation=lambda: "c1")
    await made.adapter.get("/v1/a", wrap_ttl="60s")
    assert wire.sent[0].headers == {
        "X-Team": "a",
        "X-Vault-Request": "true",
        "X-Vault-Namespace": "team",
        "X-Correlation-Id": "c1",
        "X-Vault-Wrap-TTL": "60s",
    }


async def test_urls(vault: Make, wire: Wire) -> None:
    made = vault(base="/proxy")
    await made.adapter.get("/v1//secret/data/a%20b/", params={"version": "3", "x": ["1", "2"]})
    await made.adapter.list("/v1/secret/metadata")
    assert [(request.method, request.url) for request in wire.sent] == [
        ("GET", "https://vault:8200/proxy/v1/secret/data/a%20b?version=3&x=1&x=2"),
        ("GET", "https://vault:8200/proxy/v1/secret/metadata?list=true"),
    ]


@pytest.mark.parametrize("lane", LANES)
async def test_lanes_have_limits_and_mints_go_once(vault: Make, wire: Wire, lane: str) -> None:
    await vault(lane=lane).adapter.get("/v1/a")
    assert wire.sent[0].limit == LIMITS[lane]
    assert wire.sent[0].once is (lane == "mint")


async def test_numbers_are_exact_where_that_is_asked(vault: Make) -> None:
    exact = await vault().adapter.get("/v1/a", exact=True)
    assert exact["data"]["a"] == Number("1.50")
    assert isinstance(exact["data"]["a"], Number)


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_no_content_is_nothing(vault: Make, wire: Wire, body: bytes) -> None:
    wire.reply = Reply(204, {}, body)
    assert await vault().adapter.post("/v1/a") == {}


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>canary</html>", Why.GARBLED),
        (200, b"[1]", Why.GARBLED),
        (200, b"[" * 100_000, Why.GARBLED),
        (403, b'{"errors":["permission denied canary"]}', Why.DENIED),
        (403, b"\xff\xfe", Why.DENIED),
        (404, b'{"errors":[]}', Why.ABSENT),
        (301, b"", Why.MOVED),
        (503, b'{"errors":["Vault is sealed"]}', Why.SEALED),
        (500, b'{"errors":null}', Why.BACKEND),
        (500, b'{"errors":[null,{"canary":1}]}', Why.BACKEND),
    ],
)
async def test_what_is_no_success_is_a_trouble_without_text(
    vault: Make, wire: Wire, status: int, body: bytes, why: Why
) -> None:
    wire.reply = Reply(status, {}, body)
    with pytest.raises(Trouble) as caught:
        await vault().adapter.get("/v1/a")
    assert (caught.value.why, caught.value.status) == (why, status)
    assert_clean(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({"Retry-After": "10"}, 10.0), ({"retry-after": "0"}, 0.0), ({"Retry-After": "Wed, 21 Oct"}, None), ({}, None)],
)
async def test_retry_after_survives(vault: Make, wire: Wire, header: dict[str, str], seconds: float | None) -> None:
    wire.reply = Reply(429, header, b'{"errors":["rate limit quota exceeded"]}')
    with pytest.raises(Trouble) as caught:
        await vault().adapter.get("/v1/a")
    assert caught.value.retry_after == seconds


async def test_health_answers_with_any_status(vault: Make, wire: Wire) -> None:
    wire.reply = Reply(473, {}, b'{"enterprise":true}')
    assert await vault().sys.read_health_status(method="GET") == {"enterprise": True}


@pytest.mark.parametrize(
    ("why", "lane", "closed"),
    [
        (Why.REFUSED, "read", True),
        (Why.REFUSED, "mint", True),
        (Why.UNRESOLVED, "read", True),
        (Why.SILENT, "read", True),
        (Why.SILENT, "lease", False),
        (Why.SILENT, "mint", False),
        (Why.LOST, "read", False),
        (Why.UNTRUSTED, "read", False),
        (Why.TLS, "read", False),
        (Why.GARBLED, "read", False),
    ],
)
async def test_which_failures_concern_everybody(vault: Make, wire: Wire, why: Why, lane: str, *, closed: bool) -> None:
    wire.fault = why
    made = vault(lane=lane)
    with pytest.raises(Trouble):
        await made.adapter.get("/v1/a")
    with pytest.raises(Unavailable if closed else Trouble):
        await made.adapter.get("/v1/a")
    assert len(wire.sent) == (1 if closed else 2)


@pytest.mark.parametrize(
    ("status", "closed"), [(503, True), (501, True), (429, True), (502, True), (500, False), (403, False), (400, False)]
)
async def test_which_answers_concern_everybody(vault: Make, wire: Wire, status: int, *, closed: bool) -> None:
    wire.reply = Reply(status, {}, b'{"errors":["Vault is sealed"]}' if status == 503 else b"{}")
    with pytest.raises(Trouble):
        await vault().adapter.get("/v1/a")
    with pytest.raises((Trouble, DomainError)) as second:
        await vault().adapter.get("/v1/a")
    assert isinstance(second.value, Unavailable) is closed
    assert len(wire.sent) == (1 if closed else 2)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("get", "auth/token/lookup-self", "LookupSelf"),
        ("post", "auth/kubernetes/login", "Login"),
        ("post", "auth/userpass/login/bob", "Login"),
        ("put", "sys/leases/renew", "RenewLease"),
        ("post", "auth/token/renew-accessor", "RenewAccessor"),
        ("get", "secret/data/login", "ReadSecretData"),
        ("get", "sys/internal/ui/mounts/secret", "LookupMount"),
    ],
)
async def test_calls_have_names(
    vault: Make, seen: list[tuple[str, str, str]], method: str, path: str, name: str
) -> None:
    await getattr(vault().adapter, method)(f"/v1/{path}")
    assert seen == [("HashiCorp/Vault", name, "success")]


async def test_a_call_that_was_not_made_is_not_counted(
    vault: Make, wire: Wire, seen: list[tuple[str, str, str]]
) -> None:
    wire.fault = Why.REFUSED
    for expected in (Trouble, Unavailable, Unavailable):
        with pytest.raises(expected):
            await vault(lane="mint").adapter.get("/v1/database/creds/app")
    assert seen == [("HashiCorp/Vault", "Mint", "error")]


async def test_login_takes_the_token(vault: Make, wire: Wire) -> None:
    wire.reply = Reply(200, {}, b'{"auth":{"client_token":"canary"}}')
    made = vault()
    await made.auth.kubernetes.login("app", SecretBytes("jwt"), mount_point="kubernetes")
    assert made.adapter.token == SecretBytes("canary")
    assert json.loads(wire.sent[0].body or b"") == {"role": "app", "jwt": "jwt"}
    assert_clean(made.adapter.token)
