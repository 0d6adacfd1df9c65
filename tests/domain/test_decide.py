from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.domain import decide, report
from leasehold.domain.decide import Act, Facts, Memo, Verdict
from leasehold.domain.lease import Intent, LeaseTerms, OldLease
from leasehold.domain.reasons import Why
from leasehold.domain.upkeep import Step
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import LEASED, NOW, external_secret, lease, record, source, synced, target

H = 3600.0
SOURCE = "dataFrom[0]"
BARE = external_secret()
FRESH = synced(BARE)


def facts(secret=FRESH, **more):
    """Return what is seen of an object that was synced NOW and whose Secret is as it was written."""
    told = {"target": target(), "targets_heard": True, "record": None, "memo": Memo(), **more}
    return Facts(secret, **told)


def leased(held, *, secret=None, wanted="h", **more):
    """Return the facts of an object with one leased source."""
    secret = synced(external_secret(dataFrom=LEASED), **(secret or {}))
    sources = {SOURCE: wanted} if wanted is not None else {}
    return facts(secret, record=record({SOURCE: held} if held else {}), leased=sources, **more)


def verdict(facts, at=1.0):
    """Return act and reason (the step for a lease)."""
    found = decide.decide(facts, now=NOW + at)
    return found.act, found.step or found.why


REST = (Act.REST, None)


def fetch(why):
    return Act.FETCH, why


# ------------------------------------------------------------------------------------------------ the order of checks


def test_the_order_of_the_checks():
    assert [check.__name__ for check in decide.FETCH_CHECKS] == [
        "_never_synced",
        "_spec_changed",
        "_target_missing",
        "_lease_wanted",
        "_unpublished",
        "_refresh_due",
        "_unready",
    ]


def test_each_check_hides_the_ones_after_it():
    """Everything is wrong at once; what is mended first uncovers what is next."""
    wrong = leased(None, secret={"at": NOW - 2 * H, "ready": False}, published=False, target=None)
    edited = replace(wrong, secret=synced(external_secret(dataFrom=LEASED), at=NOW - 2 * H, ready=False))
    mended = (
        replace(edited, secret=external_secret(dataFrom=LEASED)),
        replace(edited, secret=edited.secret.model_copy(update={"metadata": _older(edited.secret)})),
        edited,
        replace(edited, target=target()),
        replace(edited, target=target(), record=record({SOURCE: source(lease())})),
        replace(edited, target=target(), record=record({SOURCE: source(lease())}), published=True),
        replace(_ready_at(NOW, ready=False), target=target()),
        _ready_at(NOW, ready=True),
    )
    assert [verdict(seen)[1] for seen in mended] == [
        Why.FIRST_SYNC,
        Why.SPEC_CHANGED,
        Why.TARGET_MISSING,
        Why.LEASE_MISSING,
        Why.RETRY,
        Why.REFRESH_DUE,
        Why.RETRY,
        None,
    ]


def _older(secret):
    return secret.metadata.model_copy(update={"generation": 99})


def _ready_at(at, *, ready):
    return leased(source(lease()), secret={"at": at, "ready": ready})


def test_leases_are_kept_before_anything_is_read():
    everything = leased(
        source(lease()), secret={"at": NOW - 2 * H, "ready": False}, target=None, memo=Memo(held_until=NOW + 2 * H)
    )
    assert verdict(everything, at=0.7 * H) == (Act.KEEP, Step.RENEW)


# -------------------------------------------------------------------------------------------------------------- fetches


@pytest.mark.parametrize(
    ("secret", "at", "expected"),
    [
        (BARE, 1, fetch(Why.FIRST_SYNC)),
        (synced(BARE, refreshTime=None), 1, fetch(Why.FIRST_SYNC)),
        (synced(BARE, syncedResourceVersion=None), 1, fetch(Why.FIRST_SYNC)),
        (FRESH, 1, REST),
        (FRESH, H - 1, REST),
        (FRESH, H, fetch(Why.REFRESH_DUE)),
        (synced(BARE, at=NOW + 60), 1, fetch(Why.REFRESH_DUE)),  # a time in the future is no time
        (synced(BARE, syncedResourceVersion="1-x"), 1, fetch(Why.SPEC_CHANGED)),
        (synced(BARE, ready=False), 1, fetch(Why.RETRY)),
        (synced(BARE, conditions=[]), 1, REST),
    ],
)
def test_when_values_are_read(secret, at, expected):
    assert verdict(facts(secret), at) == expected


