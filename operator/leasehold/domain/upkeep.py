"""Which steps a lease asks for at a moment: to be renewed, looked up, replaced, shortened, revoked.

The order of the steps is the rule (``docs/explanation/leases.md``), and it is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from leasehold.domain.lease import Lease, LeaseTerms, OldLease, SourceRecord, spread
from leasehold.domain.reasons import Why

OWNER_RENEW_AT = 0.5
"""Share of the owner token's life after which it is renewed: its death ends the lease whatever its own TTL says."""
LATEST_RENEWAL = 0.9
"""Latest share of the life for a renewal, whatever spec.lease.renewAt says: one try must fit before the end."""
JITTER = 0.05
"""Largest share of the life by which a renewal is moved ahead, so that equal leases do not renew in one moment."""
LEAD_SHARE = 1 / 3
"""Most of a lease's maximum life that may be given to rotateBefore; beyond, rotation would follow rotation."""
LEAST_LEAD = 5.0
"""Least seconds before the end at which the successor is minted, whatever spec.lease.rotateBefore says."""
STRAY_MARGIN = 1.0
"""Seconds after an old lease's end at which its owner is revoked."""


class Step(Enum):
    """What one leased source needs now."""

    KEEP = "keep"
    MINT = "mint"
    RENEW = "renew"
    RENEW_OWNER = "renew-owner"
    LOOK_UP = "look-up"
    SHRINK = "shrink"
    REVOKE = "revoke"
    CLEAR_INTENT = "clear-intent"


@dataclass(frozen=True, slots=True)
class Plan:
    """A step of one source, why, and when to look again if it is KEEP."""

    step: Step
    why: Why | None = None
    due: float | None = None
    old: OldLease | None = None
    """The replaced lease that the step is about; None for the current one."""


def renews_at(lease: Lease, terms: LeaseTerms, uid: str) -> float | None:
    """Return when the lease is renewed, None where it is not: it cannot be, or its maximum life is reached.

    A share of the life that the last grant gave, a little earlier by jitter.
    """
    if not (lease.lease_id and lease.kept) or _at_last_grant(lease):
        return None
    granted = max(lease.expires_at - lease.renewed_at, 0.0)
    share = max(min(terms.renew_at, LATEST_RENEWAL) - spread(uid, JITTER), 0.05)
    return lease.renewed_at + granted * share


def _at_last_grant(lease: Lease) -> bool:
    """Tell whether no renewal would move the lease's end, by more than the second to which backends count."""
    return not lease.renewable or (lease.final_end is not None and lease.expires_at >= lease.final_end - 1.0)


def owner_renews_at(lease: Lease) -> float | None:
    """Return when the owner token is renewed, None where it is not."""
    if lease.owner_expires_at is None or lease.owner_period <= 0:
        return None
    if not (lease.lease_id and lease.owner and lease.kept):
        return None
    return lease.owner_renewed_at + (lease.owner_expires_at - lease.owner_renewed_at) * OWNER_RENEW_AT


def rotates_at(lease: Lease, terms: LeaseTerms, uid: str) -> float | None:
    """Return when the successor is minted, None while nothing is known to end the lease for good.

    The lead is ``rotateBefore``, but never more than a third of the whole life. A lease that is renewed no more
    rotates before its own end; one whose owner nobody keeps, at a point spread over what is left of it.
    """
    if not lease.lease_id:
        return None
    if not lease.kept:
        left = max(lease.ends_at - lease.renewed_at, 0.0)
        return lease.renewed_at + left * (0.25 + spread(uid, 0.5))
    ends = [lease.final_end, lease.expires_at if _at_last_grant(lease) else None]
    end = min((end for end in ends if end is not None), default=None)
    if end is None:
        return None
    life = max(end - lease.issued_at, 0.0)
    return end - min(max(terms.rotate_before, LEAST_LEAD), life * LEAD_SHARE)


@dataclass(frozen=True, slots=True)
class Moment:
    """What beside its record decides about the steps of a source."""

    terms: LeaseTerms
    uid: str
    """Names object and source: what the jitter hangs on."""
    now: float
    verified: bool = False
    """The Secret carries the current lease, and those who use it run with it."""
    unheard: bool = False
    """Looking up the lease has failed again and again."""


