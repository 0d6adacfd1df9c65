from __future__ import annotations

from typing import Any

import pytest

from leasehold.domain.errors import Denied, Misconfigured, Unavailable
from leasehold.domain.ports import Connection, Handle, LeaseOutcome, MintRequest, Owner
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.errors import Why
from leasehold.providers.vault.keeper import MOST_OWNERS, NEVER, OwnerTokens, connection_key
from tests.contracts.canary import assert_clean
from tests.contracts.leaser import handle, mint
from tests.worlds.stores import Desk
from tests.worlds.vault_tokens import Role

CONNECTION = Connection("https://v", "n", "pem", {"a": "1", "b": "2"})
NOBODY = SecretBytes(b"")


async def held(desk: Desk) -> tuple[Any, Handle]:
    """Return the keeper and the handle of a fresh lease."""
    store = await desk.generator()
    owner, grant = await mint(store, MintRequest("database/creds/app"))
    return await desk.registry.keeper(store.connection), handle(owner, grant)


@pytest.mark.parametrize(
    "other",
    [
        Connection("https://w", "n", "pem", {"a": "1", "b": "2"}),
        Connection("https://v", "", "pem", {"a": "1", "b": "2"}),
        Connection("https://v", "n", "", {"a": "1", "b": "2"}),
        Connection("https://v", "n", "pem", {"a": "1"}),
    ],
)
def test_connections_are_told_apart(other: Connection) -> None:
    assert connection_key(other) != connection_key(CONNECTION)
    assert connection_key(Connection("https://v", "n", "pem", {"b": "2", "a": "1"})) == connection_key(CONNECTION)


async def test_a_keeper_is_shared_by_all_who_have_the_connection(desk: Desk) -> None:
    first = await desk.registry.keeper(CONNECTION)
    assert await desk.registry.keeper(Connection(*(CONNECTION.server, "n", "pem", {"b": "2", "a": "1"}))) is first
    assert await desk.registry.keeper(Connection("https://v")) is not first


@pytest.mark.parametrize(("asked", "sent"), [(0.0, 1), (0.9, 1), (-5.0, 1), (1.0, 1), (59.9, 59), (60.0, 60)])
async def test_an_increment_is_never_nothing(desk: Desk, asked: float, sent: int) -> None:
    keeper, lease = await held(desk)
    assert (await keeper.renew(lease, asked)).ttl == sent


async def test_a_lease_whose_revocation_is_queued_is_gone(desk: Desk) -> None:
    keeper, lease = await held(desk)
    (record,) = desk.world.book.leases.values()
    record.renewable, record.ends = False, desk.clock.now() + 0.5
    assert (await keeper.look_up(lease)).outcome is LeaseOutcome.GONE


async def test_in_its_last_second_a_lease_is_alive(desk: Desk) -> None:
    keeper, lease = await held(desk)
    desk.clock.advance(59.5)
    left = await keeper.look_up(lease)
    assert (left.outcome, left.ttl) == (LeaseOutcome.ALIVE, 0.0)


async def test_what_cannot_be_renewed_is_fixed(desk: Desk) -> None:
    keeper, lease = await held(desk)
    next(iter(desk.world.book.leases.values())).renewable = False
    assert (await keeper.renew(lease, 60)).outcome is LeaseOutcome.FIXED
    assert (await keeper.look_up(lease)).outcome is LeaseOutcome.ALIVE


async def test_an_owner_without_end_never_ends(desk: Desk) -> None:
    desk.world.kubernetes["app"] = Role(paths=("database/creds/app",), ttl=0)
    keeper, lease = await held(desk)
    assert (await keeper.look_up_owner(lease)).ttl == NEVER


async def test_an_owner_of_the_past_is_ownerless(desk: Desk) -> None:
    keeper, lease = await held(desk)
    desk.clock.advance(86_401)
    assert (await keeper.renew_owner(lease)).outcome is LeaseOutcome.OWNERLESS
    assert (await keeper.look_up(lease)).outcome is LeaseOutcome.GONE


