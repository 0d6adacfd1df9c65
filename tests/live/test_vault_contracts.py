"""The provider contracts on a real Vault and a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from leasehold.domain.errors import Denied, Misconfigured, Missing
from leasehold.domain.ports import LeaseOutcome, Remote
from leasehold.providers.vault.store import VaultStore
from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.postgres import Postgres
from testbed.vault import Vault
from tests.contracts.checker import CheckerContract
from tests.contracts.leaser import LeaserContract
from tests.contracts.reader import ReaderContract, document
from tests.live.vault_bench import DatabaseBench, LiveDesk, furnish_operator, read, tenant_role


class KvBench:
    """A KV mount and a store of it; ``prefix`` stands between mount and name on version 2."""

    def __init__(self, vault: Vault, reader: VaultStore, *, mount: str, version: int) -> None:
        self._vault, self.reader, self._mount, self._version = vault, reader, mount, version

    def put(self, path: str, text: str) -> None:
        if self._version == 2:
            body: Any = {"data": json.loads(text)}
            self._vault.api("POST", f"{self._mount}/data/{path}", body)
        else:
            self._vault.api("POST", f"{self._mount}/{path}", json.loads(text))


@pytest.fixture
async def desk(vault: Vault) -> AsyncIterator[LiveDesk]:
    desk = LiveDesk(vault)
    yield desk
    await desk.registry.close()


class TestReaderOfVersion2(ReaderContract):
    absent_property = Misconfigured

    @pytest.fixture
    async def bench(self, vault: Vault, mount: Mount, desk: LiveDesk) -> KvBench:
        store = await desk.store(desk.token(vault.root_token), path=mount.path)
        return KvBench(vault, store, mount=mount.path, version=2)

    async def test_digits_survive(self, bench: Any) -> None:
        """They do not: version 2 rounds numbers at the write. What it stored is shown as it is."""
        bench.put("app", '{"id":9007199254740993}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        assert found.value("id").reveal() in (b"9007199254740993", b"9007199254740992")


class TestReaderOfVersion1(ReaderContract):
    absent_property = Misconfigured

    @pytest.fixture
    async def bench(self, vault: Vault, desk: LiveDesk, mount: Mount) -> AsyncIterator[KvBench]:
        path = f"{mount.path}-old"
        vault.enable("secret", "kv", at=path, version=1)
        store = await desk.store(desk.token(vault.root_token), path=path, version="v1")
        yield KvBench(vault, store, mount=path, version=1)
        vault.disable("secret", at=path)

    async def test_missing_version(self, bench: Any) -> None:
        """Version 1 has no versions and ignores the number, as it does for ESO."""
        bench.put("app", '{"a":"1"}')
        remote = Remote("app", version="7")
        assert document((await bench.reader.read([remote]))[remote]).value("a").reveal() == b"1"


async def lease_bench(
    desk: LiveDesk, vault: Vault, postgres: Postgres, control_plane: ControlPlane, *, default_policy: bool
) -> DatabaseBench:
    role = tenant_role(vault, control_plane, desk.namespace, default_policy=default_policy)
    leaser = await desk.store(desk.kubernetes(role, "tenant"))
    await leaser.login_owner()
    return DatabaseBench(vault, postgres, role, leaser, await desk.registry.keeper(leaser.connection))


@pytest.mark.usefixtures("kubernetes_auth", "database")
class TestLeasesKeptByTheOperator(LeaserContract):
    @pytest.fixture
    async def bench(
        self, vault: Vault, postgres: Postgres, control_plane: ControlPlane, namespace: str
    ) -> AsyncIterator[DatabaseBench]:
        furnish_operator(vault, control_plane)
        desk = LiveDesk(vault, control_plane, namespace, operator=True)
        yield await lease_bench(desk, vault, postgres, control_plane, default_policy=False)
        await desk.registry.close()


@pytest.mark.usefixtures("kubernetes_auth", "database")
class TestLeasesKeptFromMemory(LeaserContract):
    stranger = LeaseOutcome.UNKEPT

    @pytest.fixture
    async def bench(
        self, vault: Vault, postgres: Postgres, control_plane: ControlPlane, namespace: str
    ) -> AsyncIterator[DatabaseBench]:
        desk = LiveDesk(vault, control_plane, namespace)
        yield await lease_bench(desk, vault, postgres, control_plane, default_policy=True)
        await desk.registry.close()


class TestChecker(CheckerContract):
    @pytest.fixture
    async def bench(self, vault: Vault, desk: LiveDesk) -> SimpleNamespace:
        return SimpleNamespace(
            good=await desk.store(desk.token(vault.root_token)), bad=await desk.store(desk.token("hvs.canary"))
        )


# ------------------------------------------------------------------------------------------------------------ KV states


async def test_states_of_a_version_2_secret(vault: Vault, mount: Mount, desk: LiveDesk) -> None:
    for name in ("deleted", "destroyed", "versions"):
        mount.put(name, {"a": "old"})
        mount.put(name, {"a": "new"})
    mount.delete("deleted")
    vault.api("PUT", f"{mount.path}/destroy/destroyed", {"versions": [2]})
    vault.api("POST", f"{mount.path}/data/null", {"data": None})
    vault.api("POST", f"{mount.path}/metadata/versions", {"custom_metadata": {"owner": "team"}})
    store = await desk.store(desk.token(vault.root_token), path=mount.path)

    for name, word in (("deleted", "deleted"), ("destroyed", "destroyed"), ("gone", "nothing")):
        answer = await read(store, name)
        assert isinstance(answer, Missing)
        assert word in answer.cause
    assert document(await read(store, "deleted", version="1")).value("a").reveal() == b"old"
    assert document(await read(store, "null")).value("").reveal() == b"{}"
    assert isinstance(await read(store, "versions", version="9"), Missing)
    assert isinstance(await read(store, "versions", version="x"), Misconfigured)
    metadata = document(await read(store, "versions", metadata=True)).entries("")
    assert metadata["current_version"].reveal() == b"2"
    assert metadata["owner"].reveal() == b"team"


@pytest.mark.parametrize("key", ["app", "{mount}/app", "{mount}/data/app"])
async def test_a_key_may_repeat_the_mount(vault: Vault, mount: Mount, desk: LiveDesk, key: str) -> None:
    mount.put("app", {"a": "1"})
    with_path = await desk.store(desk.token(vault.root_token), path=mount.path)
    assert document(await read(with_path, key.format(mount=mount.path))).value("a").reveal() == b"1"
    if key != "app":
        bare = await desk.store(desk.token(vault.root_token))
        assert document(await read(bare, key.format(mount=mount.path))).value("a").reveal() == b"1"


async def test_awkward_names(vault: Vault, mount: Mount, desk: LiveDesk) -> None:
    vault.api("POST", f"{mount.path}/data/a%20b%3Fc%23d/%C3%BC", {"data": {"a": "1"}})
    store = await desk.store(desk.token(vault.root_token), path=mount.path)
    assert document(await read(store, "a b?c#d/ü")).value("a").reveal() == b"1"


async def test_the_wrong_version_of_a_mount(vault: Vault, mount: Mount, desk: LiveDesk) -> None:
    mount.put("app", {"a": "1"})
    store = await desk.store(desk.token(vault.root_token), path=mount.path, version="v1")
    answer = await read(store, "app")
    assert isinstance(answer, Misconfigured)
    assert "KV version 2" in answer.cause


async def test_no_mount_and_no_right(vault: Vault, mount: Mount, desk: LiveDesk) -> None:
    store = await desk.store(desk.token(vault.root_token), path="nowhere")
    answer = await read(store, "app")
    assert isinstance(answer, Misconfigured)
    assert "no secrets engine" in answer.cause
    limited = vault.api("POST", "auth/token/create", {"policies": [mount.policy]})["auth"]["client_token"]
    answer = await read(await desk.store(desk.token(limited), path="nowhere"), "app")
    assert isinstance(answer, Denied)


async def test_only_what_leases_is_leased(vault: Vault, database: str, mount: Mount, desk: LiveDesk) -> None:
    bare = await desk.store(desk.token(vault.root_token), version="v1")
    assert await bare.leases(Remote(f"{database}/creds/any"))
    assert not await bare.leases(Remote(f"{mount.path}/data/app"))
    assert not await (await desk.store(desk.token(vault.root_token), path=mount.path)).leases(Remote("app"))
