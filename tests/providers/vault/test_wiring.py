from __future__ import annotations

import base64
from typing import Any

import pytest

from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.errors import DomainError, Misconfigured, Unavailable
from leasehold.domain.ports import Identity
from leasehold.domain.values import SecretBytes
from leasehold.providers.circuit import Circuit
from leasehold.providers.vault import wiring
from leasehold.providers.vault.adapter import LANES, Line
from leasehold.providers.vault.errors import Why
from leasehold.providers.vault.transport import Reply, Request, Wiring
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock
from tests.worlds.credentials import Wallet
from tests.worlds.vault import VaultWorld

SECRETS = {
    ("tls", "tls.crt"): "STORE CERT",
    ("tls", "tls.key"): "store key canary",
    ("cert", "tls.crt"): "LOGIN CERT",
    ("cert", "tls.key"): "login key canary",
}
TLS = {"certSecretRef": {"name": "tls"}, "keySecretRef": {"name": "tls"}}
CERT = {"clientCert": {"name": "cert"}, "secretRef": {"name": "cert"}}
PEM = "-----BEGIN CERTIFICATE-----\n"


def provider(**fields: Any) -> VaultProvider:
    return VaultProvider.model_validate({"server": "https://vault:8200/base", **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Wiring("https://vault:8200")),
        ({"caBundle": base64.b64encode(PEM.encode()).decode()}, Wiring("https://vault:8200", ca_pem=PEM)),
        ({"caProvider": {"type": "Secret", "name": "ca"}}, Wiring("https://vault:8200", ca_pem="FROM SECRET")),
        ({"tls": TLS}, Wiring("https://vault:8200", certificate="STORE CERT")),
        ({"tls": TLS, "auth": {"cert": CERT}}, Wiring("https://vault:8200", certificate="LOGIN CERT")),
        (
            {"tls": TLS, "auth": {"cert": CERT, "kubernetes": {"role": "r"}}},
            Wiring("https://vault:8200", certificate="STORE CERT"),
        ),
        ({"tls": {}}, Wiring("https://vault:8200")),
    ],
)
async def test_resolve(fields: dict[str, Any], expected: Wiring) -> None:
    wallet = Wallet(Identity("team"), SECRETS, authorities={"ca": "FROM SECRET"})
    found = await wiring.resolve(provider(**fields), wallet)
    assert found == expected
    assert (found.key is not None) is bool(expected.certificate)
    assert_clean(found)


async def test_the_bundle_wins_over_its_provider() -> None:
    fields = {"caBundle": base64.b64encode(PEM.encode()).decode(), "caProvider": {"type": "Secret", "name": "ca"}}
    found = await wiring.resolve(provider(**fields), Wallet(Identity("team"), authorities={"ca": "x"}))
    assert found.ca_pem == PEM


@pytest.mark.parametrize("bundle", ["-----BEGIN CERTIFICATE-----", "a", "gICA", "canary!"])
async def test_a_bundle_must_be_base64_of_text(bundle: str) -> None:
    with pytest.raises(Misconfigured, match="caBundle") as caught:
        await wiring.resolve(provider(caBundle=bundle), Wallet(Identity("team")))
    assert_clean(caught.value)


def test_headers() -> None:
    assert wiring.headers_of(provider(headers={"X-Team": "a"})) == {"X-Team": "a"}
    both = provider(readYourWrites=True, forwardInconsistent=True)
    assert wiring.headers_of(both) == {"X-Vault-Inconsistent": "forward-active-node"}
    assert wiring.headers_of(provider(forwardInconsistent=True)) == {}


@pytest.mark.parametrize("headers", [{"X": "a\nb"}, {"X\r": "a"}, {"": "a"}, {"X": "a\0"}])
def test_bad_headers(headers: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=r"provider\.vault\.headers"):
        wiring.headers_of(provider(headers=headers))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, False),
        ({"namespace": ""}, False),
        ({"namespace": "root/"}, False),
        ({"namespace": "team"}, True),
        ({"auth": {"namespace": "team"}}, True),
        ({"headers": {"X-VAULT-NAMESPACE": "team"}}, True),
    ],
)
def test_namespaced(fields: dict[str, Any], *, named: bool) -> None:
    assert wiring.namespaced(provider(**fields)) is named


class Health:
    def __init__(self, body: bytes, status: int = 200) -> None:
        self.reply, self.requests = Reply(status, {}, body), list[Request]()

    async def send(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.reply

    async def close(self) -> None:
        pass


def line(transport: Any) -> Line:
    clock = ManualClock()
    circuit = Circuit(clock=clock, limit=1, lanes=LANES)
    return Line(transport, circuit, "https://v", headers={"X-Vault-Namespace": "team"}, clock=clock)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b'{"enterprise":true}', 200, None),
        (b'{"enterprise":true}', 473, None),
        (b'{"enterprise":false}', 200, Misconfigured),
        (b'{"enterprise":false,"sealed":true}', 503, Misconfigured),
        (b'{"errors":["rate limit quota exceeded"]}', 429, Unavailable),
        (b"{}", 200, Unavailable),
    ],
)
async def test_a_server_that_ignores_namespaces(body: bytes, status: int, error: type[DomainError] | None) -> None:
    health = Health(body, status)
    if error is None:
        await wiring.refuse_ignored_namespace(line(health))
    else:
        with pytest.raises(error, match=r"namespace"):
            await wiring.refuse_ignored_namespace(line(health))
    assert "X-Vault-Namespace" not in health.requests[0].headers


async def test_a_server_that_does_not_answer() -> None:
    world = VaultWorld(ManualClock())
    world.fault = Why.REFUSED
    with pytest.raises(Unavailable, match="refuses connections"):
        await wiring.refuse_ignored_namespace(line(world.connect(Wiring("https://v"))))


def test_a_key_is_no_part_of_what_tells_wirings_apart() -> None:
    assert Wiring("a", certificate="c", key=SecretBytes("x")) == Wiring("a", certificate="c", key=SecretBytes("y"))
