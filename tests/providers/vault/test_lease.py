from __future__ import annotations

import json
from typing import Any

import pytest

from leasehold.domain.errors import Denied, DomainError, Misconfigured, Missing, Unavailable
from leasehold.domain.ports import Grant, MintRequest
from leasehold.providers.circuit import Circuit
from leasehold.providers.vault import lease
from leasehold.providers.vault.adapter import LANES, Line, client
from leasehold.providers.vault.errors import Trouble, Why
from leasehold.providers.vault.transport import Reply, Request
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock

DATABASE = {
    "request_id": "r",
    "lease_id": "database/creds/app/canary",
    "lease_duration": 60,
    "renewable": True,
    "data": {"username": "v-canary", "port": 5432, "deep": {"x": 1}},
    "warnings": None,
    "auth": None,
    "wrap_info": None,
    "mount_type": "database",
}
TOKEN = {
    "request_id": "r",
    "lease_id": "",
    "lease_duration": 0,
    "renewable": False,
    "data": None,
    "auth": {"client_token": "canary", "accessor": "a", "policies": ["p"], "lease_duration": 120, "renewable": True},
}


class Wire:
    def __init__(self, body: object = DATABASE, *, status: int = 200, fault: Why | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply, self.fault, self.sent = Reply(status, {}, raw), fault, list[Request]()

    async def send(self, request: Request) -> Reply:
        self.sent.append(request)
        if self.fault is not None:
            raise Trouble(self.fault)
        return self.reply

    async def close(self) -> None:
        pass

    async def mint(self, request: MintRequest) -> Grant:
        clock = ManualClock()
        line = Line(self, Circuit(clock=clock, limit=1, lanes=LANES), "https://v", clock=clock)
        return await lease.mint(client(line, lane="mint"), request, address="https://v")


@pytest.mark.parametrize(
    ("request_", "method", "url", "body"),
    [
        (MintRequest("database/creds/app"), "GET", "/v1/database/creds/app", None),
        (MintRequest("/database//creds/app/"), "GET", "/v1/database/creds/app", None),
        (MintRequest("a b/c?d"), "GET", "/v1/a%20b/c%3Fd", None),
        (MintRequest("p", query={"x": ["1", "2"], "y": ["z"]}), "GET", "/v1/p?x=1&x=2&y=z", None),
        (MintRequest("p", method="list"), "GET", "/v1/p?list=true", None),
        (MintRequest("p", method="DELETE", parameters={"a": 1}), "DELETE", "/v1/p", None),
        (MintRequest("pki/issue/app", method="POST", parameters={"cn": "a"}), "POST", "/v1/pki/issue/app", {"cn": "a"}),
        (MintRequest("p", method="PUT", query={"x": ["1"]}), "PUT", "/v1/p", {}),
        (MintRequest("p", method="write"), "PUT", "/v1/p", {}),
        (MintRequest("p", method=""), "GET", "/v1/p", None),
    ],
)
async def test_the_request(request_: MintRequest, method: str, url: str, body: object) -> None:
    wire = Wire()
    await wire.mint(request_)
    (sent,) = wire.sent
    assert (sent.method, sent.url) == (method, f"https://v{url}")
    assert sent.once
    assert (json.loads(sent.body) if sent.body else None) == body


async def test_data() -> None:
    grant = await Wire().mint(MintRequest("p"))
    shown = {key: value.reveal() for key, value in grant.values.items()}
    assert shown == {"username": b"v-canary", "port": b"5432", "deep": b'{"x":1}'}
    assert (grant.ttl, grant.renewable, grant.lease_id.reveal()) == (60.0, True, b"database/creds/app/canary")
    assert_clean(grant)


async def test_auth() -> None:
    grant = await Wire(TOKEN).mint(MintRequest("auth/token/create", method="POST", result="Auth"))
    shown = {key: value.reveal() for key, value in grant.values.items()}
    assert shown == {
        "client_token": b"canary",
        "accessor": b"a",
        "policies": b'["p"]',
        "token_policies": b"",
        "identity_policies": b"",
        "metadata": b"",
        "orphan": b"false",
        "entity_id": b"",
        "lease_duration": b"120",
        "renewable": b"true",
        "mfa_requirement": b"",
    }
    assert not grant.lease_id
    assert grant.ttl == 120.0


async def test_auth_of_an_answer_without_a_login() -> None:
    assert (await Wire().mint(MintRequest("p", result="Auth"))).values == {}


async def test_raw() -> None:
    grant = await Wire().mint(MintRequest("p", result="Raw"))
    shown = {key: value.reveal() for key, value in grant.values.items()}
    assert shown == {
        "request_id": b"r",
        "lease_id": b"database/creds/app/canary",
        "lease_duration": b"60",
        "renewable": b"true",
        "data": b'{"deep":{"x":1},"port":5432,"username":"v-canary"}',
        "warnings": b"",
        "mount_type": b"database",
    }
    assert "auth" in (await Wire(TOKEN).mint(MintRequest("p", result="Raw"))).values


@pytest.mark.parametrize(("body", "status"), [(b"", 204), (b"{}", 200), (b'{"errors":[]}', 404)])
async def test_nothing(body: bytes, status: int) -> None:
    wire = Wire(body, status=status)
    with pytest.raises(Missing):
        await wire.mint(MintRequest("p"))
    grant = await wire.mint(MintRequest("p", allow_empty=True))
    assert not grant.values
    assert not grant.lease_id


async def test_data_of_another_shape() -> None:
    with pytest.raises(Misconfigured, match="resultType"):
        await Wire({"data": ["canary"]}).mint(MintRequest("p"))
    assert (await Wire({"data": None, "lease_id": "x"}).mint(MintRequest("p"))).values == {}


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (Wire({"errors": ["permission denied"]}, status=403), Denied),
        (Wire({"errors": ["unknown role: canary"]}, status=400), Misconfigured),
        (Wire({"errors": ["unable to create new user: canary"]}, status=500), Unavailable),
        (Wire(b"<html>canary", status=200), Unavailable),
        (Wire(b"<html>canary", status=504), Unavailable),
        (Wire(fault=Why.SILENT), Unavailable),
        (Wire(fault=Why.LOST), Unavailable),
        (Wire(fault=Why.REFUSED), Unavailable),
        (Wire(fault=Why.UNTRUSTED), Misconfigured),
    ],
)
async def test_failures(wire: Wire, kind: type[DomainError]) -> None:
    with pytest.raises(DomainError) as caught:
        await wire.mint(MintRequest("database/creds/app"))
    assert type(caught.value) is kind
    assert len(wire.sent) == 1
    assert_clean(caught.value)


async def test_a_path_does_not_climb() -> None:
    wire = Wire()
    with pytest.raises(Misconfigured):
        await wire.mint(MintRequest("database/../sys/seal", method="PUT"))
    assert not wire.sent


def test_the_grant_of_nothing_is_typed() -> None:
    made: Any = lease._nothing()
    assert made.ttl == 0.0
