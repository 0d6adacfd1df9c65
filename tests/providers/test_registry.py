from __future__ import annotations

from typing import Any

import pytest

from leasehold.api import parse
from leasehold.api.stores import OPAQUE_PROVIDERS
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Identity, Leaser, Reader, Remote, StoreRef
from leasehold.domain.ports import Registry as RegistryPort
from leasehold.providers.fake import FakeStore
from leasehold.providers.registry import IDLE, SUPERSEDED, SWEEP_EVERY
from leasehold.providers.vault.errors import Why
from tests.contracts.reader import document
from tests.worlds.clock import ManualClock
from tests.worlds.stores import Desk
from tests.worlds.vault import VaultWorld
from tests.worlds.vault_tokens import Role

TEAM = Identity("team")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def desk(clock: ManualClock) -> Desk:
    world = VaultWorld(clock)
    world.mount("secret", "kv", version=2)
    world.put("app", {"a": "1"})
    world.kubernetes["app"] = Role(paths=("secret/*",))
    return Desk(world, clock)


def spec(provider: dict[str, Any]) -> Any:
    return parse.secret_store({"metadata": {"name": "s", "namespace": "team"}, "spec": {"provider": provider}}).spec


async def read(store: Any) -> None:
    document((await store.read([Remote("app")]))[Remote("app")])


def test_it_is_a_registry(desk: Desk) -> None:
    port: RegistryPort = desk.registry
    assert port is desk.registry


@pytest.mark.parametrize("name", OPAQUE_PROVIDERS)
async def test_a_provider_that_we_do_not_speak_is_named(desk: Desk, name: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        await desk.registry.open(StoreRef("SecretStore", "s", "team"), spec({name: {"x": "canary"}}), TEAM)
    assert str(caught.value).startswith(f"provider {name} is not supported by this version (spec.provider.{name}); ")
    assert "canary" not in str(caught.value)


async def test_the_fake_needs_no_login(desk: Desk) -> None:
    ref = StoreRef("SecretStore", "s", "team")
    opened = await desk.registry.open(ref, spec({"fake": {"data": [{"key": "app", "value": "1"}]}}), TEAM)
    assert isinstance(opened, FakeStore)
    await read(opened)
    await desk.registry.close()


async def test_a_generator_leases_and_others_do_not(desk: Desk) -> None:
    assert isinstance(await desk.generator(), Leaser)
    with pytest.raises(Misconfigured, match="VaultDynamicSecret"):
        await desk.registry.open_generator(StoreRef("Password", "p", "team"), object(), TEAM)


async def test_one_session_per_store_generation_and_identity(desk: Desk) -> None:
    first = await desk.store()
    assert isinstance(first, Reader)
    assert await desk.store() is first
    assert await desk.store(generation=2) is not first
    assert await desk.store(name="other") is not first
    assert await desk.store(identity=Identity("team", "payments")) is not first


async def test_a_bad_description_is_told_at_each_opening(desk: Desk) -> None:
    for _ in range(2):
        with pytest.raises(Misconfigured, match="not a URL"):
            await desk.store({"server": "vault:8200"})


async def test_a_cluster_store_of_one_account_logs_in_once(desk: Desk) -> None:
    auth = {"kubernetes": {"role": "app", "serviceAccountRef": {"name": "app", "namespace": "vault"}}}
    obj = {"metadata": {"name": "c"}, "spec": {"provider": {"vault": desk.provider({"auth": auth})}}}
    described = parse.cluster_secret_store(obj).spec
    ref = StoreRef("ClusterSecretStore", "c", "")
    for namespace in ("a", "b", "c"):
        await read(await desk.registry.open(ref, described, Identity(namespace)))
    assert desk.world.count("/login") == 1


async def test_an_idle_session_is_logged_out(desk: Desk) -> None:
    idle = await desk.store(name="idle")
    await read(idle)
    for _ in range(int(IDLE / SWEEP_EVERY) + 1):
        desk.clock.advance(SWEEP_EVERY)
        await read(await desk.store(name="busy"))
    assert desk.world.count("revoke-self") == 1
    assert await desk.store(name="idle") is not idle


async def test_an_old_generation_is_logged_out_soon(desk: Desk) -> None:
    await read(await desk.store(generation=1))
    desk.clock.advance(SWEEP_EVERY)
    await read(await desk.store(generation=2))
    assert desk.world.count("revoke-self") == 0
    desk.clock.advance(SUPERSEDED)
    newest = await desk.store(generation=2)
    assert desk.world.count("revoke-self") == 1
    await read(newest)
    assert desk.world.count("/login") == 2


async def test_closing_logs_out_once_and_can_be_repeated(desk: Desk) -> None:
    await read(await desk.store(name="a"))
    await read(await desk.store(name="b"))
    await desk.registry.close()
    await desk.registry.close()
    assert desk.world.count("revoke-self") == 2
    assert len(desk.world.book.tokens) == 1  # the root's


async def test_closing_while_vault_is_down_ends(desk: Desk) -> None:
    await read(await desk.store())
    desk.world.fault = Why.REFUSED
    await desk.registry.close()