@pytest.mark.parametrize(
    ("policy", "interval", "changed", "old", "gone"),
    [
        ("Periodic", "1h", Why.SPEC_CHANGED, Why.REFRESH_DUE, Why.TARGET_MISSING),
        ("Periodic", "0s", None, None, Why.TARGET_MISSING),
        ("Periodic", "-1s", None, None, Why.TARGET_MISSING),
        ("OnChange", "1h", Why.SPEC_CHANGED, None, Why.TARGET_MISSING),
        ("CreatedOnce", "1h", None, None, Why.TARGET_MISSING),
    ],
)
def test_refresh_policies(policy, interval, changed, old, gone):
    secret = external_secret(refreshPolicy=policy, refreshInterval=interval)
    assert verdict(facts(synced(secret, syncedResourceVersion="1-x")))[1] is changed
    assert verdict(facts(synced(secret, at=NOW - 2 * H)))[1] is old
    assert verdict(facts(synced(secret), target=None))[1] is gone


def condition(reason, message="secret synced"):
    return [{"type": "Ready", "status": "True", "reason": reason, "message": message}]


@pytest.mark.parametrize(
    ("policy", "more", "status", "expected"),
    [
        ("Owner", {}, {}, Why.TARGET_MISSING),
        ("CreateOrMerge", {}, {}, Why.TARGET_MISSING),
        ("Orphan", {}, {}, Why.TARGET_MISSING),
        ("Orphan", {"refreshPolicy": "CreatedOnce"}, {}, None),
        ("None", {}, {}, None),
        ("Merge", {}, {}, Why.TARGET_MISSING),  # it was there and is gone: the status has to say so
        ("Merge", {}, {"conditions": condition("SecretMissing")}, None),
        ("Owner", {}, {"conditions": condition("SecretDeleted")}, None),
        ("Owner", {}, {"conditions": condition("SecretSynced", report.RETAINED)}, None),
        ("Owner", {}, {"conditions": condition("SecretSyncedError")}, Why.TARGET_MISSING),
    ],
)
def test_a_secret_that_is_gone(policy, more, status, expected):
    secret = synced(external_secret(target={"creationPolicy": policy}, **more), **status)
    assert verdict(facts(secret, target=None))[1] is expected


def test_nothing_is_missing_before_the_list_has_been_heard():
    assert verdict(facts(target=None, targets_heard=False)) == REST


@pytest.mark.parametrize(
    ("memo", "at", "expected"),
    [
        (Memo(held_until=NOW + 60), 59, REST),
        (Memo(held_until=NOW + 60), 60, fetch(Why.RETRY)),
    ],
)
def test_a_failed_pass_waits(memo, at, expected):
    failed = facts(synced(BARE, ready=False), memo=memo, target=target(version="8"))
    assert verdict(failed, at) == expected
    if expected == REST:
        assert decide.next_due(failed, now=NOW + at) == NOW + 60


def test_memory_is_ahead_of_the_status():
    """status.refreshTime lags behind by the status freshness; what is remembered counts."""
    assert verdict(facts(memo=Memo(refreshed_at=NOW + H / 2)), at=H) == REST
    assert decide.refreshed_at(facts(memo=Memo(refreshed_at=NOW - H))) == NOW


# -------------------------------------------------------------------------------------------------------------- restart


def test_a_fresh_object_asks_for_nothing_after_a_restart():
    held = leased(source(lease()))
    for fresh in (facts(), held):
        assert verdict(fresh) == REST
    assert decide.next_due(facts(), now=NOW) == NOW + H
    assert NOW + 0.6 * H < decide.next_due(held, now=NOW) < NOW + 0.66 * H


# --------------------------------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize(
    ("policy", "version", "memo", "act"),
    [
        ("Owner", "7", Memo(), Act.REST),
        ("Owner", "8", Memo(), Act.VERIFY),
        ("Owner", "8", Memo(target_version="8"), Act.REST),
        ("Owner", "8", Memo(held_until=NOW + 9), Act.REST),
        ("Merge", "8", Memo(), Act.VERIFY),
        ("CreateOrMerge", "8", Memo(), Act.VERIFY),
        ("Orphan", "8", Memo(), Act.REST),  # tolerated until the next refresh
        ("None", "8", Memo(), Act.REST),
    ],
)
def test_a_version_that_we_do_not_know_is_looked_at(policy, version, memo, act):
    secret = synced(external_secret(target={"creationPolicy": policy}))
    assert verdict(facts(secret, target=target(version=version), memo=memo))[0] is act


