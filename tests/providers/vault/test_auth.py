from __future__ import annotations

from typing import Any

import pytest

from leasehold.api.stores.vault import AUTH_METHODS, VaultProvider
from leasehold.domain.errors import Denied, DomainError, Misconfigured
from leasehold.domain.ports import Identity
from leasehold.providers.circuit import Circuit
from leasehold.providers.vault.adapter import LANES, Line
from leasehold.providers.vault.auth import Door, refers_to_namespace
from leasehold.providers.vault.errors import Why
from leasehold.providers.vault.tokens import Login
from leasehold.providers.vault.transport import Wiring
from tests.contracts.canary import assert_clean
from tests.worlds.clock import ManualClock
from tests.worlds.credentials import Wallet
from tests.worlds.vault import ROOT, VaultWorld, encode_jwt
from tests.worlds.vault_tokens import Role

SECRETS = {
    ("s", "token"): ROOT + "\n",
    ("s", "role"): " role-canary ",
    ("s", "secret"): "secret-canary\n",
    ("s", "password"): "password-canary",
    ("s", "jwt"): encode_jwt("team", "stored", "vault"),
    ("bound", "token"): encode_jwt("team", "app", "vault"),
    ("s", "wrong"): "wrong-canary",
}
FIELDS: dict[str, dict[str, Any]] = {
    "token": {"tokenSecretRef": {"name": "s", "key": "token"}},
    "appRole": {
        "appRole": {
            "roleRef": {"name": "s", "key": "role"},
            "secretRef": {"name": "s", "key": "secret"},
            "path": "approle",
        }
    },
    "kubernetes": {"kubernetes": {"role": "app", "serviceAccountRef": {"name": "app", "audiences": ["vault"]}}},
    "ldap": {"ldap": {"username": "u", "secretRef": {"name": "s", "key": "password"}}},
    "userPass": {"userPass": {"username": "u ser", "secretRef": {"name": "s", "key": "password"}}},
    "jwt": {"jwt": {"role": "app", "secretRef": {"name": "s"}}},
    "cert": {"cert": {"clientCert": {"name": "s"}, "secretRef": {"name": "s"}}},
    "iam": {"iam": {"vaultRole": "r"}},
    "gcp": {"gcp": {"role": "r"}},
}


@pytest.fixture
def world(world: VaultWorld) -> VaultWorld:
    world.kubernetes["app"].audience = "vault"
    world.jwt["app"] = Role(audience="vault")
    world.app_roles["role-canary", "secret-canary"] = Role()
    world.user_pass["u ser", "password-canary"] = Role()
    world.certificates["PEM"] = Role()
    return world


class Rig:
    def __init__(self, world: VaultWorld, clock: ManualClock, *, certificate: str = "") -> None:
        self.world = world
        wiring = Wiring(world.address, certificate=certificate)
        self.line = Line(world.connect(wiring), Circuit(clock=clock, limit=4, lanes=LANES), world.address, clock=clock)
        self.wallet = Wallet(Identity("team"), SECRETS)

    def door(self, auth: dict[str, Any] | None, *, identity: Identity | None = None, **provider: Any) -> Door:
        if identity is not None:
            self.wallet = Wallet(identity, SECRETS)
        described = VaultProvider.model_validate({"server": self.world.address, "auth": auth, **provider})
        return Door(described, credentials=self.wallet, identity=self.wallet.identity)

    async def log_in(self, auth: dict[str, Any] | None, **more: Any) -> Login:
        return await self.door(auth, **more).log_in(self.line)


@pytest.fixture
def rig(world: VaultWorld, clock: ManualClock) -> Rig:
    return Rig(world, clock)


@pytest.mark.parametrize("method", ["appRole", "kubernetes", "userPass", "jwt"])
async def test_each_method_logs_in(rig: Rig, method: str) -> None:
    login = await rig.log_in(FIELDS[method])
    assert login.token is not None
    assert login.ours
    assert rig.world.book.tokens[login.token.reveal().decode()].accessor == login.accessor.reveal().decode()
    assert_clean(login)


async def test_cert(world: VaultWorld, clock: ManualClock) -> None:
    rig = Rig(world, clock, certificate="PEM")
    assert (await rig.log_in(FIELDS["cert"])).accessor
    assert world.seen[-1] == ("POST", "auth/cert/login")


