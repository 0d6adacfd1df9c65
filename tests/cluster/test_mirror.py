"""Who is woken by what is heard, and what is known afterwards."""

import copy
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.api.parse import Invalid
from leasehold.cluster.gist import CLUSTER_STORE, EXTERNAL_SECRET, GENERATOR, KINDS, NAMESPACE, SECRET, STORE
from leasehold.cluster.lists import QUIET
from leasehold.cluster.mirror import Mirror
from leasehold.domain import desired
from leasehold.domain.facts import Key, Target
from tests.worlds import objects

DB, WEB = Key(EXTERNAL_SECRET, "shop", "db"), Key(EXTERNAL_SECRET, "shop", "web")
MAIN, SHARED, CREDS = Key(STORE, "shop", "main"), Key(CLUSTER_STORE, "", "shared"), Key(GENERATOR, "shop", "creds")
SECRET_DB = Key(SECRET, "shop", "db")


class Ear:
    """A mirror, and the objects that it hears of."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.bodies: dict[Key, dict[str, Any]] = {}
        self.version = 10
        self.now = 0.0

    def hear(self, key: Key, event: str | None = "ADDED") -> set[Key]:
        """Say something of an object."""
        return self.mirror.put(key.kind, event, copy.deepcopy(self.bodies[key]), now=self.now)

    def put(self, key: Key, event: str | None = "ADDED", *, spec: Any = None, **metadata: Any) -> set[Key]:
        """Say an object with a new version, generation 1 unless told otherwise."""
        self.version += 1
        told = {"name": key.name, "uid": f"uid-{key.name}", "resourceVersion": str(self.version), "generation": 1}
        if key.namespace:
            told["namespace"] = key.namespace
        status = self.bodies.get(key, {}).get("status", {})
        self.bodies[key] = {"metadata": {**told, **metadata}, "spec": spec or {}, "status": status}
        return self.hear(key, event)

    def secret(self, key: Key = SECRET_DB, event: str | None = "ADDED", **metadata: Any) -> set[Key]:
        """Say a Secret with the managed label."""
        return self.put(key, event, **{"labels": {desired.LABEL_MANAGED: "true"}, **metadata})


def spec(store: str = "main", kind: str = STORE, **more: Any) -> dict[str, Any]:
    return {"secretStoreRef": {"name": store, "kind": kind}, "data": objects.DATA, **more}


STORE_SPEC = {"provider": {"fake": {"data": [{"key": "app/db", "value": "{}"}]}}}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
UNREADY = {"conditions": [{"type": "Ready", "status": "False"}]}


@pytest.fixture
def ear() -> Ear:
    return Ear()


# --------------------------------------------------------------------------------------------------- external secrets


def test_a_new_object_is_looked_at(ear: Ear) -> None:
    assert ear.put(DB, spec=spec()) == {DB}
    found = ear.mirror.external_secret(DB)
    assert found is not None
    assert found.spec.secret_store_ref is not None
    assert found.spec.secret_store_ref.name == "main"
    assert ear.mirror.external_secrets("shop") == [DB]
    assert ear.mirror.uid(DB) == "uid-db"
    assert ear.mirror.uids(EXTERNAL_SECRET) == {"uid-db"}


@pytest.mark.parametrize("event", ["ADDED", "MODIFIED", None])
def test_the_same_again_wakes_nobody(ear: Ear, event: str | None) -> None:
    ear.put(DB, spec=spec())
    assert ear.hear(DB, event) == set()


def test_a_change_of_the_status_alone_wakes_nobody(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.bodies[DB]["status"] = {"refreshTime": "2026-01-01T00:00:00Z", **READY}
    assert ear.put(DB, "MODIFIED", spec=spec()) == set()
    found = ear.mirror.external_secret(DB)
    assert found is not None
    assert found.status.refresh_time is not None  # known all the same


def test_what_a_user_changes_is_looked_at(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    assert ear.put(DB, "MODIFIED", spec=spec(refreshInterval="5m"), generation=2) == {DB}
    assert ear.put(DB, "MODIFIED", spec=spec(refreshInterval="5m"), generation=2, annotations={"a": "b"}) == {DB}


def test_another_object_of_the_same_name_is_looked_at(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    assert ear.put(DB, "ADDED", spec=spec(), uid="another") == {DB}
    assert ear.mirror.uid(DB) == "another"


def test_a_deletion_is_looked_at_once(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    assert ear.hear(DB, "DELETED") == {DB}
    assert ear.mirror.external_secret(DB) is None
    assert ear.mirror.external_secrets("shop") == []
    assert ear.mirror.uid(DB) == ""


def test_the_deletion_of_what_nobody_knew(ear: Ear) -> None:
    ear.bodies[DB] = {"metadata": {"name": "db", "namespace": "shop"}}
    assert ear.hear(DB, "DELETED") == {DB}  # an earlier life may have left leases
    for key in (MAIN, SHARED, CREDS, SECRET_DB, Key(NAMESPACE, "", "shop")):
        assert ear.mirror.drop(key) == set()


def test_what_does_not_parse_is_looked_at_and_says_so(ear: Ear) -> None:
    assert ear.put(DB, spec={"secretStoreRef": {"name": "main"}, "data": [{"secretKey": 7}]}) == {DB}
    with pytest.raises(Invalid):
        ear.mirror.external_secret(DB)


# ---------------------------------------------------------------------------------------------- stores and generators


def users(ear: Ear) -> None:
    """Two users of one store, one of each other thing."""
    ear.put(DB, spec=spec())
    ear.put(WEB, spec=spec())
    ear.put(Key(EXTERNAL_SECRET, "shop", "all"), spec=spec("shared", CLUSTER_STORE))
    ear.put(Key(EXTERNAL_SECRET, "other", "far"), spec=spec("shared", CLUSTER_STORE))
    leased = {"secretStoreRef": {"name": "none"}, "dataFrom": objects.LEASED}
    ear.put(Key(EXTERNAL_SECRET, "shop", "leased"), spec=leased)


def names(keys: set[Key]) -> set[str]:
    return {f"{key.namespace}/{key.name}" for key in keys}


def test_a_store_wakes_its_users(ear: Ear) -> None:
    users(ear)
    assert names(ear.put(MAIN, spec=STORE_SPEC)) == {"shop/main", "shop/db", "shop/web"}
    assert names(ear.put(SHARED, spec=STORE_SPEC)) == {"/shared", "shop/all", "other/far"}
    assert names(ear.put(CREDS)) == {"shop/creds", "shop/leased"}
    assert names(ear.put(Key(STORE, "other", "main"), spec=STORE_SPEC)) == {"other/main"}
    assert ear.put(MAIN, "MODIFIED", spec=STORE_SPEC) == set()
    assert names(ear.hear(MAIN, "DELETED")) == {"shop/main", "shop/db", "shop/web"}


def test_a_store_that_flips_wakes_its_users(ear: Ear) -> None:
    users(ear)
    ear.put(MAIN, spec=STORE_SPEC)
    ear.bodies[MAIN]["status"] = READY
    # not the store itself: its own report, heard before we know that it was written, must not have it checked again
    assert names(ear.put(MAIN, "MODIFIED", spec=STORE_SPEC)) == {"shop/db", "shop/web"}
    ear.bodies[MAIN]["status"] = {"conditions": [{**READY["conditions"][0], "message": "still"}]}
    assert ear.put(MAIN, "MODIFIED", spec=STORE_SPEC) == set()
    ear.bodies[MAIN]["status"] = UNREADY
    assert names(ear.put(MAIN, "MODIFIED", spec=STORE_SPEC, generation=2)) == {"shop/main", "shop/db", "shop/web"}


def test_a_store_whose_status_was_wiped_out_is_checked_again(ear: Ear) -> None:
    users(ear)
    ear.bodies[MAIN] = {"status": READY}
    ear.put(MAIN, spec=STORE_SPEC)
    ear.bodies[MAIN]["status"] = {}
    assert names(ear.put(MAIN, "MODIFIED", spec=STORE_SPEC)) == {"shop/main", "shop/db", "shop/web"}


def test_a_user_that_changes_its_store_is_a_user_of_the_new_one_only(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.put(DB, "MODIFIED", spec=spec("shared", CLUSTER_STORE), generation=2)
    assert names(ear.put(MAIN, spec=STORE_SPEC)) == {"shop/main"}
    assert names(ear.put(SHARED, spec=STORE_SPEC)) == {"/shared", "shop/db"}
    ear.hear(DB, "DELETED")
    assert names(ear.put(SHARED, "MODIFIED", spec=STORE_SPEC, generation=2)) == {"/shared"}


def test_stores_and_generators_are_found(ear: Ear) -> None:
    ear.put(MAIN, spec=STORE_SPEC)
    ear.put(SHARED, spec=STORE_SPEC)
    ear.put(CREDS, spec={"path": "database/creds/app", "provider": objects.vault()})
    assert ear.mirror.store(STORE, "shop", "main") is ear.mirror.store(STORE, "shop", "main")  # parsed once
    assert ear.mirror.store(STORE, "other", "main") is None
    assert ear.mirror.store(CLUSTER_STORE, "anywhere", "shared") is not None
    assert ear.mirror.generator(GENERATOR, "shop", "creds") is not None
    assert ear.mirror.generator("ClusterGenerator", "shop", "creds") is None
    before = ear.mirror.store(STORE, "shop", "main")
    ear.put(MAIN, "MODIFIED", spec={**STORE_SPEC, "controller": "other"}, generation=2)
    after = ear.mirror.store(STORE, "shop", "main")
    assert before is not None
    assert after is not None
    assert (before.spec.controller, after.spec.controller) == (None, "other")


def test_our_own_status_of_a_store_wakes_its_users_and_its_echo_nobody(ear: Ear) -> None:
    users(ear)
    ear.put(MAIN, spec=STORE_SPEC)
    assert names(ear.mirror.note_status(MAIN, READY)) == {"shop/db", "shop/web"}
    store = ear.mirror.store(STORE, "shop", "main")
    assert store is not None
    assert store.status.conditions[0].status == "True"
    ear.bodies[MAIN]["status"] = READY
    assert ear.put(MAIN, "MODIFIED", spec=STORE_SPEC) == set()
    assert ear.mirror.note_status(MAIN, READY) == set()
    assert names(ear.mirror.note_status(MAIN, UNREADY)) == {"shop/db", "shop/web"}


def test_our_own_status_of_an_external_secret(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    assert ear.mirror.note_status(DB, {"refreshTime": "2026-01-01T00:00:00Z"}) == set()
    found = ear.mirror.external_secret(DB)
    assert found is not None
    assert found.status.refresh_time is not None
    assert ear.mirror.note_status(Key(EXTERNAL_SECRET, "shop", "gone"), READY) == set()


def test_an_echo_that_our_own_status_write_has_overtaken_is_past(ear: Ear) -> None:
    users(ear)
    ear.put(MAIN, spec=STORE_SPEC)  # version 16
    ear.mirror.note_version(MAIN, "uid-main", "20")
    ear.mirror.note_status(MAIN, READY)
    ear.bodies[MAIN]["status"] = UNREADY  # what an earlier write of ours said
    assert ear.put(MAIN, "MODIFIED", spec=STORE_SPEC) == set()
    store = ear.mirror.store(STORE, "shop", "main")
    assert store is not None
    assert store.status.conditions[0].status == "True"
    ear.version = 19
    ear.bodies[MAIN]["status"] = READY
    assert ear.put(MAIN, "MODIFIED", spec=STORE_SPEC) == set()  # our echo
    # what a user changed before our write is told with its echo at the latest
    ear.mirror.note_version(MAIN, "uid-main", "30")
    ear.put(MAIN, "MODIFIED", spec={**STORE_SPEC, "controller": "x"}, generation=2)
    ear.version = 29
    assert "shop/db" in names(ear.put(MAIN, "MODIFIED", spec={**STORE_SPEC, "controller": "x"}, generation=2))


def test_a_version_is_of_one_object(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.mirror.note_version(DB, "another", "99")
    ear.mirror.note_version(WEB, "uid-web", "99")
    assert ear.put(DB, "MODIFIED", spec=spec(), generation=2) == {DB}
    ear.mirror.note_version(DB, "uid-db", "99")
    assert ear.put(DB, "ADDED", spec=spec(), uid="another") == {DB}


# -------------------------------------------------------------------------------------------------------------- targets


def target(version: str, **more: Any) -> Target:
    fields = {"uid": "uid-db", "resource_version": version, "managed": True, "data_hash": "", "created_by": ""}
    return Target(**{**fields, "controller": None, **more})


def test_a_secret_wakes_whoever_aims_at_it(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.put(WEB, spec=spec(target={"name": "db"}))
    assert ear.secret() == {DB, WEB}
    assert ear.secret(Key(SECRET, "other", "db")) == set()
    assert ear.hear(SECRET_DB, "DELETED") == {DB, WEB}
    assert ear.mirror.target("shop", "db") is None
    assert ear.hear(SECRET_DB, "DELETED") == set()


def test_the_echo_of_our_own_write_wakes_nobody(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.mirror.note_target("shop", "db", target("20"))
    ear.version = 19
    assert ear.secret() == set()
    assert ear.secret(event="MODIFIED") == {DB}  # version 21: somebody else's
    ear.mirror.note_target("shop", "db", None)
    assert ear.hear(SECRET_DB, "DELETED") == set()


def test_an_earlier_version_than_our_write_is_no_news(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.mirror.note_target("shop", "db", target("20", data_hash="ours"))
    ear.version = 14
    assert ear.secret() == set()
    known = ear.mirror.target("shop", "db")
    assert known is not None
    assert (known.resource_version, known.data_hash) == ("20", "ours")
    assert ear.secret(uid="another") == {DB}  # an object of its own is news, whatever its version


def test_the_end_of_an_earlier_secret_is_not_that_of_ours(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.secret(uid="old")
    ear.mirror.note_target("shop", "db", target("20", uid="new"))  # its end was told by a 404, not by the watch yet
    ear.bodies[SECRET_DB]["metadata"]["resourceVersion"] = "15"
    assert ear.hear(SECRET_DB, "DELETED") == set()
    assert ear.mirror.target("shop", "db") is not None
    ear.bodies[SECRET_DB]["metadata"]["resourceVersion"] = "21"
    assert ear.hear(SECRET_DB, "DELETED") == {DB}


def test_who_made_a_secret_is_indexed(ear: Ear) -> None:
    label = {desired.LABEL_MANAGED: "true", desired.LABEL_CREATED_BY: "c1"}
    for name in ("b", "a"):
        ear.secret(Key(SECRET, "shop", name), labels=label)
    ear.secret(Key(SECRET, "other", "c"), labels=label)
    assert [name for name, _ in ear.mirror.targets_created_by("shop", "c1")] == ["a", "b"]
    ear.secret(Key(SECRET, "shop", "a"), "MODIFIED", labels={**label, desired.LABEL_CREATED_BY: "c2"})
    assert [name for name, _ in ear.mirror.targets_created_by("shop", "c1")] == ["b"]
    ear.hear(Key(SECRET, "shop", "b"), "DELETED")
    assert ear.mirror.targets_created_by("shop", "c1") == []


def test_a_target_that_is_renamed_moves_in_the_index(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.put(DB, "MODIFIED", spec=spec(target={"name": "new"}), generation=2)
    assert ear.secret() == set()
    assert ear.secret(Key(SECRET, "shop", "new")) == {DB}


def test_who_waits_for_a_target_is_woken_when_its_holder_goes(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.put(WEB, spec=spec(target={"name": "db"}))
    assert ear.hear(DB, "DELETED") == {DB, WEB}


# ----------------------------------------------------------------------------------------------------------- namespaces


def test_labels_of_a_namespace_wake_the_users_of_cluster_stores(ear: Ear) -> None:
    users(ear)
    shop = Key(NAMESPACE, "", "shop")
    assert names(ear.put(shop, labels={"team": "a"})) == {"shop/all"}
    assert ear.mirror.namespace_labels("shop") == {"team": "a"}
    assert ear.put(shop, "MODIFIED", labels={"team": "a"}) == set()
    assert names(ear.put(shop, "MODIFIED", labels={"team": "b"})) == {"shop/all"}
    assert ear.hear(shop, "DELETED") == set()
    assert ear.mirror.namespace_labels("shop") is None


# ---------------------------------------------------------------------------------------------------------------- lists


def test_a_kind_is_heard_when_its_first_list_is(ear: Ear) -> None:
    assert not any(ear.mirror.heard(kind) for kind in KINDS)
    ear.mirror.end_list(SECRET)
    assert [kind for kind in KINDS if ear.mirror.heard(kind)] == [SECRET]


def test_what_vanished_in_a_gap_is_asked_about(ear: Ear) -> None:
    places = [DB, WEB, MAIN, SECRET_DB, Key(NAMESPACE, "", "shop")]
    for key in places:
        ear.put(key, spec=spec())
    for kind in KINDS:
        ear.mirror.end_list(kind)
        ear.mirror.begin_list(kind, now=100.0)
    ear.now = 101.0
    ear.hear(WEB, None)
    left = ear.mirror.settle(now=101.0 + QUIET)
    assert set(left) == set(places) - {WEB}
    assert ear.mirror.drop(DB) == {DB}
    ear.mirror.confirm(MAIN)
    assert not ear.mirror.doubts(DB)
    assert set(ear.mirror.settle(now=200.0)) == {SECRET_DB, Key(NAMESPACE, "", "shop")}
    assert ear.mirror.external_secret(WEB) is not None


def test_what_is_heard_after_a_gap_wakes_as_if_it_had_been_heard(ear: Ear) -> None:
    ear.put(DB, spec=spec())
    ear.put(WEB, spec=spec())
    assert ear.hear(DB, None) == set()
    assert ear.put(WEB, None, spec=spec(refreshInterval="9m"), generation=2) == {WEB}


# ------------------------------------------------------------------------------------------- indexes against the truth

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["db", "web"]),
        st.sampled_from(["put", "delete"]),
        st.sampled_from(["main", "shared"]),
        st.sampled_from(["db", "x"]),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(events=EVENTS)
def test_indexes_never_drift(events: list[tuple[str, str, str, str]]) -> None:
    ear = Ear()
    truth: dict[str, tuple[str, str]] = {}
    for generation, (name, act, store, aim) in enumerate(events):
        key = Key(EXTERNAL_SECRET, "shop", name)
        if act == "put":
            ear.put(key, "MODIFIED", spec=spec(store, target={"name": aim}), generation=generation)
            truth[name] = (store, aim)
        elif name in truth:
            ear.hear(key, "DELETED")
            del truth[name]
    mirror = ear.mirror
    for store in ("main", "shared"):
        woken = {key.name for key in ear.put(Key(STORE, "shop", store)) if key.kind == EXTERNAL_SECRET}
        assert woken == {name for name, (used, _) in truth.items() if used == store}
    for aim in ("db", "x"):
        assert {key.name for key in ear.secret(Key(SECRET, "shop", aim))} == {
            n for n, (_, at) in truth.items() if at == aim
        }
    assert {key.name for key in mirror.external_secrets("shop")} == set(truth)
    if not truth:  # nothing is left behind where nothing is
        assert [mirror._users, mirror._aims, mirror._in_namespace] == [{}, {}, {}]


def test_an_object_at_rest_is_small(ear: Ear) -> None:
    ear.put(DB, spec=spec(), managedFields=[{"manager": "x" * 5000}])
    entry = ear.mirror._objects[DB]
    assert len(entry.body) < len(orjson.dumps(ear.bodies[DB])) - 5000
    assert len(entry.body) < 700
    assert not ear.mirror._parsed  # an ExternalSecret is parsed when it is looked at, and not kept
    ear.mirror.external_secret(DB)
    assert not ear.mirror._parsed


def test_thousands_at_rest_take_what_they_hold(ear: Ear) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(500):
            body = {"metadata": objects.meta(f"es-{number}"), "spec": spec()}
            ear.mirror.put(EXTERNAL_SECRET, "ADDED", body, now=0.0)
        after, _ = tracemalloc.get_traced_memory()
        held = sum(len(entry.body) for entry in ear.mirror._objects.values())
        assert after - before < held + 500 * 1500
        ear.mirror.note_status(Key(EXTERNAL_SECRET, "shop", "es-1"), READY)
        assert tracemalloc.get_traced_memory()[0] - after < 2000
    finally:
        tracemalloc.stop()