# --------------------------------------------------------------------------------------------------------------- follow


@pytest.mark.parametrize(
    ("spec", "state", "follow_at", "act"),
    [
        ({"rollout": {}}, "Progressing", 0.0, Act.FOLLOW),
        ({"rollout": {}}, "Pending", NOW + 1, Act.FOLLOW),
        ({"rollout": {}}, "Failed", NOW + 1, Act.FOLLOW),  # it may heal
        ({"rollout": {}}, "Progressing", NOW + 9, Act.REST),
        ({"rollout": {}}, "Complete", 0.0, Act.REST),
        ({"rollout": {}}, "Disabled", 0.0, Act.REST),
        ({}, "Progressing", 0.0, Act.REST),
    ],
)
def test_a_rollout_is_followed(spec, state, follow_at, act):
    followed = facts(synced(external_secret(**spec), rollout={"state": state}), memo=Memo(follow_at=follow_at))
    assert verdict(followed)[0] is act
    if follow_at > NOW + 1:
        assert decide.next_due(followed, now=NOW + 1) == follow_at


# --------------------------------------------------------------------------------------------------------------- leases

OLD = OldLease(lease("old"), NOW - 60)


@pytest.mark.parametrize(
    ("held", "more", "expected"),
    [
        (None, {}, fetch(Why.LEASE_MISSING)),
        (source(lost=True), {}, fetch(Why.LEASE_GONE)),
        (source(lease()), {"wanted": "other"}, fetch(Why.SOURCE_CHANGED)),
        (source(lease(), old=(OLD,)), {}, (Act.KEEP, Step.SHRINK)),
        # the credential in use is never retired before its successor is: in the Secret, and in the pods
        (source(lease(), old=(OLD,)), {"published": False}, fetch(Why.RETRY)),
        (source(lease(), old=(OLD,)), {"rolled_out": False}, REST),
        # what is no longer named is let go, and not minted again
        (source(old=(OLD,)), {"wanted": None}, (Act.KEEP, Step.SHRINK)),
        (source(), {"wanted": None}, REST),
        (source(lease()), {"wanted": None}, REST),
        (source(intent=Intent(SecretBytes("a"), NOW)), {}, (Act.KEEP, Step.CLEAR_INTENT)),
    ],
)
def test_what_a_lease_asks_for(held, more, expected):
    assert verdict(leased(held, **more)) == expected


def held_back(*steps, until=NOW + 2 * H, tries=1):
    """Return a memo in which these steps of the source wait."""
    return Memo(lease_holds={f"{SOURCE} {step}": (tries, until) for step in steps})


@pytest.mark.parametrize(
    ("held", "at", "memo", "expected"),
    [
        (source(lease()), 0.7 * H, held_back("renew"), REST),
        (source(lease()), 0.7 * H, held_back("renew", until=NOW), (Act.KEEP, Step.RENEW)),
        # one step that fails holds up no other
        (source(lease()), 0.7 * H, held_back("clear-intent", "revoke old", "renew old"), (Act.KEEP, Step.RENEW)),
        (
            source(lease(), old=(replace(OLD, until=NOW),)),
            0.7 * H,
            held_back("renew"),
            (Act.KEEP, Step.REVOKE),
        ),
        (source(lease(max_expires_at=NOW + 1.2 * H)), 0.96 * H, held_back("renew"), fetch(Why.LEASE_ROTATION)),
        (source(lease(), intent=Intent(SecretBytes("a"), NOW)), 1, held_back("clear-intent"), REST),
        # a look-up that fails again and again gives way to a mint
        (source(lease()), H - 1, held_back("look-up", tries=9), (Act.KEEP, Step.RENEW)),
        (source(lease()), H + 1, held_back("look-up", tries=2), REST),
        (source(lease()), H + 1, held_back("look-up", tries=3), fetch(Why.LEASE_GONE)),
    ],
)
def test_steps_are_held_each_by_itself(held, at, memo, expected):
    assert verdict(leased(held, memo=memo, secret={"at": NOW + at - 1}), at) == expected


