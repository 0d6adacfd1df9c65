from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.domain import transitions
from leasehold.domain.lease import Intent, OldLease
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import NOW, lease, source

H = 3600.0
LATER = NOW + H / 2
HERE = {"server": "http://vault:8200"}


def minted(held, fresh=None, *, source_hash="h", now=LATER):
    fresh = lease("new", issued_at=now, expires_at=now + H, renewed_at=now) if fresh is None else fresh
    return transitions.minted(held, fresh, source_hash=source_hash, connection=HERE, now=now)


def old_leases(held):
    return [(old.lease.lease_id.reveal().decode(), old.until) for old in held.old]


# --------------------------------------------------------------------------------------------------------------- mint


@pytest.mark.parametrize(
    ("held", "old"),
    [
        (None, []),
        (source(), []),
        (source(lease("first")), [("first", None)]),  # waits for the rollout of its successor
        (source(lease("first", expires_at=NOW)), [("first", LATER)]),  # ended by our figures: its owner is revoked
        (source(lease("")), []),  # no lease, nothing to end
        (source(lease("second"), old=(OldLease(lease("first"), NOW),)), [("first", None), ("second", None)]),
    ],
)
def test_a_mint_makes_the_lease_before_an_old_one(held, old):
    after = minted(held)
    assert after.current.lease_id == SecretBytes("new")
    assert old_leases(after) == old
    assert (after.intent, after.lost) == (None, False)


@pytest.mark.parametrize(
    ("life", "source_hash", "own", "maximum"),
    [
        (None, "h", None, None),
        (2 * H, "h", None, LATER + 2 * H),
        (2 * H, "other", None, None),  # another source has another life
        (2 * H, "h", LATER + H, LATER + H),  # the earlier of the two
    ],
)
def test_a_new_lease_knows_the_life_that_the_one_before_has_shown(life, source_hash, own, maximum):
    fresh = lease("new", issued_at=LATER, max_expires_at=own)
    after = minted(source(lease(), life=life), fresh, source_hash=source_hash)
    assert after.current.max_expires_at == maximum
    assert (after.source_hash, after.connection) == (source_hash, HERE)


# ----------------------------------------------------------------------------------------------------------- renewals


@pytest.mark.parametrize(
    ("known", "ttl", "capped", "maximum"),
    [
        (None, H, False, None),
        (None, 600.0, True, LATER + 600.0),
        (NOW + 9 * H, H, False, NOW + 9 * H),
        (NOW + 9 * H, 600.0, True, LATER + 600.0),  # the role's maximum was lowered
        (LATER + 600.0, H, False, None),  # and raised
    ],
)
def test_a_renewal_shows_what_the_maximum_is(known, ttl, capped, maximum):
    after = transitions.renewed(lease(max_expires_at=known), ttl=ttl, capped=capped, now=LATER)
    assert (after.expires_at, after.renewed_at, after.max_expires_at) == (LATER + ttl, LATER, maximum)


@given(st.floats(min_value=0, max_value=1e6), st.booleans())
def test_a_renewal_never_promises_more_than_was_granted(ttl, capped):
    assert transitions.renewed(lease(), ttl=ttl, capped=capped, now=LATER).ends_at <= LATER + ttl


@pytest.mark.parametrize(
    ("before", "after", "life"),
    [
        ({}, {"max_expires_at": NOW + 2 * H}, 2 * H),
        ({"max_expires_at": NOW + H}, {"max_expires_at": NOW + H}, H),
        ({"max_expires_at": NOW + H}, {}, None),  # it went beyond what we took for its maximum
        ({}, {}, 77.0),
    ],
)
def test_the_life_is_learned_from_the_lease(before, after, life):
    held = transitions.learned(source(lease(**before), life=77.0), lease(**after))
    assert (held.current, held.life) == (lease(**after), life)


@pytest.mark.parametrize(
    ("period", "ttl", "fixed"),
    [(86_400.0, 86_400.0, False), (86_400.0, 80_000.0, False), (86_400.0, 40_000.0, True), (15.0, 40.0, False)],
)
def test_an_owner_that_gets_less_than_before_nears_its_end(period, ttl, fixed):
    after = transitions.owner_renewed(lease(owner_period=period), ttl=ttl, now=LATER)
    assert (after.owner_expires_at, after.owner_period) == (LATER + ttl, 0.0 if fixed else ttl)
    assert after.final_end == (LATER + ttl if fixed else None)


