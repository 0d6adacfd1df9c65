import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.api import parse
from leasehold.domain import desired, report
from leasehold.domain.errors import Denied
from leasehold.domain.lease import LeaseTerms, OldLease
from leasehold.domain.reasons import ReadyReason, Why
from leasehold.domain.report import Outcome, Stage, View
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import LEASED, NOW, external_secret, lease, record, source, synced

H = 3600.0
KEY = SecretBytes("key of the fingerprints")
SOURCE = "dataFrom[0]"
BARE = external_secret()
LEASING = external_secret(dataFrom=LEASED)
FIRST, SECOND = lease("first"), lease("second")
OLD = OldLease(FIRST, NOW)


def view(held=None, *, rollout=None, freshness=300.0):
    return View(
        record=record({SOURCE: held}) if held is not None else None,
        terms=LeaseTerms(),
        rollout=rollout,
        key=KEY,
        freshness=freshness,
    )


def ready(why=Why.FIRST_SYNC, at=NOW, **more):
    """Return the outcome of a pass that read the values and found the Secret right."""
    told = {
        "ready": True,
        "reason": ReadyReason.SYNCED,
        "message": report.SYNCED,
        "why": why,
        "refreshed_at": at,
        "binding": True,
        "target_version": "7",
        **more,
    }
    return Outcome(**told)


FAILED = report.failure(Stage.FETCH, Denied("it is refused", path="secret/app", remedy="grant it"))


def heard(secret, wire):
    """Return the object as the next watch event brings it."""
    return parse.external_secret({**secret.to_wire(), "status": copy.deepcopy(wire)})


def told(secret, outcome, seen=None, *, at=NOW):
    """Return the status after an outcome, and whether it is worth a write."""
    wire = report.status(secret, outcome, seen or view(), now=at)
    return wire, report.patch(secret.status.to_wire(), wire)


# ---------------------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("stage", "start"),
    [
        (Stage.FETCH, "could not get secret data from provider: "),
        (Stage.WRITE, "could not update secret: "),
        (Stage.IMMUTABLE, "could not update secret, target is immutable: "),
        (Stage.OWNED, "target is owned by another ExternalSecret: "),
        (Stage.TAKEN, "failed to take ownership of target secret: "),
        (Stage.ORPHANS, "could not delete orphaned secrets: "),
        (Stage.DELETE, "could not delete secret: "),
        (Stage.TEMPLATE, "could not apply template: "),
    ],
)
def test_a_failure_starts_with_esos_text(stage, start):
    outcome = report.failure(stage, Denied("it is refused", path="secret/app", remedy="grant it"))
    assert outcome.message == f"{start}it is refused (secret/app); grant it"
    assert (outcome.ready, outcome.reason) == (False, ReadyReason.FAILED)


def test_every_stage_is_in_the_table():
    assert len(Stage) == 8


def test_a_failure_moves_the_condition_only():
    before = synced(BARE, at=NOW - H)
    wire, patch = told(before, FAILED)
    assert patch == {"conditions": wire["conditions"]}
    assert wire["refreshTime"] == report.rfc3339(NOW - H)


def test_the_transition_time_moves_with_the_status_only():
    secret = synced(BARE, at=NOW - H, ready=False)
    wire, _ = told(secret, replace(FAILED, message="another"))
    assert wire["conditions"][0]["lastTransitionTime"] == report.rfc3339(NOW - H)
    wire, _ = told(secret, ready())
    assert wire["conditions"][0]["lastTransitionTime"] == report.rfc3339(NOW)


def test_conditions_of_other_types_stay():
    other = {"type": "Deleted", "status": "False"}
    assert report.conditions([other], ready(), now=NOW)[0] == other


# ---------------------------------------------------------------------------------------------------------- first sync


