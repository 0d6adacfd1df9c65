"""Real Vault, real tokens: the registry as the operator builds it, with the test bed's control plane as its cluster."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg

from leasehold.api import parse
from leasehold.api.meta import CAProvider, SecretKeySelector, ServiceAccountSelector
from leasehold.domain.errors import Denied, DomainError
from leasehold.domain.ports import Document, Grant, Identity, Keeper, MintRequest, Remote, StoreRef
from leasehold.domain.values import SecretBytes
from leasehold.providers.registry import Habits, OperatorIdentity, Registry
from leasehold.providers.vault import policy
from leasehold.providers.vault.store import VaultStore
from leasehold.schedule.clock import SystemClock
from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.postgres import Postgres
from testbed.vault import Vault

AUDIENCE = "vault"
OPERATOR = ("leasehold-system", "leasehold")
OPERATOR_ROLE = "leasehold-operator"


@dataclass
class BedCredentials:
    """A `domain.ports.Credentials`: real JWTs by TokenRequest, Secrets from a dict."""

    control_plane: ControlPlane | None
    identity: Identity
    secrets: Mapping[tuple[str, str], str]

    async def secret(self, ref: SecretKeySelector, *, default_key: str = "") -> SecretBytes:
        """Return one key of a Secret."""
        return SecretBytes(self.secrets[ref.name or "", ref.key or default_key])

    async def authority(self, ref: CAProvider) -> str:
        """Return a CA bundle."""
        return self.secrets[ref.name or "", ref.key or ""]

    async def account_token(self, ref: ServiceAccountSelector, *, audiences: Sequence[str]) -> SecretBytes:
        """Return a JWT of an account."""
        return await self._request(ref.namespace or self.identity.namespace, ref.name, audiences)

    async def workload_token(self, *, audiences: Sequence[str]) -> SecretBytes | None:
        """Return a JWT of the workload."""
        if not self.identity.service_account:
            return None
        return await self._request(self.identity.namespace, self.identity.service_account, audiences)

    async def operator_token(self) -> SecretBytes:
        """Return the operator's own JWT."""
        return await self._request(*OPERATOR, [AUDIENCE])

    async def _request(self, namespace: str, name: str, audiences: Sequence[str]) -> SecretBytes:
        assert self.control_plane is not None
        try:
            jwt = await asyncio.to_thread(
                self.control_plane.service_account_token, namespace, name, audiences=audiences, seconds=600
            )
        except BedError:
            raise Denied("no token for the account", path=f"{namespace}/{name}", remedy="create it") from None
        return SecretBytes(jwt)


@dataclass
class LiveDesk:
    """A registry in front of one real Vault, for one namespace."""

    vault: Vault
    control_plane: ControlPlane | None = None
    namespace: str = "team"
    operator: bool = False
    limits: Mapping[str, float] | None = None
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(
            lambda ref, spec, identity: BedCredentials(self.control_plane, identity, self.secrets),
            clock=SystemClock(),
            operator=OperatorIdentity("kubernetes", OPERATOR_ROLE, AUDIENCE) if self.operator else None,
            habits=Habits(vault={"limits": self.limits} if self.limits else {}),
        )

    def kubernetes(self, role: str, account: str, *, audience: str = AUDIENCE) -> dict[str, Any]:
        """Return an auth section."""
        ref = {"name": account, "audiences": [audience] if audience else []}
        return {"kubernetes": {"mountPath": "kubernetes", "role": role, "serviceAccountRef": ref}}

    def token(self, value: str) -> dict[str, Any]:
        """Return an auth section with a stored token."""
        name = f"token-{len(self.secrets)}"
        self.secrets[name, "t"] = value
        return {"tokenSecretRef": {"name": name, "key": "t"}}

    async def store(self, auth: dict[str, Any] | None, *, identity: str = "", **provider: Any) -> VaultStore:
        """Open a SecretStore of its own."""
        vault = {"server": self.vault.url, "auth": auth, **provider}
        obj = {"metadata": {"name": "s", "namespace": self.namespace}, "spec": {"provider": {"vault": vault}}}
        ref = StoreRef("SecretStore", f"s-{secrets.token_hex(4)}", self.namespace)
        who = Identity(self.namespace, identity)
        return cast("VaultStore", await self.registry.open(ref, parse.secret_store(obj).spec, who))


