"""Bad days of a real Vault and a real PostgreSQL: what is said, what it costs, and that recovery needs no hands."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from leasehold.domain.errors import Denied, DomainError, Misconfigured, Unavailable
from leasehold.domain.ports import Handle, LeaseOutcome
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault import policy
from leasehold.providers.vault.store import VaultStore
from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.postgres import Postgres
from testbed.vault import Vault
from tests.contracts.canary import assert_clean
from tests.contracts.leaser import handle, mint
from tests.contracts.reader import document
from tests.live.vault_bench import DatabaseBench, LiveDesk, furnish_operator, read, tenant_role

SHORT = {"read": 1.0, "lease": 2.0, "mint": 3.0}
PATIENCE = 60.0


@pytest.fixture
async def desk(vault: Vault, control_plane: ControlPlane, namespace: str) -> AsyncIterator[LiveDesk]:
    furnish_operator(vault, control_plane)
    desk = LiveDesk(vault, control_plane, namespace, operator=True, limits=SHORT)
    yield desk
    await desk.registry.close()


@pytest.fixture
async def store(desk: LiveDesk, vault: Vault, mount: Mount) -> VaultStore:
    mount.put("app", {"a": "1"})
    store = await desk.store(desk.token(vault.root_token), path=mount.path)
    document(await read(store, "app"))
    return store


@pytest.fixture
async def bench(
    desk: LiveDesk, vault: Vault, postgres: Postgres, control_plane: ControlPlane, database: str
) -> DatabaseBench:
    role = tenant_role(vault, control_plane, desk.namespace, default_policy=False)
    leaser = await desk.store(desk.kubernetes(role, "tenant"))
    await leaser.login_owner()
    return DatabaseBench(vault, postgres, role, leaser, await desk.registry.keeper(leaser.connection))


async def until(works: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it works, as the due-queue would, and fail if it never does."""
    async with asyncio.timeout(PATIENCE):
        while not await works():  # noqa: ASYNC110  # another process gives no event
            await asyncio.sleep(0.2)


async def reads(store: VaultStore) -> bool:
    return not isinstance(await read(store, "app"), DomainError)


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_sealed_vault(store: VaultStore, vault: Vault) -> None:
    vault.seal()
    answers = [await read(store, "app") for _ in range(20)]
    assert {type(answer) for answer in answers} == {Unavailable}
    assert {str(answer).split(";")[0] for answer in answers} == {f"Vault at {vault.url} is sealed"}
    await asyncio.to_thread(vault.unseal)
    await until(lambda: reads(store))


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_vault_that_is_down_and_comes_back(store: VaultStore, vault: Vault) -> None:
    await asyncio.to_thread(vault.stop)
    answers = [await read(store, "app") for _ in range(20)]
    assert {type(answer) for answer in answers} == {Unavailable}
    # the connection that was there breaks first, then nobody listens
    assert "refuses connections" in str(answers[-1])
    await asyncio.to_thread(vault.start)
    await until(lambda: reads(store))


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_hanging_vault_costs_one_time_out(store: VaultStore, vault: Vault) -> None:
    vault.pause()
    try:
        started = time.monotonic()
        answers = [await read(store, "app") for _ in range(50)]
        took = time.monotonic() - started
    finally:
        vault.resume()
    assert {type(answer) for answer in answers} == {Unavailable}
    assert "does not answer in time" in str(answers[-1])
    assert took < 50 * SHORT["read"] / 2  # one time-out and a few probes, not fifty
    await until(lambda: reads(store))


async def test_a_namespace_that_the_server_would_ignore(desk: LiveDesk, vault: Vault, mount: Mount) -> None:
    mount.put("app", {"a": "1"})
    store = await desk.store(desk.token(vault.root_token), path=mount.path, namespace="team")
    answer = await read(store, "app")
    assert isinstance(answer, Misconfigured)
    assert "Community Edition" in str(answer)
    assert answer.path == "provider.vault.namespace"
    with pytest.raises(Misconfigured):
        await store.check()


@pytest.mark.usefixtures("kubernetes_auth")
@pytest.mark.parametrize("told", [True, False], ids=["with Retry-After", "without"])
async def test_a_rate_limit(store: VaultStore, vault: Vault, mount: Mount, *, told: bool) -> None:
    quota = f"sys/quotas/rate-limit/{mount.path}"
    vault.api("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": told})
    vault.api("POST", quota, {"path": f"{mount.path}/", "rate": 1, "interval": "1s", "block_interval": "3s"})
    try:
        answers = [await read(store, "app") for _ in range(10)]
        refused = [answer for answer in answers if isinstance(answer, Unavailable)]
        assert len(refused) >= 8
        assert all("limits the rate" in str(answer) for answer in refused)
        assert max(answer.retry_after or 0 for answer in refused) > (1.5 if told else 0)
        await until(lambda: reads(store))
    finally:
        vault.api("DELETE", quota)
        vault.api("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": False})