async def test_a_stored_token_tells_of_itself_and_is_not_ours(rig: Rig) -> None:
    login = await rig.log_in(FIELDS["token"])
    assert login == Login(login.token, ours=False)
    assert login.token is not None
    assert login.token.reveal() == ROOT.encode()
    short = rig.world.book.issue(Role(ttl=60))
    SECRETS["short", "token"] = short.value
    login = await rig.log_in({"tokenSecretRef": {"name": "short", "key": "token"}})
    assert (login.ttl, login.renewable, login.ours) == (60.0, True, False)


async def test_a_stored_token_that_may_not_look_at_itself_is_taken_as_it_is(rig: Rig) -> None:
    SECRETS["blind", "token"] = rig.world.book.issue(Role(default_policy=False)).value
    login = await rig.log_in({"tokenSecretRef": {"name": "blind", "key": "token"}})
    assert login.token is not None
    assert login.ttl == 0


async def test_a_stored_token_that_is_dead_is_denied(rig: Rig) -> None:
    with pytest.raises(Denied, match="does not accept the token") as caught:
        await rig.log_in({"tokenSecretRef": {"name": "s", "key": "wrong"}})
    assert_clean(caught.value)


@pytest.mark.parametrize("first", range(len(AUTH_METHODS)))
async def test_the_first_method_in_order_wins(rig: Rig, first: int) -> None:
    fields = {key: value for method in AUTH_METHODS[first:] for key, value in FIELDS[method].items()}
    method = AUTH_METHODS[first]
    if method in ("ldap", "iam", "gcp"):
        with pytest.raises(Misconfigured, match=f"login method {method} is not supported"):
            rig.door(fields)
        return
    if method == "cert":
        with pytest.raises(Denied, match="cert login"):  # this line shows no certificate
            await rig.log_in(fields)
    else:
        await rig.log_in(fields)
    mounts = {"token": "token", "appRole": "approle", "userPass": "userpass"}
    assert rig.world.seen[-1][1].startswith(f"auth/{mounts.get(method, method)}/")


def test_no_method_is_misconfigured(rig: Rig) -> None:
    with pytest.raises(Misconfigured, match="no login method"):
        rig.door({})


async def test_no_auth_at_all_is_a_proxy_that_logs_in(rig: Rig) -> None:
    assert await rig.log_in(None) == Login(token=None, ours=False)
    assert not rig.world.seen


@pytest.mark.parametrize(
    ("auth", "asked"),
    [
        (
            {"kubernetes": {"role": "app", "serviceAccountRef": {"name": "app", "audiences": ["vault"]}}},
            "account app for vault",
        ),
        ({"kubernetes": {"role": "app", "secretRef": {"name": "bound"}}}, "bound/token"),
        ({"kubernetes": {"role": "leasehold"}}, "operator"),
        (
            {"jwt": {"role": "app", "kubernetesServiceAccountToken": {"serviceAccountRef": {"name": "app"}}}},
            "account app for vault",
        ),
        (
            {
                "jwt": {
                    "role": "app",
                    "kubernetesServiceAccountToken": {
                        "serviceAccountRef": {"name": "app", "audiences": ["vault"]},
                        "audiences": ["more"],
                    },
                }
            },
            "account app for vault,more",
        ),
        ({"jwt": {"role": " app ", "secretRef": {"name": "s"}}}, "s/jwt"),
    ],
)
async def test_whose_jwt_is_taken(rig: Rig, auth: dict[str, Any], asked: str) -> None:
    assert (await rig.log_in(auth)).accessor
    assert rig.wallet.asked == [asked]


@pytest.mark.parametrize(
    ("auth", "identity", "asked"),
    [
        (FIELDS["kubernetes"], Identity("team", "app"), "workload app for vault"),
        (FIELDS["kubernetes"], Identity("team", "app", ("vault", "x")), "workload app for vault,x"),
        (
            {"kubernetes": {"role": "app", "secretRef": {"name": "bound"}}},
            Identity("team", "app", ("vault",)),
            "workload app for vault",
        ),
        (FIELDS["jwt"], Identity("team", "app"), "workload app for vault"),
    ],
)
async def test_a_workload_logs_in_instead(rig: Rig, auth: dict[str, Any], identity: Identity, asked: str) -> None:
    assert (await rig.log_in(auth, identity=identity)).accessor
    assert rig.wallet.asked == [asked]


@pytest.mark.parametrize("auth", [FIELDS[name] for name in ("token", "appRole", "userPass", "cert")] + [None])
def test_a_workload_cannot_log_in_by_other_methods(rig: Rig, auth: dict[str, Any] | None) -> None:
    with pytest.raises(Misconfigured, match="ServiceAccount payments") as caught:
        rig.door(auth, identity=Identity("team", "payments"))
    assert caught.value.path == "spec.identity.serviceAccountRef"


