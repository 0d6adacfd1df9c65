"""The fingerprint key: the contract, and starts that go wrong."""

import pytest

from leasehold.cluster import keys
from leasehold.domain.errors import Misconfigured, Unavailable
from tests.contracts.cluster_writes import KeysContract
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld


class TestKeysInMemory(KeysContract):
    """The contract, on the cluster in memory."""


async def test_a_start_whose_answer_was_lost_finds_its_key() -> None:
    world = ClusterWorld(ManualClock())
    world.lose_answer("create", "secrets")
    with pytest.raises(Unavailable):
        await keys.fingerprint_key(world, SYSTEM)
    made = await keys.fingerprint_key(world, SYSTEM)
    assert made.size == keys.LENGTH
    assert world.count("create") == 1


async def test_later_starts_only_read() -> None:
    world = ClusterWorld(ManualClock())
    first = await keys.fingerprint_key(world, SYSTEM)
    world.calls.clear()
    assert await keys.fingerprint_key(world, SYSTEM) == first
    assert [(call.verb, call.label) for call in world.calls] == [("get", "secrets")]


async def test_who_loses_every_race_says_so() -> None:
    world = ClusterWorld(ManualClock())
    world.conflict("create", "secrets", times=None)
    with pytest.raises(Misconfigured, match="cannot be made"):
        await keys.fingerprint_key(world, SYSTEM)