def test_the_hold_of_a_verdict_names_its_step():
    assert Verdict(Act.KEEP, source=SOURCE, step=Step.RENEW).hold == f"{SOURCE} renew"
    assert Verdict(Act.KEEP, source=SOURCE, step=Step.RENEW, old=OLD).hold == f"{SOURCE} renew old"


def test_a_held_step_is_looked_at_when_its_hold_is_over():
    due = leased(source(lease()), memo=held_back("renew", until=NOW + 0.75 * H))
    assert decide.decide(due, now=NOW + 0.7 * H) == Verdict(Act.REST, until=NOW + 0.75 * H)


def test_a_held_mint_waits_for_the_fetch():
    due = leased(None, memo=Memo(held_until=NOW + 60))
    assert decide.decide(due, now=NOW + 1) == Verdict(Act.REST, until=NOW + 60)


# ---------------------------------------------------------------------------------------------------------- properties

moments = st.floats(min_value=NOW - 2 * H, max_value=NOW + 3 * H)
maybe = st.none() | moments


@st.composite
def leases(draw):
    return lease(
        draw(st.sampled_from(["a", "b", ""])),
        expires_at=draw(moments),
        renewed_at=draw(moments),
        renewable=draw(st.booleans()),
        kept=draw(st.booleans()),
        owner=SecretBytes(draw(st.sampled_from(["", "accessor"]))),
        owner_expires_at=draw(maybe),
        owner_renewed_at=draw(moments),
        owner_period=draw(st.sampled_from([0.0, H])),
        max_expires_at=draw(maybe),
    )


@st.composite
def anything(draw):
    """Return facts of every kind, sensible or not."""
    old = st.builds(OldLease, leases(), replaced_at=moments, until=maybe)
    held = source(
        draw(st.none() | leases()),
        old=tuple(draw(st.lists(old, max_size=2))),
        intent=draw(st.sampled_from([None, Intent(SecretBytes("a"), NOW)])),
        lost=draw(st.booleans()),
    )
    spec = {
        "dataFrom": LEASED,
        "refreshPolicy": draw(st.sampled_from(["Periodic", "OnChange", "CreatedOnce"])),
        "refreshInterval": draw(st.sampled_from(["1h", "0s", "5s"])),
        "target": {"creationPolicy": draw(st.sampled_from(["Owner", "Orphan", "Merge", "None"]))},
        "rollout": {},
    }
    secret = synced(
        external_secret(**spec),
        at=draw(moments),
        ready=draw(st.booleans()),
        rollout={"state": draw(st.sampled_from(["Complete", "Progressing"]))},
    )
    steps = ["renew", "renew old", "look-up", "revoke old", "shrink old", "clear-intent", "renew-owner"]
    memo = Memo(
        refreshed_at=draw(maybe),
        target_version=draw(st.sampled_from(["", "8"])),
        held_until=draw(moments),
        lease_holds={f"{SOURCE} {step}": (draw(st.integers(1, 4)), draw(moments)) for step in steps},
        follow_at=draw(moments),
    )
    return facts(
        secret,
        target=draw(st.sampled_from([None, target(), target(version="8")])),
        record=record({SOURCE: held}),
        memo=memo,
        leased=draw(st.sampled_from([{}, {SOURCE: "h"}, {SOURCE: "other"}])),
        terms=LeaseTerms(),
        published=draw(st.booleans()),
        rolled_out=draw(st.booleans()),
    )


@given(anything(), moments)
def test_there_is_a_verdict_on_everything_and_rest_has_an_end_in_the_future(seen, now):
    found = decide.decide(seen, now=now)
    if found.act is Act.REST:
        assert found.until is None or found.until > now


@given(anything(), moments, st.floats(min_value=0.01, max_value=0.99))
def test_nothing_becomes_due_during_a_rest(seen, now, share):
    """The next look comes no later than whatever asks for it."""
    found = decide.decide(seen, now=now)
    if found.act is not Act.REST:
        return
    until = now + 10 * H if found.until is None else found.until
    between = now + (until - now) * share
    assert decide.decide(seen, now=between).act is Act.REST or between >= until