@pytest.mark.parametrize(
    ("auth", "kind", "text"),
    [
        ({"kubernetes": {"role": "nope", "serviceAccountRef": {"name": "app"}}}, Misconfigured, "role nope"),
        ({"kubernetes": {"role": "app", "serviceAccountRef": {"name": "app", "audiences": ["x"]}}}, Denied, "audience"),
        (
            {"kubernetes": {"role": "app", "serviceAccountRef": {"name": "b", "audiences": ["vault"]}}},
            Denied,
            "not bound to this account",
        ),
        ({"kubernetes": {"role": "app", "mountPath": "k2", "serviceAccountRef": {"name": "app"}}}, Denied, "auth/k2"),
        ({"kubernetes": {"role": "app", "secretRef": {"name": "s", "key": "wrong"}}}, Denied, "refuses the login"),
        ({"userPass": {"username": "x", "secretRef": {"name": "s", "key": "password"}}}, Denied, "userPass login"),
        ({"userPass": {"username": "x"}}, Misconfigured, "userPass.secretRef"),
        ({"appRole": {"roleId": "r", "secretRef": {"name": "s", "key": "secret"}}}, Denied, "appRole login"),
        ({"jwt": {"role": "app"}}, Misconfigured, "no JWT"),
        ({"jwt": {"role": "no", "secretRef": {"name": "s"}}}, Misconfigured, "role no"),
        ({"kubernetes": {"role": "app", "secretRef": {"name": "gone"}}}, Misconfigured, "gone/token"),
    ],
)
async def test_a_login_that_fails_says_how_it_was_made(
    rig: Rig, auth: dict[str, Any], kind: type[DomainError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        await rig.log_in(auth)
    assert text in str(caught.value)
    assert_clean(caught.value)


async def test_a_deleted_account(rig: Rig) -> None:
    rig.world.gone_accounts.add(("team", "app"))
    with pytest.raises(Denied, match="refuses the login"):
        await rig.log_in(FIELDS["kubernetes"])


async def test_the_login_has_a_namespace_of_its_own(rig: Rig) -> None:
    await rig.log_in(FIELDS["kubernetes"], namespace="team")
    await rig.log_in({**FIELDS["kubernetes"], "namespace": "admin"}, namespace="team")
    await rig.log_in({**FIELDS["kubernetes"], "namespace": ""}, namespace="team")
    assert [headers.get("X-Vault-Namespace") for headers in rig.world.headers] == ["team", "admin", None]


async def test_a_lease_is_owned_by_a_login_of_its_own(rig: Rig) -> None:
    door = rig.door(FIELDS["kubernetes"])
    first, second = await door.own_lease(rig.line), await door.own_lease(rig.line)
    assert first.accessor != second.accessor


async def test_without_a_login_nothing_can_own_a_lease(rig: Rig) -> None:
    with pytest.raises(Misconfigured, match="login of its own"):
        await rig.door(None).own_lease(rig.line)


async def test_a_child_that_cannot_be_made_for_want_of_an_answer(rig: Rig) -> None:
    door = rig.door(FIELDS["token"])
    await door.own_lease(rig.line)
    rig.world.fault = Why.LOST
    with pytest.raises(DomainError, match="without an answer"):
        await door.own_lease(rig.line)


@pytest.mark.parametrize(
    ("provider", "refers"),
    [
        ({}, False),
        ({"auth": {"kubernetes": {"role": "r"}}}, False),
        ({"auth": {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "a", "namespace": "n"}}}}, False),
        ({"auth": {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "a"}}}}, True),
        ({"auth": {"tokenSecretRef": {"name": "a", "namespace": "n"}}}, False),
        ({"auth": {"appRole": {"roleId": "r", "secretRef": {"name": "s"}}}}, True),
        ({"auth": {"jwt": {"kubernetesServiceAccountToken": {"serviceAccountRef": {"name": "a"}}}}}, True),
        ({"auth": {"userPass": {"username": "u", "secretRef": {"name": "s"}}}}, True),
        ({"auth": {"cert": {"clientCert": {"name": "s", "namespace": "n"}, "secretRef": {"name": "s"}}}}, True),
        ({"tls": {"certSecretRef": {"name": "s"}, "keySecretRef": {"name": "s", "namespace": "n"}}}, True),
    ],
)
def test_which_stores_depend_on_the_namespace_that_uses_them(provider: dict[str, Any], *, refers: bool) -> None:
    assert refers_to_namespace(VaultProvider.model_validate({"server": "https://v", **provider})) is refers
