"""Leases over time, on a backend with memory: outages, lost leases, owners of every kind, sources that come and go."""

import pytest

from leasehold.domain.errors import Unavailable
from leasehold.domain.reasons import EventReason
from tests.worlds.household import World
from tests.worlds.lessor import DENIED, DOWN
from tests.worlds.objects import LEASED

KEEPING = ("renew", "renew_owner", "look_up", "revoke_owner")
FOREVER = 10_000.0


def alone(world):
    """Assert that the credential in the Secret works and that it is the only one."""
    assert world.backend.living() == {world.password()}


def down(world, *methods):
    world.backend.failures.update(dict.fromkeys(methods, DOWN))


# ----------------------------------------------------------------------------------------------------------- keeping


async def test_a_lease_without_a_maximum_is_minted_once_and_the_secret_written_once():
    world = World()
    world.backend.max_ttl = FOREVER
    await world.run(600.0, looks=120)
    alone(world)
    assert world.backend.mints == 1
    assert [call for call in world.calls if "secret" in call] == ["get secret", "create secret"]


@pytest.mark.parametrize("error", [DOWN, DENIED])
async def test_a_lease_does_not_wait_for_a_status_that_cannot_be_written(error):
    world = World()
    world.backend.max_ttl = world.backend.period = FOREVER
    await world.run(5.0)
    world.broken["patch status"] = error
    await world.run(600.0, looks=250)
    assert world.backend.mints == 1
    alone(world)
    assert world.calls.count("patch status") < 50  # its own pace slows down all the same
    del world.broken["patch status"]
    await world.run(60.0)
    assert world.backend.mints == 1
    assert world.ready()[0] == "True"


async def test_a_restart_asks_the_backend_for_nothing():
    world = World()
    world.backend.max_ttl = FOREVER
    await world.run(45.0)
    before = len(world.calls)
    world.start()
    await world.look()
    assert world.calls[before:] == []


async def test_a_restart_that_took_longer_than_the_lease_looks_before_it_mints():
    world = World()
    world.backend.max_ttl = world.backend.period = FOREVER
    await world.run(5.0)
    (held,) = world.backend.leases.values()
    held.ends += 600.0  # renewed by an earlier process whose status write was lost
    world.clock.advance(100.0)
    world.start()
    await world.run(5.0)
    assert "look_up" in world.calls
    assert world.backend.mints == 1
    alone(world)


@pytest.mark.parametrize("outage", [6.0, 60.0])
async def test_an_outage_costs_nothing_that_still_lives(outage):
    world = World()
    world.backend.ttl, world.backend.max_ttl, world.backend.period = 200.0, FOREVER, 600.0
    await world.run(121.0)
    down(world, *KEEPING, "login_owner", "mint")
    looks = await world.run(outage)
    assert looks <= 2 + outage / 2
    world.backend.failures.clear()
    await world.run(60.0)
    alone(world)
    assert world.backend.mints == 1
    assert world.ready()[0] == "True"


async def test_a_lease_that_dies_in_an_outage_is_said_to_be_over_and_replaced_without_hands():
    world = World()
    world.backend.max_ttl = FOREVER
    await world.run(5.0)
    down(world, *KEEPING, "login_owner", "mint")
    looks = await world.run(600.0)
    assert looks < 90, "a dead backend is not hammered"
    assert world.ready()[0] == "False"
    assert world.states() == ["Ended"]
    assert world.password() is not None, "the last value stays"
    world.backend.failures.clear()
    world.house.memory.release_hold("uid-db")  # the store is ready again
    await world.run(5.0)
    alone(world)
    assert world.ready()[0] == "True"
    assert EventReason.LEASE_LOST in [reason for reason, _ in world.events]


async def test_a_lease_is_kept_while_its_successor_cannot_be_minted():
    world = World()
    world.backend.max_ttl = FOREVER
    await world.run(5.0)
    world.backend.failures["mint"] = DENIED
    world.generator_spec = {"path": "database/creds/other"}
    world.house.memory.release_hold("uid-db")
    await world.run(300.0)
    assert world.ready()[0] == "False"
    assert world.password() in world.backend.living()
    world.backend.failures.clear()
    world.house.memory.release_hold("uid-db")
    await world.run(30.0)
    assert world.password().startswith("database/creds/other")
    alone(world)


async def test_a_revocation_that_is_refused_costs_no_renewal():
    world = World()
    world.backend.failures["revoke_owner"] = DENIED
    looks = await world.run(300.0)
    assert world.password() in world.backend.living()
    assert looks < 150
    (record,) = world.records.values()
    assert len(record.sources["dataFrom[0]"].old) <= 1, "what has ended is not remembered for ever"


