import pytest

from leasehold.domain.reasons import EventReason
from leasehold.flows import release
from tests.worlds.household import KEY, World
from tests.worlds.lessor import DENIED, DOWN


async def leasing(**lease):
    """Return a world whose object has published a credential."""
    world = World(lease=lease) if lease else World()
    await world.run(5.0)
    return world


async def test_a_deleted_object_takes_its_credential_along():
    world = await leasing()
    world.object = None
    await world.run(1.0)
    assert (world.backend.living(), world.backend.owners, world.records) == (set(), {}, {})


async def test_old_leases_and_intents_go_too():
    world = await leasing()
    await world.run(46.0)
    assert len(world.backend.living()) == 2
    world.object = None
    await world.run(1.0)
    assert (world.backend.living(), world.records) == (set(), {})


@pytest.mark.parametrize("policy", ["Expire", "Keep"])
async def test_what_is_to_expire_is_only_forgotten(policy):
    world = await leasing(onDelete=policy)
    world.object = None
    await world.run(1.0)
    assert (len(world.backend.living()), world.records) == (1, {})


async def test_a_backend_that_is_down_is_asked_again():
    world = await leasing()
    world.backend.failures["revoke_owner"] = DOWN
    world.object = None
    await world.run(12.0, looks=5)
    assert len(world.records) == 1
    world.backend.failures.clear()
    await world.run(10.0)
    assert (world.backend.living(), world.records) == (set(), {})


async def test_past_the_deadline_the_lease_is_given_up_loudly():
    world = await leasing()
    world.backend.failures["revoke_owner"] = DENIED
    world.object = None
    await world.run(900.0)
    assert world.records == {}
    assert [reason for reason, _ in world.events].count(EventReason.LEASE_ORPHANED) == 1


async def test_an_object_that_is_deleted_and_created_at_once_leaves_nothing_behind():
    world = await leasing()
    first = world.password()
    world.put(uid="uid of the second")
    await world.run(5.0)
    assert first not in world.backend.living()
    assert world.backend.living() == {world.password()}
    assert list(world.records) == ["uid of the second"]


async def test_what_was_left_while_the_operator_was_down_is_found_at_its_start():
    world = await leasing()
    world.put(uid="uid of the second")
    world.start()
    woken = []
    house = world.house
    object.__setattr__(house, "wake", lambda key, seconds: woken.append(key))
    release.orphans(house, {"uid of the second"})
    assert woken == [KEY]
    await world.run(5.0)
    assert list(world.records) == ["uid of the second"]
    assert world.backend.living() == {world.password()}