def mint_due(held: SourceRecord | None, wanted_hash: str | None, moment: Moment) -> Why | None:
    """Return why a credential is to be minted now, None where none is.

    ``wanted_hash`` is the hash of the source as the object says it today; None where the object does not name the
    source, or nobody knows where it is. Nothing is minted beside an intent, whose login may have minted already, nor
    for a lease that has ended by our figures alone: these may be older than the backend's, so it is looked up first.
    """
    if wanted_hash is None or (held is not None and held.intent is not None):
        return None
    if held is None or held.current is None:
        return Why.LEASE_GONE if held is not None and held.lost else Why.LEASE_MISSING
    if held.source_hash != wanted_hash:
        return Why.SOURCE_CHANGED
    if held.current.has_ended(now=moment.now):
        return Why.LEASE_GONE if moment.unheard else None
    rotation = rotates_at(held.current, moment.terms, moment.uid)
    if rotation is None or moment.now < rotation:
        return None
    return Why.LEASE_ROTATION if held.current.kept else Why.LEASE_UNKEPT


def steps(held: SourceRecord | None, wanted_hash: str | None, moment: Moment) -> tuple[Plan, ...]:
    """Return every step that is due, most urgent first; KEEP with the time of the next one stands last.

    The order is the rule: what keeps a credential alive comes before what may fail for other reasons, strays go
    before a mint, and a mint comes before the end of what it replaces. Steps do not wait for each other: one that
    fails must not cost the others, and a mint that cannot succeed must not cost the lease that it would replace.
    """
    due: list[Plan] = []
    later: list[float] = []
    if held is not None:
        if held.current is not None:
            _alive(held.current, moment, due, later, changed=wanted_hash not in (None, held.source_hash))
        for old in held.old:
            _alive_old(old, moment, due, later)
        if held.intent is not None:
            due.append(Plan(Step.CLEAR_INTENT))
    why = mint_due(held, wanted_hash, moment)
    if why is not None:
        due.append(Plan(Step.MINT, why))
    elif held is not None and held.current is not None and wanted_hash is not None:
        rotation = rotates_at(held.current, moment.terms, moment.uid)
        later += [] if rotation is None or rotation <= moment.now else [rotation]
    if held is not None:
        # while nothing is current, an old lease may be what the Secret carries, unless the source is no longer named
        verified = moment.verified and (held.current is not None or wanted_hash is None)
        for old in held.old:
            _end(old, moment, due, later, verified=verified)
    return (*due, Plan(Step.KEEP, due=min(later, default=None)))


def _alive(lease: Lease, moment: Moment, due: list[Plan], later: list[float], *, changed: bool) -> None:
    """Add what keeps the current lease alive; one that is to be replaced anyway is not looked up first."""
    if lease.has_ended(now=moment.now):
        due += [] if changed else [Plan(Step.LOOK_UP)]
        return
    later += [lease.ends_at] if lease.lease_id else []
    for step, at in (
        (Step.RENEW_OWNER, owner_renews_at(lease)),
        (Step.RENEW, renews_at(lease, moment.terms, moment.uid)),
    ):
        if at is not None and moment.now >= at:
            due.append(Plan(step))
        elif at is not None:
            later.append(at)


def _alive_old(old: OldLease, moment: Moment, due: list[Plan], later: list[float]) -> None:
    """Add what keeps a replaced lease alive: all of it until its rollout is verified, its owner until it retires."""
    if old.lease.has_ended(now=moment.now):
        return
    renewal = renews_at(old.lease, moment.terms, moment.uid) if old.until is None else None
    for step, at in ((Step.RENEW_OWNER, owner_renews_at(old.lease)), (Step.RENEW, renewal)):
        if at is None or (old.until is not None and moment.now >= old.until):
            continue
        if moment.now >= at:
            due.append(Plan(step, old=old))
        else:
            later.append(at)


def _end(old: OldLease, moment: Moment, due: list[Plan], later: list[float], *, verified: bool) -> None:
    """Add what ends a replaced lease."""
    over = old.until + STRAY_MARGIN if old.until is not None else old.lease.ends_at
    if moment.now >= over:
        due.append(Plan(Step.REVOKE, old=old))
        return
    later.append(over)
    if old.until is None and verified:
        due.append(Plan(Step.SHRINK, old=old))