@pytest.mark.parametrize(
    ("held", "ttl", "renewed_at", "maximum"),
    [
        (lease(), 600.0, NOW + 2 * H + 600 - H, None),
        (lease(), 2 * H, NOW + 2 * H, None),
        (lease(max_expires_at=NOW + H), 600.0, NOW + 2 * H + 600 - H, None),  # our figure of the maximum was wrong
        (lease(max_expires_at=NOW + 3 * H), 600.0, NOW + 2 * H + 600 - H, NOW + 3 * H),
    ],
)
def test_a_lease_that_was_found_alive(held, ttl, renewed_at, maximum):
    after = transitions.seen(held, ttl=ttl, now=NOW + 2 * H)
    assert (after.expires_at, after.renewed_at, after.max_expires_at) == (NOW + 2 * H + ttl, renewed_at, maximum)


def test_a_lease_whose_owner_nobody_keeps_counts_its_rest_from_now():
    after = transitions.unkept(lease(), now=LATER)
    assert (after.kept, after.renewed_at, after.expires_at) == (False, LATER, NOW + H)


# ------------------------------------------------------------------------------------------------------------- restart


@pytest.mark.parametrize(
    ("shown", "expires_at", "renewed_at"),
    [(None, NOW + H, NOW), (NOW + H - 1, NOW + H, NOW), (NOW + 3 * H, NOW + 3 * H, NOW + 2 * H)],
)
def test_later_times_of_the_status_are_believed(shown, expires_at, renewed_at):
    after = transitions.caught_up(lease(), expires_at=shown, owner_expires_at=None)
    assert (after.expires_at, after.renewed_at) == (expires_at, renewed_at)


@pytest.mark.parametrize(
    ("known", "shown", "expires_at", "renewed_at"),
    [
        (NOW + 86_400.0, NOW + 2 * 86_400.0, NOW + 2 * 86_400.0, NOW + 86_400.0),
        (NOW + 86_400.0, NOW, NOW + 86_400.0, NOW),
        (None, NOW, None, NOW),
    ],
)
def test_later_times_of_the_owner_are_believed(known, shown, expires_at, renewed_at):
    after = transitions.caught_up(lease(owner_expires_at=known), expires_at=None, owner_expires_at=shown)
    assert (after.owner_expires_at, after.owner_renewed_at) == (expires_at, renewed_at)


# ----------------------------------------------------------------------------------------------------------------- ends


@pytest.mark.parametrize(("ownerless", "old"), [(False, [("first", LATER)]), (True, [])])
def test_of_a_lost_lease_the_owner_is_revoked_unless_it_went_first(ownerless, old):
    after = transitions.lost(source(lease("first"), life=H), now=LATER, ownerless=ownerless)
    assert (after.current, after.lost, after.life) == (None, True, H)
    assert old_leases(after) == old


@pytest.mark.parametrize(
    ("held", "old"),
    [(source(lease("first")), [("first", None)]), (source(lease("")), []), (source(), [])],
)
def test_a_source_that_is_let_go_is_on_its_way_out(held, old):
    after = transitions.let_go(held, now=LATER)
    assert after.current is None
    assert old_leases(after) == old


def test_one_of_several_old_leases_is_changed_or_ended():
    first, second = OldLease(lease("a"), NOW), OldLease(lease("a"), NOW)  # equal, but not the same
    held = source(old=(first, second))
    assert [old.until for old in transitions.shrunk(held, second, until=LATER).old] == [None, LATER]
    assert transitions.ended(held, second).old[0] is first
    kept = transitions.replaced(held, first, replace(first, lease=lease("b")))
    assert old_leases(kept) == [("b", None), ("a", None)]


def test_an_intent_that_nobody_may_revoke_is_remembered_until_it_has_ended():
    held = transitions.intended(source(lease("first")), SecretBytes("accessor"), ttl=60.0, now=NOW)
    assert held.intent == Intent(SecretBytes("accessor"), NOW, 60.0)
    after = transitions.abandoned(held, now=LATER)
    (stray,) = after.old
    assert after.intent is None
    assert (stray.until, stray.lease.owner, stray.lease.ends_at) == (LATER, SecretBytes("accessor"), NOW + 60.0)
    assert after.current == held.current
    assert transitions.abandoned(after, now=LATER) is after


@pytest.mark.parametrize(
    ("after", "result"),
    [
        (lambda held: replace(held, current=replace(held.current, expires_at=LATER, renewed_at=NOW + 9)), False),
        (lambda held: replace(held, current=replace(held.current, kept=False)), False),
        (lambda held: replace(held, life=H), True),
        (lambda held: transitions.lost(held, now=LATER), True),
        (lambda held: transitions.shrunk(held, held.old[0], until=LATER), True),
        (lambda held: transitions.ended(held, held.old[0]), True),
        (lambda held: transitions.intended(held, SecretBytes("a"), ttl=1.0, now=NOW), True),
    ],
)
def test_what_must_survive_a_restart(after, result):
    held = source(lease(), old=(OldLease(lease("old"), NOW),))
    assert transitions.lasting(held, after(held)) is result
