"""Passes over values that are not leased: what is read and written, and that nothing is done twice or for ever."""

import copy
from dataclasses import replace

import pytest

from leasehold.domain import desired
from leasehold.domain.errors import Conflict, Denied, Missing, Unavailable
from leasehold.domain.values import SecretBytes
from tests.worlds.household import World
from tests.worlds.lessor import DENIED, DOWN

STATIC = {"dataFrom": [], "data": [{"secretKey": "password", "remoteRef": {"key": "static"}}]}
MAP = {"dataFrom": [{"extract": {"key": "map"}}]}
WRITES = {"create secret", "replace secret", "delete secret", "patch status", "save", "delete record"}


class Remote:
    """What the store holds; a remote secret that is None is gone."""

    def __init__(self, world, **secrets):
        self.secrets, self.reads = {"static": "first", **secrets}, 0
        world.store_answers_are_leased = False
        world.open = self.open

    async def open(self, ref, spec, identity):
        return self

    async def read(self, remotes):
        self.reads += 1
        return {remote: self._document(remote) for remote in remotes}

    def _document(self, remote):
        value = self.secrets.get(remote.path)
        if isinstance(value, Exception):
            return value
        return Missing("it is gone", path=remote.path) if value is None else Paper(value)


class Paper:
    """A document: a text, or members."""

    def __init__(self, value):
        self._value = value

    def value(self, property_path):
        return SecretBytes(self._value)

    def entries(self, property_path):
        return {key: SecretBytes(text) for key, text in self._value.items()}


def household(spec=STATIC, **secrets):
    world = World(**copy.deepcopy(spec))
    return world, Remote(world, **secrets)


def edit_by_hand(world, **changes):
    """Change the live Secret as kubectl does."""
    live = world.secrets["shop", "db"]
    metadata = {**live.metadata, "resourceVersion": str(next(world.versions)), **changes.pop("metadata", {})}
    world.secrets["shop", "db"] = replace(live, metadata=metadata, **changes)


async def test_one_read_one_write_one_status():
    world, remote = household()
    await world.run(10.0, looks=3)
    assert (remote.reads, world.calls) == (1, ["create secret", "patch status"])
    assert world.ready() == ("True", "secret synced")


async def test_a_refresh_that_finds_the_same_writes_nothing_before_the_freshness_is_over():
    world, remote = household({**STATIC, "refreshInterval": "60s"})
    await world.run(10.0)
    before = len(world.calls)
    await world.run(240.0)
    assert (remote.reads, world.calls[before:]) == (5, [])
    await world.run(120.0)
    assert world.calls[before:] == ["patch status"]


async def test_a_restart_of_a_fresh_object_asks_for_nothing():
    world, remote = household()
    await world.run(10.0)
    before = len(world.calls)
    world.start()
    assert await world.look() is not None
    assert (remote.reads, world.calls[before:]) == (1, [])


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"password": SecretBytes("tampered")}},
        {"data": {"password": SecretBytes("first"), "more": SecretBytes("x")}},
        {"metadata": {"labels": {}}},
        {"metadata": {"annotations": {desired.ANNOTATION_HASH: "x"}}},
    ],
)
async def test_an_edit_by_hand_is_repaired_and_the_status_left_alone(change):
    world, _ = household()
    await world.run(10.0)
    good = world.secrets["shop", "db"]
    edit_by_hand(world, **change)
    before = len(world.calls)
    await world.run(10.0, looks=4)
    live = world.secrets["shop", "db"]
    assert (live.data, live.metadata["labels"]) == (good.data, good.metadata["labels"])
    assert [call for call in world.calls[before:] if call in WRITES - {"create secret"}] == ["replace secret"]
    assert await world.run(100.0) == 1


async def test_an_edit_that_changes_nothing_costs_one_look():
    world, remote = household()
    await world.run(10.0)
    edit_by_hand(world)
    before = len(world.calls)
    await world.run(100.0, looks=3)
    assert (remote.reads, world.calls[before:]) == (1, ["get secret"])


async def test_a_deleted_secret_is_made_again():
    world, _ = household()
    await world.run(10.0)
    world.secrets.clear()
    await world.run(10.0, looks=3)
    assert world.password() == "first"