async def test_an_owner_kept_from_memory_that_dies_is_ownerless(plain_desk: Desk) -> None:
    keeper, lease = await held(plain_desk)
    plain_desk.clock.advance(86_401)
    for answer in (await keeper.renew(lease, 60), await keeper.look_up(lease), await keeper.renew_owner(lease)):
        assert answer.outcome is LeaseOutcome.OWNERLESS
    await keeper.revoke_owner(lease)


async def test_an_owner_that_may_renew_nothing_says_what_helps(plain_desk: Desk) -> None:
    plain_desk.world.kubernetes["app"].default_policy = False
    keeper, lease = await held(plain_desk)
    with pytest.raises(Denied, match="default policy") as caught:
        await keeper.renew(lease, 60)
    assert_clean(caught.value)


async def test_nothing_known_is_nothing_to_revoke(desk: Desk) -> None:
    keeper, _ = await held(desk)
    before = len(desk.world.seen)
    await keeper.revoke_owner(Handle(NOBODY, NOBODY))
    assert len(desk.world.seen) == before


async def test_a_lease_without_owner_is_revoked_where_that_is_allowed(desk: Desk) -> None:
    desk.world.kubernetes["leasehold"].paths += ("sys/leases/revoke",)
    keeper, lease = await held(desk)
    await keeper.revoke_owner(Handle(lease.lease_id, NOBODY))
    assert not desk.world.book.users


async def test_a_role_that_is_gone_is_told(desk: Desk) -> None:
    keeper, lease = await held(desk)
    desk.world.gone_role = "app"
    with pytest.raises(Misconfigured, match="role behind the lease") as caught:
        await keeper.renew(lease, 60)
    assert_clean(caught.value)


@pytest.mark.parametrize("why", [Why.REFUSED, Why.SILENT, Why.LOST])
async def test_without_an_answer_there_is_no_verdict(desk: Desk, why: Why) -> None:
    keeper, lease = await held(desk)
    desk.world.fault = why
    for call in (keeper.renew(lease, 60), keeper.look_up(lease), keeper.renew_owner(lease), keeper.revoke_owner(lease)):
        with pytest.raises(Unavailable):
            await call


async def test_the_operators_own_login_is_named_when_it_fails(desk: Desk) -> None:
    desk.world.kubernetes["leasehold"].accounts = ("somebody",)
    keeper, lease = await held(desk)
    with pytest.raises(Denied, match="operator's own login at auth/kubernetes, role leasehold"):
        await keeper.renew(lease, 60)


async def test_closing_logs_the_operator_out(desk: Desk) -> None:
    keeper, lease = await held(desk)
    await keeper.look_up(lease)
    await desk.registry.close()
    assert desk.world.count("revoke-self") >= 1
    assert desk.world.book.leases  # no lease hangs on that login


async def test_a_keeper_heeds_the_namespace_rule(desk: Desk) -> None:
    keeper = await desk.registry.keeper(Connection(desk.world.address, "team"))
    with pytest.raises(Misconfigured, match="no namespaces"):
        await keeper.look_up(Handle(SecretBytes("l"), SecretBytes("a")))


def test_owner_tokens_are_bounded_and_buried() -> None:
    owners = OwnerTokens()
    token = SecretBytes("t")
    for index in range(MOST_OWNERS + 1):
        owners.keep(CONNECTION, Owner(SecretBytes(str(index)), 1.0, renewable=True, token=token))
    assert owners.get(CONNECTION, SecretBytes("0")) is None
    assert owners.get(CONNECTION, SecretBytes("1")) == token
    owners.bury(CONNECTION, SecretBytes("1"))
    buried = owners.get(CONNECTION, SecretBytes("1"))
    assert buried is not None
    assert not buried
    assert owners.get(Connection("https://other"), SecretBytes("2")) is None
