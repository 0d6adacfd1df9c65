"""A furnished Vault in memory: KV of both versions, a database engine, kubernetes roles for tenant and operator."""

from __future__ import annotations

import pytest

from tests.worlds.clock import ManualClock
from tests.worlds.stores import OPERATOR, Desk
from tests.worlds.vault import DatabaseRole, VaultWorld
from tests.worlds.vault_tokens import DEFAULT_POLICY, Role

KEEPING = ("auth/token/renew-accessor", "auth/token/lookup-accessor", "auth/token/revoke-accessor")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> VaultWorld:
    world = VaultWorld(clock)
    world.mount("secret", "kv", version=2)
    world.mount("old", "kv", version=1)
    world.mount("database", "database")
    world.database["app"] = DatabaseRole(default_ttl=60, max_ttl=300)
    tenant = ("secret/*", "old/*", "database/creds/app", "database/creds/nope", "sys/internal/ui/mounts/*")
    world.kubernetes["app"] = Role(paths=tenant, accounts=("app",), namespaces=("team",), ttl=3600, period=86_400)
    world.kubernetes["leasehold"] = Role(
        paths=(*KEEPING, *DEFAULT_POLICY), accounts=("leasehold",), namespaces=("leasehold",), ttl=600
    )
    return world


@pytest.fixture
def desk(world: VaultWorld, clock: ManualClock) -> Desk:
    """A registry whose operator has an identity of its own."""
    return Desk(world, clock, operator=OPERATOR)


@pytest.fixture
def plain_desk(world: VaultWorld, clock: ManualClock) -> Desk:
    """A registry whose operator has none."""
    return Desk(world, clock)