@pytest.mark.parametrize("policy", ["Owner", "Orphan", "Merge", "CreateOrMerge", "None"])
@pytest.mark.parametrize("deletion", ["Retain", "Delete", "Merge"])
@pytest.mark.parametrize(
    "value", ["first", None, Unavailable("down"), Denied("no")], ids=["there", "gone", "down", "no"]
)
@pytest.mark.parametrize("before", ["nothing", "synced", "foreign", "removed"])
async def test_no_state_asks_for_one_look_after_the_other(policy, deletion, value, before):
    spec = {**STATIC, "target": {"creationPolicy": policy, "deletionPolicy": deletion}, "refreshInterval": "600s"}
    world, remote = household(spec)
    if before in ("synced", "removed"):
        await world.run(5.0, looks=4)
    if before == "removed":
        world.secrets.clear()
    if before == "foreign":
        other, _ = household()
        await other.run(1.0)
        world.secrets.update(other.secrets)
        edit_by_hand(world, metadata={"labels": {}, "ownerReferences": []})
    remote.secrets["static"] = value
    assert await world.run(3_000.0) <= 30


@pytest.mark.parametrize(
    ("deletion", "message", "there"),
    [
        ("Retain", "secret retained due to DeletionPolicy=Retain", True),
        ("Delete", "secret deleted due to DeletionPolicy=Delete", False),
        ("Merge", "secret synced", True),
    ],
)
@pytest.mark.parametrize("synced", [False, True])
async def test_what_an_empty_result_does(deletion, message, there, synced):
    world, remote = household({**MAP, "target": {"deletionPolicy": deletion}}, map={"password": "x"} if synced else {})
    await world.run(1.0)
    remote.secrets["map"] = {}
    world.edit(refreshInterval="2h")
    await world.run(3_000.0, looks=4)
    assert world.ready() == ("True", message)
    assert (("shop", "db") in world.secrets) is (there if synced or deletion == "Merge" else False)


async def test_the_secret_of_another_is_never_deleted():
    world, remote = household({**MAP, "target": {"deletionPolicy": "Delete"}}, map={"password": "x"})
    await world.run(1.0)
    theirs = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "other", "uid": "u"}
    edit_by_hand(world, metadata={"ownerReferences": [{**theirs, "controller": True}]})
    remote.secrets["map"] = {}
    world.edit(refreshInterval="2h")
    await world.run(10.0)
    assert ("shop", "db") in world.secrets
    assert world.ready()[1].startswith("target is owned by another ExternalSecret: ")


@pytest.mark.parametrize(
    ("call", "error", "start"),
    [
        ("create secret", DENIED, "could not update secret: it is refused"),
        ("create secret", DOWN, "could not update secret: it does not answer"),
    ],
)
async def test_a_failure_is_told_and_recovers_without_hands(call, error, start):
    world, _ = household()
    world.broken[call] = error
    await world.run(30.0, looks=8)
    assert world.ready()[0] == "False"
    assert world.ready()[1].startswith(start)
    del world.broken[call]
    await world.run(600.0, looks=8)
    assert world.ready() == ("True", "secret synced")


async def test_a_status_that_cannot_be_written_is_tried_again():
    world, _ = household()
    world.broken["patch status"] = DOWN
    await world.run(60.0, looks=12)
    assert world.password() == "first"
    del world.broken["patch status"]
    await world.run(120.0, looks=4)
    assert world.ready() == ("True", "secret synced")
    assert world.calls.count("create secret") == 1


async def test_a_write_that_somebody_overtook_is_made_again():
    world, _ = household()
    await world.run(5.0)
    world.secrets.clear()
    world.broken["create secret"] = Conflict("it exists")
    await world.run(1.0, looks=20)
    del world.broken["create secret"]
    await world.run(10.0, looks=10)
    assert world.password() == "first"


async def test_a_refresh_time_in_the_future_is_mended():
    world, remote = household()
    await world.run(5.0)
    world.clock.advance(-3_600.0)
    world.start()
    await world.run(600.0, looks=3)
    assert remote.reads == 2