async def read(store: VaultStore, path: str, **more: Any) -> Document | DomainError:
    """Read one remote."""
    remote = Remote(path, **more)
    return (await store.read([remote]))[remote]


def furnish_operator(vault: Vault, control_plane: ControlPlane) -> None:
    """Make the operator's account and its role, with the policy that `leasehold policy` prints."""
    if not _exists(control_plane):
        control_plane.create_namespace(OPERATOR[0])
        control_plane.create_service_account(*OPERATOR)
    vault.write_policy(OPERATOR_ROLE, policy.operator_policy())
    vault.kubernetes_role(
        OPERATOR_ROLE,
        accounts=[OPERATOR[1]],
        namespaces=[OPERATOR[0]],
        policies=[OPERATOR_ROLE],
        audience=AUDIENCE,
        token_no_default_policy=True,
        token_ttl="10m",
    )


def _exists(control_plane: ControlPlane) -> bool:
    try:
        control_plane.api("GET", f"/api/v1/namespaces/{OPERATOR[0]}/serviceaccounts/{OPERATOR[1]}")
    except BedError:
        return False
    return True


@dataclass
class DatabaseBench:
    """The bench of `LeaserContract` on Vault's database engine and PostgreSQL."""

    vault: Vault
    postgres: Postgres
    role: str
    leaser: VaultStore
    keeper: Keeper
    longest: float = 300.0

    @property
    def request(self) -> MintRequest:
        """Mint a user."""
        return MintRequest(f"database/creds/{self.role}")

    @property
    def unknown_role(self) -> MintRequest:
        """A path that the policy allows and that has no role."""
        return MintRequest(f"database/creds/{self.role}-nope")

    @property
    def forbidden(self) -> MintRequest:
        """A path that the policy does not allow."""
        return MintRequest("database/creds/others")

    def works(self, grant: Grant) -> bool:
        """Log in to PostgreSQL."""
        user, password = (grant.values[name].reveal().decode() for name in ("username", "password"))
        try:
            with psycopg.connect(self.postgres.dsn(user, password), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    async def pass_time(self, seconds: float) -> None:
        """Wait: real leases end by real time."""
        await asyncio.sleep(seconds)

    def minted(self) -> int:
        """Count Vault's leases of the role."""
        found = self.vault.ask("LIST", f"sys/leases/lookup/database/creds/{self.role}")
        return len(found.body["data"]["keys"]) if found.status == 200 else 0

    def break_engine(self) -> None:
        """Stop PostgreSQL."""
        self.postgres.stop()

    def mend_engine(self) -> None:
        """Start it again."""
        self.postgres.start()


def tenant_role(vault: Vault, control_plane: ControlPlane, namespace: str, *, default_policy: bool, **role: Any) -> str:
    """Make a database role, a tenant account that may mint from it, and return the name of both roles."""
    name = f"tenant-{secrets.token_hex(4)}"
    vault.database_role(name, default_ttl="60s", max_ttl="5m")
    vault.write_policy(
        name,
        policy.tenant_policy(mints=[f"database/creds/{name}", f"database/creds/{name}-nope"]),
    )
    control_plane.create_service_account(namespace, "tenant")
    vault.kubernetes_role(
        name,
        accounts=["tenant"],
        namespaces=[namespace],
        policies=[name],
        audience=AUDIENCE,
        token_no_default_policy=not default_policy,
        **({"token_period": "24h"} | role),
    )
    return name
