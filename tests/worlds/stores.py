"""Stores and generators of the Vault in memory, opened through the registry as the operator opens them."""

from __future__ import annotations

from typing import Any, cast

from leasehold.api import parse
from leasehold.domain.ports import Identity, StoreRef
from leasehold.providers.registry import Habits, OperatorIdentity, Registry
from leasehold.providers.vault.store import VaultStore
from tests.worlds.clock import ManualClock
from tests.worlds.credentials import Wallet
from tests.worlds.vault import VaultWorld

OPERATOR = OperatorIdentity(mount="kubernetes", role="leasehold", audience="vault")
KUBERNETES = {"kubernetes": {"mountPath": "kubernetes", "role": "app", "serviceAccountRef": {"name": "app"}}}


class Counter:
    """Counts what the metrics would show."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def __call__(self, provider: str, call: str, status: str, seconds: float) -> None:
        """Note one call."""
        self.calls.append((provider, call, status))


class Desk:
    """A registry in front of one world."""

    def __init__(
        self,
        world: VaultWorld,
        clock: ManualClock,
        *,
        operator: OperatorIdentity | None = None,
        secrets: dict[tuple[str, str], str] | None = None,
    ) -> None:
        self.world, self.clock = world, clock
        self.secrets = secrets if secrets is not None else {}
        self.authorities: dict[str, str] = {}
        self.wallets: list[Wallet] = []
        self.counter = Counter()
        self.correlation = ""
        self.registry = Registry(
            self._wallet,
            clock=clock,
            operator=operator,
            habits=Habits(observe=self.counter, correlation=lambda: self.correlation, vault={"connect": world.connect}),
        )

    def _wallet(self, ref: StoreRef, spec: object, identity: Identity) -> Wallet:
        namespaced = Identity(identity.namespace or ref.namespace, identity.service_account, identity.audiences)
        wallet = Wallet(namespaced, self.secrets, authorities=self.authorities)
        self.wallets.append(wallet)
        return wallet

    async def store(
        self,
        provider: dict[str, Any] | None = None,
        *,
        name: str = "store",
        generation: int = 1,
        identity: Identity | None = None,
        more: dict[str, Any] | None = None,
    ) -> VaultStore:
        """Open a SecretStore; ``provider`` is laid over a kubernetes login at KV version 2."""
        spec = parse.secret_store(
            {
                "metadata": {"name": name, "namespace": "team"},
                "spec": {"provider": {"vault": self.provider(provider)}, **(more or {})},
            }
        ).spec
        ref = StoreRef("SecretStore", name, "team", uid=f"uid-{name}", generation=generation)
        return cast("VaultStore", await self.registry.open(ref, spec, identity or Identity("team")))

    def provider(self, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a provider's description."""
        return {"server": self.world.address, "path": "secret", "version": "v2", "auth": KUBERNETES, **(more or {})}

    async def generator(self, provider: dict[str, Any] | None = None, **spec: Any) -> VaultStore:
        """Open a VaultDynamicSecret."""
        obj = {
            "metadata": {"name": "gen", "namespace": "team"},
            "spec": {"path": "database/creds/app", "provider": self.provider(provider), **spec},
        }
        ref = StoreRef("VaultDynamicSecret", "gen", "team", uid="uid-gen", generation=1)
        opened = await self.registry.open_generator(ref, parse.vault_dynamic_secret(obj).spec, Identity("team"))
        return cast("VaultStore", opened)
