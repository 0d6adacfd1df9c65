from dataclasses import replace

import pytest

from leasehold.domain import changes, desired
from leasehold.domain.changes import Owned, Taken
from leasehold.domain.desired import Shape
from leasehold.domain.errors import Misconfigured
from tests.worlds.objects import external_secret, live_secret, values

MANAGED, CREATED_BY, HASH = desired.LABEL_MANAGED, desired.LABEL_CREATED_BY, desired.ANNOTATION_HASH
SHAPE = Shape(data=values(a="1"), labels={"app": "x"}, annotations={"note": "y"})
POLICIES = ["Owner", "Orphan", "Merge", "CreateOrMerge"]


def wanting(policy="Owner", **target):
    return external_secret(target={"creationPolicy": policy, **target})


def owner(name="db", kind="ExternalSecret", group="external-secrets.io/v1", **more):
    return {"apiVersion": group, "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True, **more}


def written(secret, shape=SHAPE, **metadata):
    """Return the live Secret that our own write of the shape leaves."""
    wanted = changes.change(secret, shape, None).wanted
    return live_secret(
        wanted.data,
        type=wanted.type,
        immutable=bool(wanted.immutable),
        labels=dict(wanted.labels),
        annotations=dict(wanted.annotations),
        ownerReferences=[dict(ref) for ref in wanted.owner_references],
        finalizers=list(wanted.finalizers),
        **metadata,
    )


def fields(manager, operation="Update", **owned):
    """Return an entry of managedFields; owned: data, labels, annotations."""
    meta = {f"f:{part}": {f"f:{name}": {} for name in owned.get(part, ())} for part in ("labels", "annotations")}
    data = {".": {}, **{f"f:{name}": {} for name in owned.get("data", ())}}
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": data, "f:metadata": meta},
    }


# ------------------------------------------------------------------------------------------------------------- create


@pytest.mark.parametrize("policy", POLICIES)
def test_a_new_secret_carries_what_eso_writes(policy):
    change = changes.change(wanting(policy), SHAPE, None)
    wanted, owned = change.wanted, policy == "Owner"
    by = {CREATED_BY: desired.created_by("shop", "db")} if owned else {}
    assert change.needed
    assert (wanted.namespace, wanted.name, wanted.type, wanted.resource_version) == ("shop", "db", "Opaque", "")
    assert wanted.labels == {"app": "x", MANAGED: "true", **by}
    assert wanted.annotations == {"note": "y", HASH: desired.data_hash(SHAPE.data)}
    assert wanted.owner_references == ((desired.owner_reference(wanting()),) if owned else ())
    assert wanted.field_manager == "externalsecrets.external-secrets.io/db"
    assert wanted.immutable is None


def test_type_finalizers_and_immutability_are_taken_from_the_object():
    shape = replace(SHAPE, type="kubernetes.io/tls", finalizers=("a/b",))
    wanted = changes.change(wanting(immutable=True), shape, None).wanted
    assert (wanted.type, wanted.finalizers, wanted.immutable) == ("kubernetes.io/tls", ("a/b",), True)


# ---------------------------------------------------------------------------------------------------------- no change


@pytest.mark.parametrize("policy", POLICIES)
def test_what_we_wrote_needs_no_change(policy):
    assert not changes.change(wanting(policy), SHAPE, written(wanting(policy))).needed


@pytest.mark.parametrize(
    "edit",
    [
        {"labels": {}},
        {"labels": {MANAGED: "false"}},
        {"annotations": {}},
        {"ownerReferences": []},
        {"annotations": {HASH: "forged", "note": "y"}},
    ],
)
def test_an_edit_by_hand_needs_a_change(edit):
    secret = wanting()
    live = written(secret)
    assert changes.change(secret, SHAPE, replace(live, metadata={**live.metadata, **edit})).needed


def test_an_edit_of_the_data_needs_a_change_also_with_a_matching_hash():
    secret = wanting()
    live = written(secret, replace(SHAPE, data=values(a="2")))
    change = changes.change(secret, SHAPE, live)
    assert change.needed
    assert change.wanted.resource_version == "7"
    assert change.wanted.data == SHAPE.data


# --------------------------------------------------------------------------------------------------- what is not ours

FOREIGN = live_secret(
    values(a="0", other="2"), type="custom", labels={"their": "l"}, annotations={"their": "a"}, finalizers=["t/f"]
)


@pytest.mark.parametrize(
    ("policy", "data"),
    [
        ("Owner", values(a="1")),
        ("Orphan", values(a="1")),
        ("Merge", values(a="1", other="2")),
        ("CreateOrMerge", values(a="1", other="2")),
    ],
)
def test_foreign_data_stays_where_it_is_merged_and_goes_where_it_is_not(policy, data):
    wanted = changes.change(wanting(policy), SHAPE, FOREIGN).wanted
    assert wanted.data == data
    assert wanted.annotations[HASH] == desired.data_hash(data)  # of all data, foreign keys too
    assert (wanted.labels["their"], wanted.annotations["their"]) == ("l", "a")
    assert (wanted.type, wanted.finalizers) == ("custom", ("t/f",))


