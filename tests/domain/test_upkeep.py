from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.domain import transitions, upkeep
from leasehold.domain.lease import Intent, LeaseTerms, OldLease
from leasehold.domain.reasons import Why
from leasehold.domain.upkeep import Moment, Step
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import NOW, lease, source

H = 3600.0
TERMS = LeaseTerms(rotate_before=900.0, grace=300.0)
INTENT = Intent(SecretBytes("accessor"), NOW, 60.0)
EARLY = lease("old", issued_at=NOW - H)


def due(held, *, at=0.0, wanted="h", terms=TERMS, **more):
    """Return the steps that are due, as words; steps of replaced leases end in "old"."""
    plans = upkeep.steps(held, wanted, Moment(terms, "uid/dataFrom[0]", NOW + at, **more))
    assert [plan.step for plan in plans].count(Step.KEEP) == 1
    assert plans[-1].step is Step.KEEP
    assert plans[-1].due is None or plans[-1].due > NOW + at
    return [plan.step.value + (" old" if plan.old else "") for plan in plans[:-1]]


def next_look(held, *, at=0.0, wanted="h", **more):
    return upkeep.steps(held, wanted, Moment(TERMS, "uid/dataFrom[0]", NOW + at, **more))[-1].due


def why(held, *, at=0.0, wanted="h", **more):
    return upkeep.mint_due(held, wanted, Moment(TERMS, "uid/dataFrom[0]", NOW + at, **more))


def replaced(held=EARLY, until=None, **more):
    return OldLease(held, replaced_at=NOW - 60, until=until, **more)


# -------------------------------------------------------------------------------------------------------------- mint

MAXED = {"max_expires_at": NOW + H}


@pytest.mark.parametrize(
    ("held", "more", "reason"),
    [
        (None, {}, Why.LEASE_MISSING),
        (source(), {}, Why.LEASE_MISSING),
        (source(lost=True), {}, Why.LEASE_GONE),
        (source(lease()), {}, None),
        (source(lease()), {"wanted": "other"}, Why.SOURCE_CHANGED),
        (source(lease(**MAXED)), {"at": H - 901}, None),
        (source(lease(**MAXED)), {"at": H - 899}, Why.LEASE_ROTATION),
        (source(lease(renewable=False)), {"at": H - 899}, Why.LEASE_ROTATION),
        (source(lease(kept=False)), {"at": 0.8 * H}, Why.LEASE_UNKEPT),
        # whether it has ended is for the backend to say, unless the backend cannot be heard
        (source(lease()), {"at": H}, None),
        (source(lease()), {"at": H, "unheard": True}, Why.LEASE_GONE),
        (source(lease()), {"at": H, "wanted": "other"}, Why.SOURCE_CHANGED),
        # beside an intent, whose login may have minted, nothing is minted
        (source(intent=INTENT), {}, None),
        (source(lease(), intent=INTENT), {"wanted": "other"}, None),
        # what the object does not name, or whose store nobody knows
        (None, {"wanted": None}, None),
        (source(), {"wanted": None}, None),
        (source(lease(**MAXED)), {"wanted": None, "at": H - 1}, None),
        # an answer without lease has no end
        (source(lease("", expires_at=NOW)), {"at": H}, None),
    ],
)
def test_when_a_credential_is_minted(held, more, reason):
    assert why(held, **more) is reason