@pytest.mark.parametrize("gone", ["lease", "owner"])
async def test_a_lease_that_was_ended_behind_our_back_is_replaced(gone):
    world = World()
    await world.run(5.0)
    first = world.password()
    held = world.backend.leases[first]
    if gone == "lease":
        del world.backend.leases[first]
    else:
        del world.backend.owners[held.owner]
    await world.run(30.0)
    assert world.password() != first
    alone(world)
    assert not world.backend.owned(held.owner), "its owner is revoked too"
    assert EventReason.LEASE_LOST in [reason for reason, _ in world.events]


async def test_a_batch_owner_is_the_maximum_life():
    world = World()
    world.backend.batch, world.backend.max_ttl = True, FOREVER
    looks = await world.run(200.0)
    assert world.password() in world.backend.living()
    assert looks < 100
    assert len(world.backend.living()) <= 2
    assert world.backend.mints <= 9


async def test_a_maximum_that_is_raised_or_lowered_is_learned_again():
    world = World()
    await world.run(70.0)
    world.backend.max_ttl = 200.0
    await world.run(250.0)
    mints = world.backend.mints
    await world.run(400.0)
    assert world.backend.mints - mints <= 3
    world.backend.max_ttl = 30.0
    await world.run(200.0)
    alone(world)


# ----------------------------------------------------------------------------------------------------------- sources

STORED = [
    {"secretKey": "user", "remoteRef": {"key": "database/creds/app", "property": "username"}},
    {"secretKey": "password", "remoteRef": {"key": "database/creds/app", "property": "password"}},
]
STATIC = [{"secretKey": "x", "remoteRef": {"key": "static"}}]


async def test_properties_of_one_leased_path_come_from_one_mint():
    world = World(dataFrom=[], data=STORED)
    await world.run(10.0)
    assert world.backend.mints == 1
    alone(world)
    await world.run(100.0)
    assert world.password() in world.backend.living()


@pytest.mark.parametrize(
    "spec",
    [
        {"dataFrom": [], "data": STATIC},
        # the id of the entry stays and names something else
        {"dataFrom": [{"extract": {"key": "static"}}]},
    ],
)
async def test_a_source_that_is_taken_out_ends_with_grace_and_minds_nobody(spec):
    world = World()
    await world.run(5.0)
    first = world.password()
    world.store_answers_are_leased = False
    world.edit(**spec)
    await world.look()
    assert first in world.backend.living()
    looks = await world.run(30.0)
    assert world.backend.living() == set()
    assert world.records == {}
    assert looks < 10
    assert await world.run(300.0) < 5


async def test_a_generator_that_vanishes_costs_no_lease():
    world = World()
    world.backend.max_ttl = FOREVER
    await world.run(5.0)
    world.generator = lambda *names: None
    await world.run(100.0)
    alone(world)


@pytest.mark.parametrize(
    ("change", "mints"),
    [
        ({"controller": "default"}, 1),
        ({"provider": {"server": "http://vault:8200", "caBundle": "eA=="}}, 1),
        ({"provider": {"server": "http://other:8200"}}, 2),
        ({"path": "database/creds/other"}, 2),
        ({"parameters": {"ttl": "1h"}}, 2),
    ],
)
async def test_only_another_source_is_another_credential(change, mints):
    world = World()
    world.generator_spec = {"provider": {"server": "http://vault:8200"}}
    world.backend.max_ttl = FOREVER
    await world.run(5.0)
    world.generator_spec = {**world.generator_spec, **change}
    await world.run(30.0)
    assert world.backend.mints == mints
    alone(world)


async def test_answers_without_lease_are_asked_for_again_at_a_refresh_and_not_for_a_repair():
    world = World(refreshInterval="60s")
    world.backend.leaseless = True
    await world.run(10.0)
    first = world.password()
    del world.secrets["shop", "db"]
    await world.run(10.0)
    assert world.password() == first
    await world.run(60.0)
    assert world.password() != first
    assert world.backend.mints == 2
    assert world.states() == []


# ------------------------------------------------------------------------------------------------------------ telling


async def test_no_event_condition_or_status_names_a_lease():
    world = World()
    down(world, "renew")
    await world.run(100.0)
    world.backend.failures["mint"] = Unavailable("x")
    await world.run(100.0)
    told = repr(world.object.status) + repr(world.events)
    assert "accessor-" not in told
    assert not any(lease_id in told for lease_id in world.backend.leases)


async def test_values_of_the_same_object_are_written_once_per_credential():
    world = World(dataFrom=LEASED, refreshInterval="10s")
    await world.run(120.0)
    writes = [call for call in world.calls if call in ("create secret", "replace secret")]
    assert len(writes) == world.backend.mints