def test_the_status_of_a_first_sync():
    _, patch = told(BARE, ready(wrote=True))
    assert patch == {
        "refreshTime": "2023-11-14T22:13:20Z",
        "syncedResourceVersion": desired.synced_version(BARE),
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "SecretSynced",
                "message": "secret synced",
                "lastTransitionTime": "2023-11-14T22:13:20Z",
            }
        ],
        "binding": {"name": "db"},
        "targetResourceVersion": "7",
    }


@pytest.mark.parametrize("reason", [ReadyReason.DELETED, ReadyReason.MISSING, ReadyReason.SYNCED])
def test_where_no_secret_is_bound_none_is_named(reason):
    wire, _ = told(synced(BARE), ready(reason=reason, binding=False, target_version=""))
    assert "binding" not in wire


# --------------------------------------------------------------------------------------------------- nothing to write


@pytest.mark.parametrize(
    ("why", "age", "freshness", "more", "written"),
    [
        (Why.REFRESH_DUE, 100, 300, {}, False),
        (Why.REFRESH_DUE, 300, 300, {}, True),
        (Why.REFRESH_DUE, 100, 0, {}, True),  # at every refresh, as ESO
        (Why.REFRESH_DUE, 100, 300, {"wrote": True}, True),
        (Why.TARGET_CHANGED, 100, 300, {"wrote": True, "target_version": "8"}, False),  # the values are what they were
        (Why.TARGET_MISSING, 100, 300, {"wrote": True, "target_version": "8"}, False),
        (Why.REFRESH_DUE, 100, 300, {"target_version": "8"}, False),  # a version alone rides along only
        (Why.RETRY, -60, 300, {}, True),  # a time in the future would ask for a read for ever
    ],
)
def test_when_a_refresh_is_worth_a_write(why, age, freshness, more, written):
    _, patch = told(synced(BARE, at=NOW - age), ready(why, **more), view(freshness=freshness))
    assert (patch is not None) is written
    if written:
        assert patch["refreshTime"] == report.rfc3339(NOW)


def test_a_forced_refresh_moves_the_time_also_where_nothing_changed():
    before = synced(BARE, at=NOW - 10)
    forced = before.model_copy(update={"metadata": before.metadata.model_copy(update={"annotations": {"f": "1"}})})
    _, patch = told(forced, ready(Why.SPEC_CHANGED))
    assert patch == {"refreshTime": report.rfc3339(NOW), "syncedResourceVersion": desired.synced_version(forced)}


def test_a_version_rides_along():
    _, patch = told(synced(BARE, at=NOW - H), ready(Why.REFRESH_DUE, target_version="8"))
    assert patch == {"refreshTime": report.rfc3339(NOW), "targetResourceVersion": "8"}


# ------------------------------------------------------------------------------------------------------------- leases


def test_a_lease_is_shown_by_fingerprint_and_times_and_never_by_its_id():
    wire, _ = told(LEASING, ready(wrote=True), view(source(lease(max_expires_at=NOW + 4 * H))))
    (entry,) = wire["leases"]
    assert entry.pop("renewsAt") < report.rfc3339(NOW + 0.66 * H)
    assert entry == {
        "source": SOURCE,
        "fingerprint": report.lease_fingerprint(KEY, lease()),
        "state": "Active",
        "issuedAt": report.rfc3339(NOW),
        "expiresAt": report.rfc3339(NOW + H),
        "maxExpiresAt": report.rfc3339(NOW + 4 * H),
        "ownerExpiresAt": report.rfc3339(NOW + 86_400),
        "rotatesAt": report.rfc3339(NOW + 4 * H - 900),
    }
    assert wire["expires"] == report.rfc3339(NOW + H)
    assert "creds/app" not in repr(wire)


def states(secret, outcome, held, *, at=NOW + 1):
    wire, _ = told(secret, outcome, view(held), at=at)
    return [entry["state"] for entry in wire.get("leases", [])]