# -------------------------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("held", "more", "steps"),
    [
        (None, {}, ["mint"]),
        (source(lease()), {}, []),
        (source(lease()), {"at": 0.7 * H}, ["renew"]),
        (source(lease(owner_expires_at=NOW + 60, owner_period=60.0)), {"at": 31}, ["renew-owner"]),
        (source(lease()), {"at": H}, ["look-up"]),
        (source(lease()), {"at": H, "unheard": True}, ["look-up", "mint"]),
        (source(lease()), {"at": H, "wanted": "other"}, ["mint"]),
        (source(lease()), {"at": H, "wanted": None}, ["look-up"]),
        # what cannot be renewed any more is not asked for it
        (source(lease(max_expires_at=NOW + H + 0.5)), {"at": 0.7 * H}, []),
        (source(lease(renewable=False)), {"at": 0.7 * H}, []),
        (source(lease(kept=False, owner_expires_at=NOW + H)), {"at": 0.2 * H}, []),
        (source(lease(owner=SecretBytes(""), owner_expires_at=NOW + 60)), {"at": 31}, []),
        (source(lease(owner_expires_at=NOW + 2 * H, owner_period=0.0)), {"at": 0.3 * H}, []),
        # keeping alive never waits: not for a mint, an intent, or a revocation
        (source(lease()), {"at": 0.7 * H, "wanted": "other"}, ["renew", "mint"]),
        (source(lease(), intent=INTENT), {"at": 0.7 * H}, ["renew", "clear-intent"]),
        (source(lease(max_expires_at=NOW + 1.2 * H)), {"at": 0.96 * H}, ["renew", "mint"]),
        (source(lease(), old=(replaced(until=NOW),)), {"at": 0.7 * H}, ["renew", "revoke old"]),
        # strays go before a mint, a mint before the end of what it replaces
        (source(intent=INTENT), {}, ["clear-intent"]),
        (source(old=(replaced(until=NOW - 5),)), {}, ["mint", "revoke old"]),
        # a replaced lease is kept until its rollout is verified, and then shortened
        (source(lease(issued_at=NOW), old=(replaced(),)), {"at": 10}, []),
        (source(lease(), old=(replaced(),)), {"at": 10, "verified": True}, ["shrink old"]),
        (source(lease(), old=(replaced(), replaced())), {"verified": True}, ["shrink old", "shrink old"]),
        (
            source(lease(duration=4 * H, expires_at=NOW + 4 * H), old=(replaced(),)),
            {"at": 0.7 * H},
            ["renew old"],
        ),
        (source(lease(), old=(replaced(until=NOW + 300),)), {"at": 300, "verified": True}, []),
        (source(lease(), old=(replaced(until=NOW + 300),)), {"at": 301}, ["revoke old"]),
        (source(lease(), old=(replaced(lease("x", expires_at=NOW)),)), {}, ["revoke old"]),
        # the owner of a lease in its grace has to outlive it
        (
            source(lease(), old=(replaced(lease("x", owner_expires_at=NOW + 60), until=NOW + 300),)),
            {"at": 31},
            ["renew-owner old"],
        ),
        # without a current lease the Secret may carry the old one, unless the object has let go of the source
        (source(old=(replaced(),)), {"verified": True}, ["mint"]),
        (source(old=(replaced(),)), {"verified": True, "wanted": None}, ["shrink old"]),
    ],
)
def test_which_steps_are_due_and_in_which_order(held, more, steps):
    assert due(held, **more) == steps


@pytest.mark.parametrize(
    ("held", "at"),
    [
        (source(lease(renewable=False)), 0.5 * H),
        (source(lease(max_expires_at=NOW + H)), 0.5 * H),
        (source(lease(), old=(replaced(lease("x", renewable=False)),)), 0.1 * H),
        (source(lease(), old=(replaced(lease("x", max_expires_at=NOW + H)),)), 0.1 * H),
        (source(lease(), old=(replaced(lease("x", kept=False)),)), 0.1 * H),
        (source(lease("", expires_at=NOW), old=()), 0.1 * H),
        (source(lease(owner=SecretBytes(""), owner_expires_at=NOW + 2 * H, owner_period=0.0)), 0.5 * H),
    ],
)
def test_what_waits_waits_long(held, at):
    """No state of a lease asks for one look after the other."""
    look = next_look(held, at=at)
    assert look is None or look > NOW + at + 0.1 * H


def test_equal_leases_do_not_renew_in_one_moment():
    times = {upkeep.renews_at(lease(), TERMS, f"uid-{index}") for index in range(50)}
    assert len(times) == 50
    assert all(0.60 * H < at - NOW <= 0.66 * H for at in times)


@pytest.mark.parametrize(("share", "latest"), [(0.66, 0.66), (0.99, 0.9), (0.01, 0.05)])
def test_a_renewal_comes_neither_at_once_nor_at_the_last_moment(share, latest):
    terms = replace(TERMS, renew_at=share)
    at = upkeep.renews_at(lease(), terms, "uid")
    assert 0.05 * H <= at - NOW <= latest * H


@pytest.mark.parametrize(
    ("rotate_before", "life", "at"),
    [(900.0, H, H - 900.0), (H, H, H * 2 / 3), (900.0, 60.0, 40.0), (0.0, H, H - 5)],
)
def test_rotation_leaves_most_of_the_life_to_a_lease(rotate_before, life, at):
    terms = replace(TERMS, rotate_before=rotate_before)
    assert upkeep.rotates_at(lease(max_expires_at=NOW + life), terms, "uid") == pytest.approx(NOW + at)


def test_leases_that_nobody_keeps_are_replaced_at_moments_of_their_own():
    times = [upkeep.rotates_at(lease(kept=False), TERMS, f"uid-{index}") - NOW for index in range(100)]
    assert min(times) >= 0.25 * H
    assert max(times) < 0.75 * H
    assert max(times) - min(times) > 0.4 * H


# --------------------------------------------------------------------------------------------------------- simulation


