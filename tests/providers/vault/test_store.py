from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from leasehold.domain.errors import Conflict, Denied, Misconfigured, Missing, Unavailable
from leasehold.domain.ports import Checker, Grant, Identity, LeaseOutcome, Leaser, MintRequest, Reader, Remote, Verdict
from leasehold.providers.vault.errors import Why
from leasehold.providers.vault.store import VaultStore
from tests.contracts.canary import assert_clean
from tests.contracts.checker import CheckerContract
from tests.contracts.leaser import LeaserContract, handle, mint
from tests.contracts.reader import ReaderContract, document
from tests.worlds.clock import ManualClock
from tests.worlds.stores import Desk
from tests.worlds.vault import ROOT, VaultWorld
from tests.worlds.vault_tokens import Role


class KvBench:
    def __init__(self, world: VaultWorld, reader: VaultStore, *, mount: str) -> None:
        self._world, self.reader, self._mount = world, reader, mount

    def put(self, path: str, text: str) -> None:
        self._world.put(path, text, mount=self._mount, raw=True)


class TestReaderOfVersion2(ReaderContract):
    absent_property = Misconfigured

    @pytest.fixture
    async def bench(self, desk: Desk) -> KvBench:
        return KvBench(desk.world, await desk.store(), mount="secret")


class TestReaderOfVersion1(ReaderContract):
    absent_property = Misconfigured

    @pytest.fixture
    async def bench(self, desk: Desk) -> KvBench:
        return KvBench(desk.world, await desk.store({"path": "old", "version": "v1"}), mount="old")

    async def test_missing_version(self, bench: Any) -> None:
        """Version 1 has no versions and ignores the number, as it does for ESO."""
        bench.put("app", '{"a":"1"}')
        remote = Remote("app", version="7")
        assert document((await bench.reader.read([remote]))[remote]).value("a").reveal() == b"1"


class LeaseBench:
    def __init__(self, desk: Desk, leaser: VaultStore, keeper: Any) -> None:
        self._world, self._clock = desk.world, desk.clock
        self.leaser, self.keeper = leaser, keeper
        self.request, self.longest = MintRequest("database/creds/app"), 300.0
        self.unknown_role, self.forbidden = MintRequest("database/creds/nope"), MintRequest("other/creds/app")

    def works(self, grant: Grant) -> bool:
        self._world.book.reap()
        return grant.values["username"].reveal().decode() in self._world.book.users

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def minted(self) -> int:
        return len(self._world.book.leases)

    def break_engine(self) -> None:
        self._world.database_down = True

    def mend_engine(self) -> None:
        self._world.database_down = False


async def lease_bench(desk: Desk) -> LeaseBench:
    leaser = await desk.generator()
    return LeaseBench(desk, leaser, await desk.registry.keeper(leaser.connection))


class TestLeasesKeptByTheOperator(LeaserContract):
    @pytest.fixture
    async def bench(self, desk: Desk) -> LeaseBench:
        return await lease_bench(desk)


class TestLeasesKeptFromMemory(LeaserContract):
    stranger = LeaseOutcome.UNKEPT

    @pytest.fixture
    async def bench(self, plain_desk: Desk) -> LeaseBench:
        return await lease_bench(plain_desk)


class TestChecker(CheckerContract):
    @pytest.fixture
    async def bench(self, desk: Desk) -> SimpleNamespace:
        auth = {"kubernetes": {"mountPath": "kubernetes", "role": "nope", "serviceAccountRef": {"name": "app"}}}
        return SimpleNamespace(good=await desk.store(), bad=await desk.store({"auth": auth}, name="bad"))


async def read(store: VaultStore, path: str, **more: Any) -> Any:
    remote = Remote(path, **more)
    return (await store.read([remote]))[remote]


async def test_capabilities(desk: Desk) -> None:
    store = await desk.store()
    assert isinstance(store, Reader)
    assert isinstance(store, Leaser)
    assert isinstance(store, Checker)


async def test_many_reads_cost_one_login_and_one_request_each(desk: Desk) -> None:
    for index in range(20):
        desk.world.put(f"app{index}", {"a": "1"})
    store = await desk.store()
    remotes = [Remote(f"app{index}") for index in range(20)]
    await asyncio.gather(*(store.read([remote]) for remote in remotes), store.read(remotes))
    assert desk.world.count("/login") == 1
    assert len(desk.world.seen) == 41