CARRIED = synced(
    LEASING, leases=[{"source": SOURCE, "fingerprint": report.lease_fingerprint(KEY, FIRST), "state": "Active"}]
)


@pytest.mark.parametrize(
    ("secret", "outcome", "held", "at", "expected"),
    [
        # not in the Secret before a pass has said so: what is old is in use until then
        (LEASING, None, source(FIRST), NOW, ["Issued"]),
        (LEASING, FAILED, source(FIRST), NOW, ["Issued"]),
        (LEASING, ready(), source(FIRST), NOW, ["Active"]),
        (CARRIED, FAILED, source(SECOND, old=(OLD,)), NOW, ["Issued", "Active"]),
        (CARRIED, None, source(SECOND, old=(OLD,)), NOW, ["Issued", "Active"]),
        (CARRIED, ready(), source(SECOND, old=(OLD,)), NOW, ["Active", "Replaced"]),
        (CARRIED, ready(), source(SECOND, old=(replace(OLD, until=NOW + 300),)), NOW, ["Active", "Retiring"]),
        # what was in it stays so
        (CARRIED, None, source(FIRST), NOW, ["Active"]),
        (CARRIED, FAILED, source(FIRST), NOW, ["Active"]),
        (CARRIED, None, source(FIRST), NOW + H, ["Ended"]),
        # an answer without lease, and a stray login, are no leases
        (LEASING, ready(), source(lease("")), NOW, []),
        (LEASING, ready(), source(FIRST, old=(OldLease(lease(""), NOW, NOW),)), NOW, ["Active"]),
    ],
)
def test_states_of_leases(secret, outcome, held, at, expected):
    assert states(secret, outcome, held, at=at) == expected


@pytest.mark.parametrize(
    ("secret", "held", "result"),
    [
        (LEASING, None, True),
        (LEASING, source(), True),
        (LEASING, source(lease("")), True),
        (LEASING, source(FIRST), False),
        (CARRIED, source(FIRST), True),
        (CARRIED, source(SECOND, old=(OLD,)), False),
    ],
)
def test_what_the_status_says_to_be_in_the_secret(secret, held, result):
    assert report.published(secret, record({SOURCE: held}) if held else None, KEY) is result


def test_published_follows_from_a_good_pass_and_not_from_a_failed_one():
    held = source(SECOND, old=(OLD,))
    for outcome, result in ((FAILED, False), (None, False), (ready(), True)):
        wire, _ = told(CARRIED, outcome, view(held))
        assert report.published(heard(CARRIED, wire), record({SOURCE: held}), KEY) is result


@pytest.mark.parametrize(
    ("held", "renews"),
    [
        (lease(renewable=False), NOW + H - 900),
        (lease(max_expires_at=NOW + H), NOW + H - 900),  # renewed no more: it is replaced
        (lease("", expires_at=NOW), None),
    ],
)
def test_renews_is_the_next_thing_that_happens(held, renews):
    wire, _ = told(LEASING, ready(), view(source(held)))
    assert wire.get("renews") == (None if renews is None else report.rfc3339(renews))
    assert "renewsAt" not in wire.get("leases", [{}])[0]


def test_the_first_end_counts():
    both = record({"a": source(lease("x", expires_at=NOW + 9 * H)), "b": source(lease("y"))})
    wire = report.status(LEASING, ready(), replace(view(), record=both), now=NOW)
    assert wire["expires"] == report.rfc3339(NOW + H)
    assert [entry["source"] for entry in wire["leases"]] == ["a", "b"]


def test_when_the_last_lease_is_gone_nothing_of_it_stays():
    secret = synced(LEASING, leases=CARRIED.status.to_wire()["leases"], expires="x", renews="x")
    _, patch = told(secret, None, view(source()))
    assert patch == {"leases": None, "expires": None, "renews": None}