@dataclass
class Bank:
    """A backend that grants what it grants: one role, one kind of owner."""

    ttl: float
    max_ttl: float
    owner_ttl: float
    owner_max: float | None = None
    """Life of an owner that has an end; None for a periodic one."""
    renewable_owner: bool = True

    def mint(self, now):
        self.issued, self.ends, self.owner_issued, self.owner_ends = now, now + self.ttl, now, now + self.owner_ttl
        fresh = lease(
            f"lease at {now}",
            issued_at=now,
            duration=self.ttl,
            expires_at=now + self.ttl,
            renewed_at=now,
            owner_expires_at=now + self.owner_ttl,
            owner_period=self.owner_ttl,
            owner_renewed_at=now,
        )
        return fresh if self.renewable_owner else transitions.owner_fixed(fresh)

    def renew(self, held, now):
        # a batch owner caps the grant; a service owner does not, however soon it ends
        caps = [self.issued + self.max_ttl, *([] if self.renewable_owner else [self.owner_ends])]
        ttl = min(held.duration, min(caps) - now)
        self.ends = now + ttl
        return transitions.renewed(held, ttl=ttl, capped=ttl < held.duration - 1, now=now)

    def renew_owner(self, held, now):
        ttl = (
            self.owner_ttl if self.owner_max is None else min(self.owner_ttl, self.owner_issued + self.owner_max - now)
        )
        self.owner_ends = now + ttl
        return transitions.owner_renewed(held, ttl=ttl, now=now)

    def alive_until(self):
        owner_ends = (
            self.owner_ends if self.owner_max is None else min(self.owner_ends, self.owner_issued + self.owner_max)
        )
        return min(self.ends, owner_ends, self.issued + self.max_ttl)


@dataclass
class Story:
    """What happened to one source over time: every step succeeds, and a mint takes its time to be published."""

    bank: Bank
    terms: LeaseTerms
    now: float = NOW
    looks: int = 0
    mints: int = 0

    def run(self, seconds):
        held, end, lived = None, self.now + seconds, []
        while self.now < end:
            self.looks += 1
            moment = Moment(self.terms, "uid/dataFrom[0]", self.now, verified=True)
            plan = upkeep.steps(held, "h", moment)[0]
            if plan.step is Step.KEEP:
                assert plan.due is not None
                assert plan.due > self.now
                if held.current is not None:
                    lived.append(self.bank.alive_until() - plan.due)
                self.now = plan.due
            elif plan.step is Step.MINT:
                self.mints += 1
                if held is not None and held.current is not None:
                    assert self.bank.alive_until() > self.now, "minted after the end"
                held = transitions.minted(held, self.bank.mint(self.now), source_hash="h", connection={}, now=self.now)
            elif plan.old is not None:
                held = transitions.ended(held, plan.old)
            elif plan.step is Step.RENEW:
                held = transitions.learned(held, self.bank.renew(held.current, self.now))
            elif plan.step is Step.RENEW_OWNER:
                held = transitions.learned(held, self.bank.renew_owner(held.current, self.now))
            else:
                raise AssertionError(f"{plan.step} although every renewal succeeds")
        return lived


durations = st.floats(min_value=5.0, max_value=7 * 86_400.0)
owners = st.sampled_from(["periodic", "walled", "batch"])


@given(
    ttl=durations,
    max_ttl=durations,
    owner_ttl=durations,
    kind=owners,
    renew_at=st.floats(min_value=0.01, max_value=0.99),
    before=st.floats(min_value=1.0, max_value=3 * 86_400.0),
)
def test_the_end_never_comes_while_renewals_succeed(ttl, max_ttl, owner_ttl, kind, renew_at, before):
    ttl = min(ttl, max_ttl)
    bank = Bank(ttl, max_ttl, owner_ttl)
    if kind == "walled":
        bank.owner_max = owner_ttl * 2
    elif kind == "batch":
        bank = Bank(min(ttl, owner_ttl), max_ttl, owner_ttl, owner_max=owner_ttl, renewable_owner=False)
    story = Story(bank, LeaseTerms(renew_at=renew_at, rotate_before=before))
    shortest = min(bank.ttl, max_ttl, owner_ttl)
    life = min(max_ttl, bank.owner_max or max_ttl)
    lived = story.run(10 * shortest)
    assert all(left > 0 for left in lived), "at rest past the end"
    assert story.mints <= 2 + 10 * shortest / (life / 2), "rotation follows rotation"
    assert story.looks < 1_000, "one look after the other"


@pytest.mark.parametrize(
    ("bank", "terms", "mints"),
    [
        # a day of one-hour leases without maximum in sight: one mint
        (Bank(H, 30 * 86_400.0, 86_400.0), TERMS, 1),
        # the maximum is learned by the first lease and known to the next ones
        (Bank(H, 4 * H, 86_400.0), TERMS, 7),
        # a maximum life that is shorter than rotateBefore
        (Bank(600.0, 600.0, 86_400.0), replace(TERMS, rotate_before=H), 216),
    ],
)
def test_mints_of_one_day(bank, terms, mints):
    story = Story(bank, terms)
    story.run(86_400.0)
    assert story.mints == mints
