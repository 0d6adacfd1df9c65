"""What was heard becomes looks, and keys find their flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leasehold.cluster import gist
from leasehold.cluster.mirror import Mirror
from leasehold.cluster.records import KubeRecords
from leasehold.domain.errors import Missing, Unavailable
from leasehold.domain.facts import Key
from leasehold.handlers.desk import SETTLE, SETTLE_EVERY, Desk
from leasehold.providers.registry import Registry
from leasehold.schedule.agenda import Agenda, Lane
from leasehold.telemetry import correlation
from tests.worlds import objects
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld
from tests.worlds.operation import Operation, house

DB = Key(gist.EXTERNAL_SECRET, "shop", "db")
STORE = Key(gist.STORE, "shop", "store")
WEB = Key("Workload/Deployment", "shop", "web")


@pytest.fixture
def world() -> ClusterWorld:
    world = ClusterWorld(ManualClock())
    provider = {"fake": {"data": [{"key": "app", "value": "canary"}]}}
    world.put(body("SecretStore", "store", {"provider": provider}))
    world.put(external_secret())
    return world


def body(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "external-secrets.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def external_secret(name: str = "db", **more: Any) -> dict[str, Any]:
    data = [{"secretKey": "password", "remoteRef": {"key": "app"}}]
    return body(gist.EXTERNAL_SECRET, name, {"secretStoreRef": {"name": "store"}, "data": data, **more})


async def begun(world: ClusterWorld) -> Operation:
    """Return the operator after its first looks."""
    operation = await house(world, Registry(world.credentials(), clock=world.clock))
    await operation.quiet()
    return operation


def lanes(agenda: Agenda) -> dict[Lane, int]:
    return {lane: depth for lane, depth in agenda.depths().items() if depth}


# -------------------------------------------------------------------------------------------------------------- hearing


async def test_first_lists_are_routine_and_fill_the_mirror(world: ClusterWorld) -> None:
    operation = await house(world, Registry(world.credentials(), clock=world.clock))
    assert lanes(operation.agenda) == {Lane.REFRESH: 2}
    assert all(operation.mirror.heard(kind) for kind in gist.KINDS)


async def test_users_and_drift_have_lanes_of_their_own(world: ClusterWorld) -> None:
    operation = await begun(world)
    world.put(external_secret(refreshInterval="5m"))
    operation.hear()
    assert lanes(operation.agenda) == {Lane.USER: 1}
    await operation.quiet()
    world.remove("Secret", "shop", "db")
    operation.hear()
    assert lanes(operation.agenda) == {Lane.DRIFT: 1}


async def test_only_what_has_a_flow_is_looked_at(world: ClusterWorld) -> None:
    operation = await begun(world)
    spec = {"path": "database/creds/app", "provider": objects.vault()}
    world.put(body(gist.GENERATOR, "creds", spec))
    world.add_namespace("other", {"team": "a"})
    operation.hear()
    assert lanes(operation.agenda) == {}


async def test_what_has_changed_need_not_wait_for_its_backoff(world: ClusterWorld) -> None:
    operation = await begun(world)
    (uid,) = operation.mirror.uids(gist.EXTERNAL_SECRET)
    operation.house.memory.update(uid, held_until=world.clock.now() + 600)
    operation.desk.wake([DB], Lane.REFRESH)
    assert operation.house.memory.get(uid).held_until > 0  # routine does not lift it
    operation.desk.wake([DB], Lane.DRIFT)
    assert operation.house.memory.get(uid).held_until == 0


async def test_a_list_names_the_crd_that_is_missing(world: ClusterWorld) -> None:
    world.undefined.add("SecretStore")
    desk = Desk(Mirror(), Agenda(world.clock), world, world.clock)
    with pytest.raises(Missing, match=r"secretstores\.external-secrets\.io.*apply crds/"):
        await desk.hear_list(gist.STORE)


async def test_a_list_tells_where_a_watch_goes_on(world: ClusterWorld) -> None:
    desk = Desk(Mirror(), Agenda(world.clock), world, world.clock)
    assert await desk.hear_list(gist.EXTERNAL_SECRET) == str(world.storage.revision)


async def test_one_namespace_has_no_objects_of_the_cluster(world: ClusterWorld) -> None:
    world.put({**external_secret("far"), "metadata": {"name": "far", "namespace": "other"}})
    mirror = Mirror()
    desk = Desk(mirror, Agenda(world.clock), world, world.clock, namespace="shop")
    assert set(gist.KINDS) - set(desk.kinds) == {gist.CLUSTER_STORE, gist.NAMESPACE}
    for kind in desk.kinds:
        await desk.hear_list(kind)
    assert mirror.external_secrets("shop") == [DB]
    assert mirror.external_secrets("other") == []


@pytest.mark.parametrize(("namespace", "woken"), [("", {"shop", "other"}), ("shop", {"shop"})])
async def test_only_what_we_hear_of_can_be_an_orphan(world: ClusterWorld, namespace: str, woken: set[str]) -> None:
    earlier = KubeRecords(world, SYSTEM)
    for place in ("shop", "other"):
        await earlier.save(replace(objects.record(name=f"gone-{place}"), namespace=place))
    operation = await house(world, Registry(world.credentials(), clock=world.clock), namespace=namespace)
    due = [key for key in iter(operation.agenda.take_now, None) if key.name.startswith("gone")]
    assert {key.namespace for key in due} == woken  # in another's namespace it may live on


# -------------------------------------------------------------------------------------------------------------- looking


async def test_each_key_goes_to_its_flow_under_a_correlation_of_its_own(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await begun(world)
    went: list[tuple[str, Key, str]] = []

    def flow(name: str) -> Any:
        async def noted(_: object, key: Key) -> float:
            went.append((name, key, correlation.current()))
            return 7.0

        return noted

    for name in ("sync.sync", "check.check", "rollout.restart"):
        monkeypatch.setattr(f"leasehold.flows.{name}", flow(name))
    shared = Key(gist.CLUSTER_STORE, "", "shared")
    for key in (DB, STORE, shared, WEB):
        assert await operation.desk.look(key) == 7.0
    assert [(name, key) for name, key, _ in went] == [
        ("sync.sync", DB),
        ("check.check", STORE),
        ("check.check", shared),
        ("rollout.restart", WEB),
    ]
    assert len({identifier for *_, identifier in went}) == 4
    assert correlation.current() == ""


# ---------------------------------------------------------------------------------------------------------------- gaps


async def test_a_secret_that_vanished_unheard_is_written_again(world: ClusterWorld) -> None:
    operation = await begun(world)
    world.remove("Secret", "shop", "db")
    operation.lose()
    await operation.after(60)
    assert world.data("shop", "db") is None  # nobody knows
    await operation.relist()
    assert world.data("shop", "db") == {"password": "canary"}


async def test_an_object_that_vanished_unheard_is_let_go(world: ClusterWorld) -> None:
    operation = await begun(world)
    world.remove(gist.EXTERNAL_SECRET, "shop", "db")
    await operation.relist()
    assert operation.mirror.external_secret(DB) is None
    assert DB in operation.signals.forgotten


async def test_what_a_list_did_not_name_and_is_there_is_kept(world: ClusterWorld) -> None:
    operation = await begun(world)
    for kind in operation.desk.kinds:
        operation.desk.listed(kind)  # lists that break off before they name anything
    world.calls.clear()
    await operation.after(60)
    assert operation.mirror.external_secret(DB) is not None
    assert operation.mirror.target("shop", "db") is not None
    assert {call.verb for call in world.calls} == {"list"}
    world.calls.clear()
    await operation.after(60)
    assert world.calls == []  # asked once


async def test_doubts_outlive_an_outage(world: ClusterWorld) -> None:
    operation = await begun(world)
    world.remove("Secret", "shop", "db")
    operation.lose()
    operation.desk.listed(gist.SECRET)
    outage = world.fail(times=None, verb="list")
    await operation.after(120)
    outage.lift()
    await operation.after(120)
    assert world.data("shop", "db") == {"password": "canary"}


async def test_what_is_heard_while_it_is_asked_about_wins(world: ClusterWorld) -> None:
    operation = await begun(world)
    world.remove("Secret", "shop", "db", collect=False)
    operation.lose()
    operation.desk.listed(gist.SECRET)
    world.clock.advance(60)
    original = world.send

    async def send(request: Any) -> Any:
        answer = await original(request)
        if request.verb == "list":  # between the answer and our reading of it, it is made again
            metadata = {"name": "db", "namespace": "shop", "labels": {"reconcile.external-secrets.io/managed": "true"}}
            world.put({"kind": "Secret", "metadata": metadata})
            operation.hear()
        return answer

    world.send = send
    await operation.desk.look(SETTLE)
    assert operation.mirror.target("shop", "db") is not None


async def test_the_look_for_lost_deletions_is_routine(world: ClusterWorld) -> None:
    operation = await begun(world)
    world.calls.clear()
    assert operation.agenda.due(SETTLE) == world.clock.now() + SETTLE_EVERY
    await operation.after(10 * SETTLE_EVERY)
    assert world.calls == []


async def test_lost_and_doubled_events_do_no_harm(world: ClusterWorld) -> None:
    operation = await begun(world)
    for name in ("a", "b", "c"):
        world.put(external_secret(name))
        operation.hear(times=3)
    await operation.quiet()
    assert [write for write in world.writes if write[0] == "create" and write[1] == "secrets"][1:] == [
        ("create", "secrets", name) for name in ("db", "a", "b", "c")
    ]


async def test_an_error_of_the_sweep_is_the_runners(world: ClusterWorld) -> None:
    operation = await begun(world)
    operation.desk.listed(gist.SECRET)
    world.clock.advance(60)
    world.fail(verb="list")
    with pytest.raises(Unavailable):
        await operation.desk.look(SETTLE)