def test_a_renewal_is_told_by_its_times_only():
    wire, _ = told(LEASING, ready(), view(source(FIRST)))
    renewed = replace(FIRST, expires_at=NOW + 2 * H, renewed_at=NOW + H)
    _, patch = told(heard(LEASING, wire), None, view(source(renewed)), at=NOW + H)
    assert patch.keys() == {"leases", "expires", "renews"}


# -------------------------------------------------------------------------------------------------- rollout and history


@pytest.mark.parametrize(
    ("spec", "given", "expected"),
    [
        ({"rollout": {}}, {"state": "Pending"}, {"state": "Pending"}),
        ({"rollout": {}}, None, {"state": "Complete"}),
        ({}, None, None),
    ],
)
def test_the_rollout_is_shown_as_long_as_it_is_asked_for(spec, given, expected):
    before = synced(external_secret(**spec), rollout={"state": "Complete"})
    wire, _ = told(before, None, view(rollout=given))
    assert report.patch({"rollout": expected or {}}, {"rollout": wire.get("rollout", {})}) is None


def test_history_is_bounded_and_chains_what_was_published():
    secret = synced(external_secret(dataFrom=LEASED))
    for index in range(12):
        wire, _ = told(secret, ready(Why.LEASE_ROTATION, wrote=True, values=f"f{index}"), view(source(FIRST)))
        secret = heard(secret, wire)
    entries = wire["history"]
    assert len(entries) == report.HISTORY
    assert entries[-1] == {
        "time": report.rfc3339(NOW),
        "what": "Published",
        "why": "LeaseRotation",
        "old": "f10",
        "new": "f11",
    }


@pytest.mark.parametrize(
    ("secret", "held", "wrote", "result"),
    [
        (BARE, None, True, False),  # as ESO
        (LEASING, source(FIRST), True, True),
        (LEASING, source(FIRST), False, False),
        (external_secret(rollout={}), None, True, True),
    ],
)
def test_history_is_kept_where_it_says_something(secret, held, wrote, result):
    wire, _ = told(secret, ready(wrote=wrote), view(held))
    assert bool(wire.get("history")) is result


# ------------------------------------------------------------------------------------------------------------- patches

FULL = {
    "rollout": {"state": "Progressing", "keys": {"a": "1"}, "workloads": [{"kind": "Deployment", "name": "web"}]},
}


@pytest.mark.parametrize(
    ("secret", "outcome", "seen"),
    [
        (BARE, ready(wrote=True), view()),
        (BARE, FAILED, view()),
        (LEASING, ready(wrote=True), view(source(SECOND, old=(OLD,)))),
        (external_secret(rollout={}), ready(wrote=True), view(rollout=FULL["rollout"])),
        (external_secret(rollout={}), ready(wrote=True), view(rollout={"state": "Complete", "workloads": []})),
    ],
)
def test_a_status_that_was_written_is_not_written_again(secret, outcome, seen):
    wire, _ = told(secret, outcome, seen)
    again = heard(secret, wire)
    assert report.patch(wire, again.status.to_wire()) is None, "the model and the wire differ"
    repeated = replace(outcome, wrote=False) if outcome.ready else outcome
    assert told(again, repeated, seen)[1] is None


def test_absent_and_empty_are_the_same_at_any_depth():
    assert report.patch({"leases": [], "rollout": {"keys": {}}}, {"binding": None, "rollout": {"message": ""}}) is None


texts = st.text(max_size=3)
json_values = st.recursive(
    st.integers() | texts, lambda inner: st.dictionaries(texts, inner, max_size=3) | st.lists(inner, max_size=2)
)
objects = st.dictionaries(texts, json_values, max_size=4)


def apply(patch, target):
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(value, result.get(name))
    return result


@given(objects, objects)
def test_a_patch_turns_the_one_into_the_other(old, new):
    assert apply(report.merge_patch(old, new), old) == new


@given(objects)
def test_equal_objects_need_no_patch(value):
    assert report.merge_patch(value, copy.deepcopy(value)) == {}
