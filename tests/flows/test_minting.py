"""A process may end at any call: none of it costs a login, leaves a stray, or mints more than it must."""

import asyncio

import pytest

from leasehold.domain.errors import Conflict, Denied, Misconfigured, Missing, Unavailable
from leasehold.domain.reasons import EventReason
from leasehold.flows import minting
from tests.worlds.household import World
from tests.worlds.lessor import DENIED, DOWN

LIFE = 150.0
"""Seconds of a story: first mint, renewals, two rotations, with the old leases retired."""


class Watcher:
    """Looks at a world after each second and each pass."""

    def __init__(self, world):
        self.world, self.dead, self.most, self.strays = world, [], 0, set()

    def __call__(self):
        world = self.world
        password = world.password()
        if password is not None and not world.backend.lives(password):
            self.dead.append((world.clock.now(), password))
        self.most = max(self.most, len(world.backend.living()))
        self.strays |= world.strays()


async def test_the_story_without_a_crash():
    world = World()
    watcher = Watcher(world)
    looks = await world.run(LIFE, watch=watcher)
    assert (watcher.dead, watcher.strays, watcher.most) == ([], set(), 2)
    assert world.backend.mints == 3
    assert world.password() in world.backend.living()
    assert world.states()[0] == "Active"
    assert looks < 60


async def _calls_of_the_story():
    world = World()
    await world.run(LIFE)
    return world.calls


CALLS = asyncio.run(_calls_of_the_story())


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(len(CALLS)), ids=lambda number: f"{number}-{CALLS[number].replace(' ', '-')}")
async def test_a_crash_at_any_call(number, moment):
    world = World()
    world.crash_at = (number, moment)
    watcher = Watcher(world)
    await world.run(LIFE + 20, watch=watcher)
    assert not watcher.dead, "a login failed"
    assert not watcher.strays, "a lease that nobody knows of"
    assert watcher.most <= 2, "more than the credential in use and its successor"
    assert world.backend.mints <= 4 + 1, "more than four planned ones and the one that was cut off"
    await world.run(30.0)
    assert world.password() in world.backend.living()
    world.object = None
    await world.run(30.0)
    assert (world.backend.living(), world.records) == (set(), {}), "something is left of the deleted object"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(12))
async def test_a_crash_at_any_call_of_a_deletion(number, moment):
    world = World()
    await world.run(50.0)
    world.object = None
    world.crash_at = (len(world.calls) + number, moment)
    await world.run(60.0)
    assert (world.backend.living(), world.records) == (set(), {})


# ------------------------------------------------------------------------------------------------------- in doubt


@pytest.mark.parametrize("error", [Denied("x"), Missing("x"), Misconfigured("x")])
async def test_where_nothing_was_minted_nothing_is_left(error):
    world = World()
    world.backend.failures["mint"] = error
    await world.run(1.0)
    assert (world.records, world.backend.owners) == ({}, {})
    assert world.ready()[0] == "False"


async def test_a_mint_without_an_answer_is_revoked_before_another_one():
    world = World()
    world.backend.failures["mint unanswered"] = Unavailable("no answer")
    await world.look()
    assert len(world.backend.living()) == 1
    assert not world.strays()
    del world.backend.failures["mint unanswered"]
    await world.run(5.0)
    assert world.backend.living() == {world.password()}
    assert world.backend.mints == 2


async def test_a_mint_that_stays_without_an_answer_leaves_one_lease_at_most():
    world = World()
    world.backend.failures["mint unanswered"] = Unavailable("no answer")
    watcher = Watcher(world)
    looks = await world.run(3_600.0, watch=watcher)
    assert (watcher.most, watcher.strays) == (1, set())
    assert looks < 60


async def test_an_intent_that_nobody_may_revoke_blocks_its_source_not_for_ever():
    world = World()
    world.backend.failures["mint unanswered"] = Unavailable("no answer")
    world.backend.failures["revoke_owner"] = DENIED
    await world.look()
    del world.backend.failures["mint unanswered"]
    await world.run(10.0)
    assert world.password() in world.backend.living()
    assert not world.strays()
    await world.run(120.0)  # the stray has ended by itself, and is forgotten
    (record,) = world.records.values()
    assert all(old.lease.lease_id for old in record.sources["dataFrom[0]"].old)


async def test_an_intent_that_cannot_be_revoked_for_the_moment_stays():
    world = World()
    world.backend.failures["mint unanswered"] = world.backend.failures["revoke_owner"] = DOWN
    looks = await world.run(600.0)
    assert looks < 60
    assert world.backend.mints == 1
    assert not world.strays()


async def test_a_login_whose_intent_cannot_be_written_is_revoked():
    world = World()
    world.broken["save"] = Unavailable("no API server")
    await world.look()
    assert (world.backend.mints, world.backend.owners) == (0, {})


async def test_a_lease_that_cannot_be_recorded_is_found_by_its_intent():
    world = World()
    world.crash_at = (world_call("save", 2), "before")
    await world.run(10.0)
    assert world.backend.living() == {world.password()}
    assert world.backend.mints == 2


def world_call(name, nth):
    """Return the number of the nth call of that name in the story."""
    return [number for number, call in enumerate(CALLS) if call == name][nth - 1]


# --------------------------------------------------------------------------------------------------------- not in vain


async def test_nothing_is_minted_for_a_template_that_cannot_be_rendered():
    world = World(target={"template": {"data": {"k": "{{ .password | upper }}"}}})
    await world.run(600.0)
    assert world.backend.mints == 0


async def test_a_failed_publication_mints_once_and_keeps_what_is_in_use():
    world = World()
    await world.run(38.0)
    first = world.password()
    world.broken["replace secret"] = DENIED
    await world.run(18.0)  # the rotation is due, and its successor cannot be written
    assert (world.backend.mints, world.password()) == (2, first)
    assert first in world.backend.living()
    assert world.states() == ["Issued", "Active"]
    assert world.ready()[0] == "False"
    del world.broken["replace secret"]
    world.house.memory.release_hold("uid-db")
    await world.run(20.0)
    assert world.backend.mints == 2
    assert world.backend.living() == {world.password()}


@pytest.mark.parametrize("change", [Conflict("moved"), Unavailable("down")])
async def test_a_retry_uses_the_lease_that_was_minted(change):
    world = World()
    world.broken["create secret"] = change
    await world.run(10.0)
    del world.broken["create secret"]
    await world.run(30.0)
    assert world.backend.mints == 1
    assert world.password() in world.backend.living()


async def test_a_mint_is_told():
    world = World()
    await world.run(60.0)
    reasons = [reason for reason, _ in world.events]
    assert reasons[:2] == [EventReason.LEASE_MINTED, EventReason.CREATED]
    assert EventReason.LEASE_ROTATED in reasons
    assert EventReason.LEASE_RETIRED in reasons
    assert not any("accessor" in message for _, message in world.events)


# -------------------------------------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits_for_the_mint_and_is_cancelled_then(fails):
    going, done = asyncio.Event(), []

    async def work():
        await going.wait()
        done.append(True)
        if fails:
            raise DOWN

    caller = asyncio.ensure_future(minting.uncancelled(work()))
    await asyncio.sleep(0)
    for _ in range(2):
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == [True]


async def test_without_a_cancellation_result_and_error_pass():
    async def work(error):
        if error:
            raise error
        return 7

    assert await minting.uncancelled(work(None)) == 7
    with pytest.raises(Unavailable):
        await minting.uncancelled(work(DOWN))
