"""Lists: the contract, and lists that break off."""

import pytest

from leasehold.cluster import gist, listing
from leasehold.domain.errors import Conflict, Missing, Unavailable
from leasehold.domain.facts import Key
from tests.contracts.cluster_reads import ListingContract
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import ClusterWorld, Fault


class TestListingInMemory(ListingContract):
    """The contract, on the cluster in memory."""


def crowded(count: int) -> ClusterWorld:
    """Return a cluster with so many ExternalSecrets."""
    world = ClusterWorld(ManualClock())
    for number in range(count):
        metadata = {"name": f"es-{number}", "namespace": f"ns-{number % 3}"}
        world.put({"kind": "ExternalSecret", "metadata": metadata, "spec": {}})
    return world


async def heard(world: ClusterWorld, kind: str = gist.EXTERNAL_SECRET, namespace: str = "") -> list[str]:
    return [body["metadata"]["name"] async for body in listing.everything(world, kind, namespace)]


async def test_all_namespaces_or_one() -> None:
    world = crowded(7)
    assert len(await heard(world)) == 7
    assert sorted(await heard(world, namespace="ns-0")) == ["es-0", "es-3", "es-6"]


async def test_chunks_are_asked_for_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CHUNK", 3)
    world = crowded(7)
    assert len(await heard(world)) == 7
    assert world.count("list", "externalsecrets") == 3
    assert {call.params["limit"] for call in world.calls} == {"3"}


async def test_a_list_that_is_read_too_slowly_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CHUNK", 3)
    world = crowded(7)
    world.inject(Fault("list", status=410, reason="Expired", skip=1))
    with pytest.raises(Conflict, match="not read in time"):
        await heard(world)
    assert len(await heard(world)) == 7


async def test_a_list_that_breaks_off_is_no_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CHUNK", 3)
    world = crowded(7)
    world.fail(1, "list", skip=2)
    with pytest.raises(Unavailable):
        await heard(world)


async def test_a_kind_that_is_not_installed() -> None:
    world = crowded(1)
    world.undefined.add("ExternalSecret")
    with pytest.raises(Missing):
        await heard(world)


async def test_items_may_be_null() -> None:
    world = crowded(0)
    send = world.send

    async def null(request: object) -> object:
        return {**await send(request), "items": None}

    world.send = null
    assert await heard(world) == []
    assert await listing.one(world, Key(gist.EXTERNAL_SECRET, "shop", "db")) is None


def test_everything_that_is_mirrored_can_be_listed() -> None:
    assert set(listing.RESOURCES) == set(gist.KINDS)