async def test_kv_states_are_told_apart(desk: Desk) -> None:
    for name in ("deleted", "destroyed", "empty"):
        desk.world.put(name, None if name == "empty" else {"a": "1"})
    desk.world.delete("deleted")
    desk.world.delete("destroyed", destroy=True)
    store = await desk.store()
    deleted, destroyed = await read(store, "deleted"), await read(store, "destroyed")
    assert isinstance(deleted, Missing)
    assert "deleted" in deleted.cause
    assert isinstance(destroyed, Missing)
    assert "destroyed" in destroyed.cause
    empty = document(await read(store, "empty"))
    assert empty.value("").reveal() == b"{}"
    assert empty.entries("") == {}


async def test_versions(desk: Desk) -> None:
    desk.world.put("app", {"a": "old"})
    desk.world.put("app", {"a": "new"})
    store = await desk.store()
    assert document(await read(store, "app", version="1")).value("a").reveal() == b"old"
    assert document(await read(store, "app")).value("a").reveal() == b"new"
    assert isinstance(await read(store, "app", version="x"), Misconfigured)


async def test_metadata(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    desk.world.mounts["secret/"].data["app"]["custom"] = {"owner": "team"}
    store = await desk.store()
    found = document(await read(store, "app", metadata=True))
    shown = {key: value.reveal() for key, value in found.entries("").items()}
    assert shown == {
        "created_time": b"2026-01-01T00:00:00Z",
        "current_version": b"1",
        "delete_version_after": b"0s",
        "owner": b"team",
    }
    old = await desk.store({"path": "old", "version": "v1"}, name="old")
    assert isinstance(await read(old, "app", metadata=True), Misconfigured)


async def test_a_version_2_mount_read_as_version_1_is_misconfigured(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store({"path": "secret", "version": "v1"})
    answer = await read(store, "app")
    assert isinstance(answer, Misconfigured)
    assert "provider.vault.version" in answer.remedy


async def test_only_other_engines_lease(desk: Desk) -> None:
    kv2 = await desk.store()
    assert not await kv2.leases(Remote("database/creds/app"))
    old = await desk.store({"path": "old", "version": "v1"}, name="old")
    assert not await old.leases(Remote("app"))
    bare = await desk.store({"path": None, "version": "v1"}, name="bare")
    assert await bare.leases(Remote("database/creds/app"))
    assert await bare.leases(Remote("database/creds/other"))
    assert desk.world.count("ui/mounts/database/creds/app") == 1
    assert desk.world.count("ui/mounts/database/creds/other") == 0  # the mount is known by then


async def test_a_mount_that_may_not_be_seen_is_taken_for_kv(desk: Desk) -> None:
    bare = await desk.store({"path": None, "version": "v1"})
    assert not await bare.leases(Remote("hidden/app"))


async def test_a_read_that_leases_is_ended_and_minted_from_then_on(desk: Desk) -> None:
    desk.world.mounts["database/"].kind = "kv"  # what ui/mounts says is wrong
    store = await desk.store({"path": "database", "version": "v1"})
    remote = Remote("creds/app")
    assert not await store.leases(remote)
    desk.world.mounts["database/"].kind = "database"
    answer = (await store.read([remote]))[remote]
    assert isinstance(answer, Conflict)
    assert_clean(answer)
    assert await store.leases(remote)
    desk.clock.advance(2)
    desk.world.book.reap()
    assert not desk.world.book.leases


async def test_the_connection_is_known_before_and_complete_after_a_call(desk: Desk) -> None:
    desk.world.ca_pem = "the authority"
    desk.authorities["ca"] = "the authority"
    store = await desk.store(
        {"caProvider": {"type": "ConfigMap", "name": "ca", "key": "k"}, "headers": {"X-Team": "a"}, "auth": None}
    )
    assert store.connection.ca_pem == ""
    await store.check()
    assert store.connection.ca_pem == "the authority"
    assert store.connection.headers == {"X-Team": "a"}
    assert store.connection.server == desk.world.address


async def test_headers_and_correlation_travel(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    desk.correlation = "abc123"
    store = await desk.store(
        {"headers": {"X-Team": "a"}, "readYourWrites": True, "forwardInconsistent": True},
    )
    await read(store, "app")
    sent = desk.world.headers[-1]
    assert sent["X-Team"] == "a"
    assert sent["X-Vault-Request"] == "true"
    assert sent["X-Correlation-Id"] == "abc123"
    assert sent["X-Vault-Inconsistent"] == "forward-active-node"


async def test_a_header_cannot_smuggle_another(desk: Desk) -> None:
    with pytest.raises(Misconfigured, match="line break"):
        await desk.store({"headers": {"X-Team": "a\r\nX-Vault-Token: t"}})


async def test_metrics_speak_as_eso_does(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store()
    await read(store, "app")
    await read(store, "gone")
    await read(store, "forbidden/../app")
    assert desk.counter.calls == [
        ("HashiCorp/Vault", "Login", "success"),
        ("HashiCorp/Vault", "ReadSecretData", "success"),
        ("HashiCorp/Vault", "ReadSecretData", "success"),
    ]


async def test_an_ignored_namespace_is_refused_before_anything_else(desk: Desk) -> None:
    for provider in (
        {"namespace": "team"},
        {"auth": {"namespace": "team", "kubernetes": {"mountPath": "kubernetes", "role": "app"}}},
        {"headers": {"x-vault-namespace": "team"}},
    ):
        store = await desk.store(provider, name=str(sorted(provider)))
        answer = await read(store, "app")
        assert isinstance(answer, Misconfigured)
        assert "namespace" in str(answer)
        with pytest.raises(Misconfigured, match="namespaces"):
            await store.login_owner()
    assert {path for _, path in desk.world.seen} == {"sys/health"}


async def test_a_heeded_namespace_is_sent(desk: Desk) -> None:
    desk.world.enterprise = True
    desk.world.put("app", {"a": "1"})
    auth = {
        "namespace": "login",
        "kubernetes": {"mountPath": "kubernetes", "role": "app", "serviceAccountRef": {"name": "app"}},
    }
    store = await desk.store({"namespace": "team", "auth": auth})
    document(await read(store, "app"))
    shown = [headers.get("X-Vault-Namespace") for headers in desk.world.headers]
    assert shown == [None, "login", "team"]


@pytest.mark.parametrize("name", ["", "root", "/"])
async def test_the_root_namespace_is_none(desk: Desk, name: str) -> None:
    store = await desk.store({"namespace": name})
    assert await store.check() is Verdict.VALID
    assert desk.world.count("sys/health") == 0


# ------------------------------------------------------------------------------------------------------------- leases


async def test_a_stored_token_mints_by_a_child(desk: Desk) -> None:
    desk.secrets["token", "t"] = ROOT
    store = await desk.generator({"auth": {"tokenSecretRef": {"name": "token", "key": "t"}}})
    owner = await store.login_owner()
    assert owner.accessor
    assert owner.token.reveal() != ROOT.encode()
    grant = await store.mint(owner, MintRequest("database/creds/app"))
    await (await desk.registry.keeper(store.connection)).revoke_owner(handle(owner, grant))
    assert ROOT in desk.world.book.tokens
    assert not desk.world.book.users


async def test_a_stored_token_that_may_make_no_child_owns_without_an_accessor(desk: Desk) -> None:
    token = desk.world.book.issue(Role(paths=("database/creds/app",), ttl=3600))
    desk.secrets["token", "t"] = token.value
    store = await desk.generator({"auth": {"tokenSecretRef": {"name": "token", "key": "t"}}})
    owner = await store.login_owner()
    assert not owner.accessor
    grant = await store.mint(owner, MintRequest("database/creds/app"))
    await (await desk.registry.keeper(store.connection)).revoke_owner(handle(owner, grant))
    desk.clock.advance(1)
    desk.world.book.reap()
    assert token.value in desk.world.book.tokens  # the user's own token is never revoked
    assert not desk.world.book.users


async def test_a_batch_owner_has_no_accessor(desk: Desk) -> None:
    desk.world.kubernetes["app"].kind = "batch"
    desk.world.kubernetes["app"].period = 0
    store = await desk.generator()
    owner, grant = await mint(store, MintRequest("database/creds/app"))
    assert not owner.accessor
    assert not owner.renewable
    keeper = await desk.registry.keeper(store.connection)
    assert (await keeper.renew_owner(handle(owner, grant))).outcome is LeaseOutcome.FIXED
    assert (await keeper.renew(handle(owner, grant), 30)).outcome is LeaseOutcome.ALIVE


async def test_a_mint_whose_answer_is_lost_is_not_sent_again(desk: Desk) -> None:
    store = await desk.generator()
    owner = await store.login_owner()
    desk.world.lose_answers = 1
    with pytest.raises(Unavailable, match="did not say"):
        await store.mint(owner, MintRequest("database/creds/app"))
    assert desk.world.count("database/creds/app") == 1
    assert len(desk.world.book.leases) == 1
    keeper = await desk.registry.keeper(store.connection)
    await keeper.revoke_owner(handle(owner, Grant({}, owner.accessor, 0, renewable=False)))
    assert not desk.world.book.users


@pytest.mark.parametrize("why", [Why.SILENT, Why.GARBLED, Why.OVERSIZED, Why.REFUSED])
async def test_a_mint_without_a_proper_answer_is_unavailable(desk: Desk, why: Why) -> None:
    store = await desk.generator()
    owner = await store.login_owner()
    desk.world.fault = why
    with pytest.raises(Unavailable):
        await store.mint(owner, MintRequest("database/creds/app"))


async def test_a_hanging_mint_does_not_close_the_gate(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.generator()
    owner = await store.login_owner()
    desk.world.fault = Why.SILENT
    with pytest.raises(Unavailable):
        await store.mint(owner, MintRequest("database/creds/app"))
    desk.world.fault = None
    document(await read(store, "app"))


async def test_a_user_dropped_by_hand_is_a_lost_lease(desk: Desk) -> None:
    store = await desk.generator()
    bench = await lease_bench(desk)
    owner, grant = await mint(bench.leaser, bench.request)
    desk.world.drop_user(grant.values["username"].reveal().decode())
    keeper = await desk.registry.keeper(store.connection)
    assert (await keeper.renew(handle(owner, grant), 30)).outcome is LeaseOutcome.GONE


async def test_past_the_maximum_is_maxed(desk: Desk) -> None:
    bench = await lease_bench(desk)
    owner, grant = await mint(bench.leaser, bench.request)
    await bench.keeper.renew(handle(owner, grant), 300)
    desk.clock.advance(299.5)
    renewal = await bench.keeper.renew(handle(owner, grant), 60)
    assert renewal.outcome is LeaseOutcome.MAXED
    assert renewal.capped


# ------------------------------------------------------------------------------------------------------------ bad days


async def test_an_operator_without_rights_is_told_which_policy_to_write(desk: Desk) -> None:
    desk.world.kubernetes["leasehold"].paths = ()
    bench = await lease_bench(desk)
    owner, grant = await mint(bench.leaser, bench.request)
    with pytest.raises(Denied, match="leasehold policy") as caught:
        await bench.keeper.renew_owner(handle(owner, grant))
    assert "auth/token/renew-accessor" in str(caught.value)


async def test_the_operator_logs_in_once_and_again_when_its_token_dies(desk: Desk) -> None:
    bench = await lease_bench(desk)
    owner, grant = await mint(bench.leaser, bench.request)
    await asyncio.gather(*(bench.keeper.look_up(handle(owner, grant)) for _ in range(10)))
    assert desk.world.count("/login") == 2  # the owner's and the operator's
    for token in [held for held in desk.world.book.tokens.values() if "auth/token/renew-accessor" in held.paths]:
        desk.world.book.revoke(token)
    assert (await bench.keeper.renew(handle(owner, grant), 30)).outcome is LeaseOutcome.ALIVE
    assert desk.world.count("/login") == 3


async def test_without_operator_identity_a_restart_leaves_leases_unkept(plain_desk: Desk, clock: ManualClock) -> None:
    bench = await lease_bench(plain_desk)
    owner, grant = await mint(bench.leaser, bench.request)
    after = Desk(plain_desk.world, clock)
    keeper = await after.registry.keeper(bench.leaser.connection)
    assert (await keeper.renew(handle(owner, grant), 30)).outcome is LeaseOutcome.UNKEPT
    assert (await keeper.look_up(handle(owner, grant))).outcome is LeaseOutcome.UNKEPT
    assert (await keeper.renew_owner(handle(owner, grant))).outcome is LeaseOutcome.UNKEPT
    with pytest.raises(Denied, match="before the restart") as caught:
        await keeper.revoke_owner(handle(owner, grant))
    assert_clean(caught.value)


@pytest.mark.parametrize("blip", ["standby_answers", "lose_answers"])
async def test_a_blip_is_sat_out(desk: Desk, blip: str) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store()
    await store.check()
    setattr(desk.world, blip, 2)
    document(await read(store, "app"))


@pytest.mark.parametrize(
    ("retry", "tries"), [(None, 3), ({"maxRetries": 4, "retryInterval": "1s"}, 5), ({"retryInterval": "1s"}, 1)]
)
async def test_retry_settings_count(desk: Desk, retry: dict[str, Any] | None, tries: int) -> None:
    store = await desk.store(more={"retrySettings": retry} if retry else {})
    await store.check()
    desk.world.standby_answers, before = 100, len(desk.world.seen)
    assert isinstance(await read(store, "app"), Unavailable)
    assert len(desk.world.seen) - before == tries


async def test_a_bad_retry_interval_is_misconfigured(desk: Desk) -> None:
    with pytest.raises(Misconfigured, match="retryInterval"):
        await desk.store(more={"retrySettings": {"retryInterval": "soon"}})


async def test_a_sealed_vault_costs_one_probe(desk: Desk) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store()
    await store.check()
    desk.world.sealed, before = True, len(desk.world.seen)
    answers = [await read(store, f"app{index}") for index in range(10)]
    assert {type(answer) for answer in answers} == {Unavailable}
    assert len({str(answer) for answer in answers}) == 1  # one text for all, so that no condition flaps
    assert "sealed" in str(answers[0])
    assert len(desk.world.seen) - before == 1
    desk.world.sealed = False
    assert isinstance(await read(store, "app"), Unavailable)
    desk.clock.advance(answers[-1].retry_after)
    document(await read(store, "app"))


@pytest.mark.parametrize(("header", "wait"), [("", 1.0), ("10", 10.0)])
async def test_a_throttled_vault_is_left_alone_as_long_as_it_asks(desk: Desk, header: str, wait: float) -> None:
    desk.world.put("app", {"a": "1"})
    store = await desk.store()
    await store.check()
    desk.world.throttled, desk.world.throttle_header = True, header
    first = await read(store, "app")
    assert isinstance(first, Unavailable)
    desk.world.throttled = False
    held = await read(store, "app")
    assert isinstance(held, Unavailable)
    assert held.retry_after == wait
    desk.clock.advance(wait)
    document(await read(store, "app"))


async def test_a_wrong_authority_is_resolved_afresh(desk: Desk) -> None:
    desk.world.ca_pem = "new authority"
    desk.world.put("app", {"a": "1"})
    desk.authorities["ca"] = "old authority"
    store = await desk.store({"caProvider": {"type": "ConfigMap", "name": "ca", "key": "k"}})
    answer = await read(store, "app")
    assert isinstance(answer, Misconfigured)
    assert "caBundle" in answer.remedy
    desk.authorities["ca"] = "new authority"
    desk.clock.advance(10)
    document(await read(store, "app"))


async def test_a_cluster_store_that_needs_a_namespace_cannot_be_checked(desk: Desk) -> None:
    from leasehold.api import parse
    from leasehold.domain.ports import StoreRef

    spec = parse.cluster_secret_store(
        {"metadata": {"name": "c"}, "spec": {"provider": {"vault": desk.provider()}}}
    ).spec
    opened = await desk.registry.open(StoreRef("ClusterSecretStore", "c", ""), spec, Identity(""))
    assert isinstance(opened, Checker)
    assert await opened.check() is Verdict.UNKNOWN
    assert not desk.world.seen
