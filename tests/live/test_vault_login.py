"""Logins at a real Vault: who is let in, and what is said to who is not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from leasehold.domain.errors import Denied, DomainError, Misconfigured
from leasehold.domain.ports import Verdict
from leasehold.providers.vault import policy
from testbed import certificates
from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.processes import Yard
from testbed.vault import Vault
from tests.contracts.reader import document
from tests.live.vault_bench import AUDIENCE, LiveDesk, read


@pytest.fixture
async def desk(vault: Vault, control_plane: ControlPlane, namespace: str) -> AsyncIterator[LiveDesk]:
    desk = LiveDesk(vault, control_plane, namespace)
    yield desk
    await desk.registry.close()


@pytest.fixture
def role(mount: Mount, control_plane: ControlPlane, namespace: str) -> str:
    """A role for the account `app` that reads the mount, where the secret `app` is."""
    mount.put("app", {"a": "1"})
    control_plane.create_service_account(namespace, "app")
    return mount.kubernetes_role(namespace=namespace, accounts=["app"], audience=AUDIENCE)


async def test_a_workloads_account_reads(desk: LiveDesk, mount: Mount, role: str) -> None:
    store = await desk.store(desk.kubernetes(role, "app"), path=mount.path)
    assert await store.check() is Verdict.VALID
    assert document(await read(store, "app")).value("a").reveal() == b"1"


async def test_an_identity_takes_the_place_of_the_stores_account(desk: LiveDesk, mount: Mount, role: str) -> None:
    store = await desk.store(desk.kubernetes(role, "nobody"), path=mount.path, identity="app")
    assert document(await read(store, "app")).value("a").reveal() == b"1"


async def test_a_login_of_ours_is_revoked_at_the_end(desk: LiveDesk, mount: Mount, role: str, vault: Vault) -> None:
    store = await desk.store(desk.kubernetes(role, "app"), path=mount.path)
    await store.check()
    owner = await store.login_owner()
    session = (await store._session.tokens()).login
    assert session is not None
    await desk.registry.close()
    for accessor, alive in ((session.accessor, False), (owner.accessor, True)):
        found = vault.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor.reveal().decode()})
        assert (found.status == 200) is alive


@pytest.mark.parametrize(
    ("account", "audience", "role_suffix", "kind", "text"),
    [
        ("app", AUDIENCE, "-nope", Misconfigured, "no role of that name"),
        ("app", "other", "", Denied, "another audience"),
        ("app", "", "", Denied, "another audience"),
        ("other", AUDIENCE, "", Denied, "not bound to this account"),
        ("gone", AUDIENCE, "", Denied, "no token for the account"),
    ],
    ids=["wrong role", "wrong audience", "no audience", "wrong account", "no account"],
)
async def test_who_is_not_let_in_is_told_why(
    desk: LiveDesk,
    control_plane: ControlPlane,
    role: str,
    account: str,
    audience: str,
    role_suffix: str,
    kind: type[DomainError],
    text: str,
) -> None:
    control_plane.create_service_account(desk.namespace, "other")
    store = await desk.store(desk.kubernetes(role + role_suffix, account, audience=audience), path="x")
    with pytest.raises(kind, match=text) as caught:
        await store.check()
    assert caught.value.remedy
    assert isinstance(await read(store, "app"), kind)


async def test_the_jwt_of_a_deleted_account(
    desk: LiveDesk, control_plane: ControlPlane, role: str, namespace: str
) -> None:
    jwt = control_plane.service_account_token(namespace, "app", audiences=[AUDIENCE])
    control_plane.api("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/app")
    desk.secrets["jwt", "token"] = jwt
    store = await desk.store({"kubernetes": {"role": role, "secretRef": {"name": "jwt"}}})
    with pytest.raises(Denied, match="refuses the login") as caught:
        await store.check()
    assert role in str(caught.value)
    assert jwt not in str(caught.value)


async def test_a_thousand_readers_cost_one_login(desk: LiveDesk, mount: Mount, role: str, vault: Vault) -> None:
    store = await desk.store(desk.kubernetes(role, "app"), path=mount.path)
    before = vault.audit_log.read_text().count('"path":"auth/kubernetes/login"')
    await asyncio.gather(*(read(store, "app") for _ in range(200)))
    after = vault.audit_log.read_text().count('"path":"auth/kubernetes/login"')
    assert after - before == 2  # the audit log has a line for the request and one for the response


async def test_a_denied_path_is_named_and_heals_with_the_policy(
    desk: LiveDesk, mount: Mount, role: str, vault: Vault
) -> None:
    store = await desk.store(desk.kubernetes(role, "app"), path="secret")
    answer = await read(store, "app")
    assert isinstance(answer, Denied)
    assert answer.path == "secret/data/app"
    vault.api("POST", "secret/data/app", {"data": {"a": "2"}})
    vault.write_policy(mount.policy, 'path "secret/data/app" { capabilities = ["read"] }')
    assert document(await read(store, "app")).value("a").reveal() == b"2"


async def test_a_revoked_login_is_made_again(desk: LiveDesk, mount: Mount, role: str, vault: Vault) -> None:
    store = await desk.store(desk.kubernetes(role, "app"), path=mount.path)
    await store.check()
    login = (await store._session.tokens()).login
    assert login is not None
    vault.api("POST", "auth/token/revoke-accessor", {"accessor": login.accessor.reveal().decode()})
    assert document(await read(store, "app")).value("a").reveal() == b"1"


async def test_other_methods(desk: LiveDesk, mount: Mount, role: str, vault: Vault, namespace: str) -> None:
    assert desk.control_plane is not None
    for method in ("approle", "userpass", "jwt"):
        if f"{method}/" not in vault.api("GET", "sys/auth")["data"]:
            vault.enable("auth", method, at=method)
    vault.api("POST", f"auth/approle/role/{role}", {"token_policies": [mount.policy]})
    role_id = vault.api("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
    secret_id = vault.api("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
    vault.api("POST", f"auth/userpass/users/{role}", {"password": "pass word", "token_policies": [mount.policy]})
    keys = desk.control_plane.api("GET", "/openid/v1/jwks")
    vault.api("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [_pem(keys["keys"][0])]})
    jwt_role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [AUDIENCE],
        "token_policies": [mount.policy],
    }
    vault.api("POST", f"auth/jwt/role/{role}", jwt_role)
    desk.secrets |= {("a", "id"): f"{secret_id}\n", ("a", "p"): "pass word"}
    token = {"serviceAccountRef": {"name": "app"}}
    methods: list[dict[str, Any]] = [
        {"appRole": {"roleId": role_id, "secretRef": {"name": "a", "key": "id"}}},
        {"userPass": {"username": role, "secretRef": {"name": "a", "key": "p"}}},
        {"jwt": {"role": role, "kubernetesServiceAccountToken": token}},
    ]
    for auth in methods:
        store = await desk.store(auth, path=mount.path)
        assert document(await read(store, "app")).value("a").reveal() == b"1"
    desk.secrets |= {("a", "id"): "wrong", ("a", "p"): "wrong"}
    for auth in [*methods[:2], {"jwt": {"role": role, "secretRef": {"name": "a", "key": "p"}}}]:
        with pytest.raises(Denied, match="does not accept the credentials"):
            await (await desk.store(auth, path=mount.path)).check()


def _pem(key: dict[str, str]) -> str:
    n, e = (int.from_bytes(base64.urlsafe_b64decode(key[part] + "==")) for part in ("n", "e"))
    return (
        rsa.RSAPublicNumbers(e, n)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


# ---------------------------------------------------------------------------------------------------------------- TLS


TRUSTED = {"type": "ConfigMap", "name": "ca", "key": "pem"}


@pytest.fixture(scope="module")
def tls_vault(yard: Yard) -> Any:
    with Vault(yard, name="vault-tls", storage="memory", tls=True) as vault:
        vault.api("POST", "secret/data/app", {"data": {"a": "1"}})
        yield vault


@pytest.fixture
async def tls_desk(tls_vault: Vault) -> AsyncIterator[LiveDesk]:
    desk = LiveDesk(tls_vault)
    desk.secrets["ca", "pem"] = tls_vault.ca_pem
    yield desk
    await desk.registry.close()


async def test_a_trusted_authority(tls_desk: LiveDesk) -> None:
    store = await tls_desk.store(tls_desk.token(tls_desk.vault.root_token), path="secret", caProvider=TRUSTED)
    assert document(await read(store, "app")).value("a").reveal() == b"1"
    assert store.connection.ca_pem == tls_desk.vault.ca_pem


async def test_a_wrong_authority_and_its_remedy(tls_desk: LiveDesk) -> None:
    tls_desk.secrets["ca", "pem"] = certificates.found("another").pem
    for provider in (TRUSTED, None):
        store = await tls_desk.store(tls_desk.token(tls_desk.vault.root_token), path="secret", caProvider=provider)
        with pytest.raises(Misconfigured, match="certificate of Vault") as caught:
            await store.check()
        assert "caBundle" in caught.value.remedy


async def test_http_to_a_server_of_https(tls_desk: LiveDesk) -> None:
    store = await tls_desk.store(tls_desk.token("x"), path="secret", server=tls_desk.vault.url.replace("https", "http"))
    with pytest.raises(Misconfigured, match="speaks HTTPS"):
        await store.check()


async def test_https_to_a_server_of_http(desk: LiveDesk) -> None:
    store = await desk.store(desk.token("x"), path="secret", server=desk.vault.url.replace("http", "https"))
    with pytest.raises(Misconfigured, match="TLS handshake"):
        await store.check()


async def test_login_by_certificate(tls_desk: LiveDesk) -> None:
    vault = tls_desk.vault
    authority = certificates.found("clients")
    vault.enable("auth", "cert", at="cert")
    vault.write_policy("reader", policy.tenant_policy(reads=["secret/data/app"]))
    vault.api("POST", "auth/cert/certs/team", {"certificate": authority.pem, "token_policies": ["reader"]})
    certificate, key = authority.issue("team")
    tls_desk.secrets |= {("c", "tls.crt"): certificate, ("c", "tls.key"): key}
    auth = {"cert": {"clientCert": {"name": "c"}, "secretRef": {"name": "c"}}}
    store = await tls_desk.store(auth, path="secret", caProvider=TRUSTED)
    assert document(await read(store, "app")).value("a").reveal() == b"1"
    stranger, key = certificates.found("strangers").issue("team")
    tls_desk.secrets |= {("c", "tls.crt"): stranger, ("c", "tls.key"): key}
    with pytest.raises(Denied, match="cert login"):
        await (await tls_desk.store(auth, path="secret", caProvider=TRUSTED)).check()