# ------------------------------------------------------------------------------------------------------------- leases


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_database_that_hangs(bench: DatabaseBench, postgres: Postgres, vault: Vault) -> None:
    owner, grant = await mint(bench.leaser, bench.request)
    second = await bench.leaser.login_owner()
    with _hanging(postgres):
        with pytest.raises(Unavailable, match="did not say") as caught:
            await bench.leaser.mint(second, bench.request)
        with pytest.raises(Unavailable, match="does not answer in time"):
            await bench.keeper.renew(handle(owner, grant), 60)
        # Vault itself is well, and everything that does not touch the database goes on
        assert (await bench.keeper.look_up(handle(owner, grant))).outcome is LeaseOutcome.ALIVE
        assert (await bench.keeper.renew_owner(handle(owner, grant))).outcome is LeaseOutcome.ALIVE
    assert_clean(caught.value, secrets=(bench.role + "-", "hvs."))
    await bench.keeper.revoke_owner(Handle(SecretBytes(b""), second.accessor))

    async def renews() -> bool:
        try:
            return (await bench.keeper.renew(handle(owner, grant), 60)).outcome is LeaseOutcome.ALIVE
        except Unavailable:
            return False

    await until(renews)
    assert bench.works(grant)


class _hanging:  # noqa: N801  # reads as a clause
    """PostgreSQL stops answering, its sessions included: they are separate processes of one group."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def __enter__(self) -> None:
        self._postgres.pause()

    def __exit__(self, *_: object) -> None:
        self._postgres.resume()


@pytest.mark.usefixtures("kubernetes_auth")
async def test_leases_outlive_a_restart_of_vault_and_of_us(
    bench: DatabaseBench, vault: Vault, control_plane: ControlPlane, desk: LiveDesk
) -> None:
    owner, grant = await mint(bench.leaser, bench.request)
    connection = bench.leaser.connection
    await desk.registry.close()
    await asyncio.to_thread(vault.restart)
    after = LiveDesk(vault, control_plane, desk.namespace, operator=True)
    keeper = await after.registry.keeper(connection)

    async def renews() -> bool:
        try:
            return (await keeper.renew(handle(owner, grant), 60)).outcome is LeaseOutcome.ALIVE
        except Unavailable:
            return False

    await until(renews)
    assert (await keeper.renew_owner(handle(owner, grant))).ttl == 86_400
    assert bench.works(grant)
    await keeper.revoke_owner(handle(owner, grant))
    await after.registry.close()


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_user_dropped_by_hand(bench: DatabaseBench, postgres: Postgres) -> None:
    owner, grant = await mint(bench.leaser, bench.request)
    postgres.query(f'DROP ROLE "{grant.values["username"].reveal().decode()}"')
    assert (await bench.keeper.renew(handle(owner, grant), 60)).outcome is LeaseOutcome.GONE


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_role_deleted_under_its_leases(bench: DatabaseBench, vault: Vault) -> None:
    owner, grant = await mint(bench.leaser, bench.request)
    vault.api("DELETE", f"database/roles/{bench.role}")
    with pytest.raises(Misconfigured, match="role behind the lease"):
        await bench.keeper.renew(handle(owner, grant), 60)
    vault.api("DELETE", f"auth/kubernetes/role/{bench.role}")
    with pytest.raises(Misconfigured, match="role behind the lease"):
        await bench.keeper.renew_owner(handle(owner, grant))
    await bench.keeper.revoke_owner(handle(owner, grant))


@pytest.mark.usefixtures("kubernetes_auth")
async def test_an_operator_without_its_policy(bench: DatabaseBench, vault: Vault) -> None:
    owner, grant = await mint(bench.leaser, bench.request)
    vault.write_policy("leasehold-operator", 'path "sys/leases/renew" { capabilities = ["update"] }')
    try:
        assert (await bench.keeper.renew(handle(owner, grant), 60)).outcome is LeaseOutcome.ALIVE
        with pytest.raises(Denied, match="leasehold policy"):
            await bench.keeper.renew_owner(handle(owner, grant))
    finally:
        vault.write_policy("leasehold-operator", policy.operator_policy())


@pytest.mark.usefixtures("kubernetes_auth")
async def test_a_vault_killed_in_the_middle_of_a_mint(
    bench: DatabaseBench, vault: Vault, postgres: Postgres, desk: LiveDesk
) -> None:
    """The request is not sent again to the Vault that comes after; what it left is ended by its owner's accessor."""
    owner = await bench.leaser.login_owner()
    before = vault.audit_log.read_text().count(f'"path":"database/creds/{bench.role}"')
    with _hanging(postgres):
        async with asyncio.TaskGroup() as group:
            minting = group.create_task(_outcome(bench.leaser.mint(owner, bench.request)))
            await asyncio.sleep(0.5)
            os.kill(vault.server.pid, signal.SIGKILL)
    assert isinstance(minting.result(), Unavailable)
    await asyncio.to_thread(_start_again, vault)
    seen = vault.audit_log.read_text().count(f'"path":"database/creds/{bench.role}"') - before
    assert seen <= 1  # the request at most: no response, no second request

    async def revoked() -> bool:
        try:
            await bench.keeper.revoke_owner(Handle(SecretBytes(b""), owner.accessor))
        except Unavailable:
            return False
        return True

    await until(revoked)
    assert bench.minted() == 0


def _start_again(vault: Vault) -> None:
    vault.stop()
    vault.start()


async def _outcome(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except DomainError as error:
        return error