@pytest.mark.parametrize("operation", ["Update", "Apply"])
def test_keys_of_our_earlier_write_go(operation):
    manager = desired.field_manager("db")
    ours = fields(manager, operation, data=["a", "stale"], labels=["stale", MANAGED], annotations=["stale", HASH])
    live = live_secret(
        values(a="1", stale="1", other="2"),
        labels={"stale": "1", "their": "l", MANAGED: "true"},
        annotations={"stale": "1", "their": "a"},
        managedFields=[ours, fields("kubectl", data=["other"], labels=["their"])],
    )
    wanted = changes.change(wanting("Merge"), SHAPE, live).wanted
    assert wanted.data == values(a="1", other="2")
    assert wanted.labels == {"their": "l", "app": "x", MANAGED: "true"}
    assert set(wanted.annotations) == {"their", "note", HASH}


@pytest.mark.parametrize("length", [27, 28, 63])
def test_stale_keys_go_whatever_the_length_of_the_name(length):
    name = "n" * length  # ESO leaves them for ever with 28 to 63 characters
    live = live_secret(
        values(a="1"),
        labels={"stale": "1"},
        managedFields=[fields(desired.field_manager(name), labels=["stale"])],
    )
    assert "stale" not in changes.change(external_secret(name), SHAPE, live).wanted.labels


def test_fields_of_others_and_of_subresources_are_not_ours():
    manager = desired.field_manager("db")
    entries = [fields("kubectl", data=["a"]), {**fields(manager, data=["b"]), "subresource": "status"}]
    assert changes.managed_fields({"managedFields": entries}, manager).data == frozenset()
    assert changes.managed_fields({}, manager).labels == frozenset()


def test_leaving_owner_takes_our_marks_away():
    live = written(wanting("Owner"))
    wanted = changes.change(wanting("Orphan"), SHAPE, live).wanted
    assert wanted.owner_references == ()
    assert CREATED_BY not in wanted.labels


# ---------------------------------------------------------------------------------------------------------- ownership

OTHER_ES, DEPLOYMENT = owner("other"), owner("web", "Deployment", "apps/v1")
PLAIN = {**owner("cm", "ConfigMap", "v1"), "controller": False}


@pytest.mark.parametrize(
    ("policy", "ref", "refusal"),
    [
        *((policy, OTHER_ES, Owned) for policy in POLICIES),
        ("Owner", DEPLOYMENT, Taken),
        *((policy, DEPLOYMENT, None) for policy in POLICIES[1:]),
        *((policy, PLAIN, None) for policy in POLICIES),
        *((policy, owner("db", uid="uid of an earlier object"), None) for policy in POLICIES),
        *((policy, owner("db", group="external-secrets.io/v1beta1"), None) for policy in POLICIES),
        ("Owner", owner("db", "PushSecret"), Taken),
    ],
)
def test_whose_the_target_may_be(policy, ref, refusal):
    live = live_secret(values(a="1"), ownerReferences=[ref])
    if refusal is None:
        changes.change(wanting(policy), SHAPE, live)
        return
    with pytest.raises(refusal) as error:
        changes.change(wanting(policy), SHAPE, live)
    assert ref["name"] in error.value.cause
    assert error.value.path == "Secret shop/db"


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("Owner", [PLAIN], [PLAIN, "ours"]),
        ("Owner", [owner("db", uid="old"), PLAIN], ["ours", PLAIN]),
        ("Orphan", [owner("db"), PLAIN], [PLAIN]),
        ("Orphan", [{**owner("db"), "controller": False}], [{**owner("db"), "controller": False}]),
        ("Merge", [DEPLOYMENT], [DEPLOYMENT]),
    ],
)
def test_owner_references_of_others_stay_in_their_place(policy, before, after):
    secret = wanting(policy)
    ours = desired.owner_reference(secret)
    wanted = changes.change(secret, SHAPE, live_secret(values(a="1"), ownerReferences=before)).wanted
    assert list(wanted.owner_references) == [ours if ref == "ours" else ref for ref in after]


# ---------------------------------------------------------------------------------------------------------- immutable


@pytest.mark.parametrize(
    ("wanted_frozen", "live_frozen", "data", "frozen", "held_back"),
    [
        (True, True, "0", True, True),
        (True, True, "1", True, False),
        (True, False, "0", True, False),  # ESO freezes what is there
        (False, False, "0", None, False),
        (False, True, "1", True, False),
    ],
)
def test_immutable_targets_keep_their_data(wanted_frozen, live_frozen, data, frozen, held_back):
    live = live_secret(values(a=data), immutable=live_frozen, type="kept")
    change = changes.change(wanting(immutable=wanted_frozen), SHAPE, live)
    assert change.held_back is held_back
    assert change.wanted.immutable is frozen
    assert change.wanted.data == (live.data if wanted_frozen else SHAPE.data)
    assert change.wanted.labels[MANAGED] == "true"  # metadata is updated all the same


def test_somebody_s_immutable_secret_is_named_before_the_api_server_refuses_it():
    live = live_secret(values(a="0"), immutable=True)
    with pytest.raises(Misconfigured, match="it is immutable and holds other data") as caught:
        changes.change(wanting(), SHAPE, live)
    assert caught.value.path == "Secret shop/db"
    assert caught.value.remedy == "delete it, or use another target.name"
