"""The lease machine's knowledge: what is recorded of a lease, when it is renewed, replaced, retired.

The machine is the one of ``docs/explanation/leases.md``: log in as the tenant, record the owner's accessor (the
intent), mint, record the lease, write the Secret, renew through the operator's identity, replace before the maximum
life, shrink the old lease to its grace once the rollout is verified, revoke its owner after that.

Times are seconds since the epoch on our own clock, computed from the TTLs that the backend answers, so that no two
clocks have to agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from leasehold.domain.reasons import Why
from leasehold.domain.values import SecretBytes, SecretMap

OWNER_RENEW_AT = 0.5
"""Share of the owner token's life after which it is renewed: its death ends the lease whatever its own TTL says."""
RENEW_AT = 0.66
"""Default of spec.lease.renewAt."""
JITTER = 0.05
"""Largest share of the life by which a renewal is moved ahead, so that equal leases do not renew in one moment."""
LEAD_SHARE = 1 / 3
"""Most of a lease's maximum life that may be given to rotateBefore; beyond, rotation would follow rotation."""
RETRY_FLOOR = 0.5
"""Least seconds between two tries of a failing renewal."""
STRAY_MARGIN = 1.0
"""Seconds after an old lease's end at which its owner is revoked."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """spec.lease with defaults, as shares and seconds."""

    renew_at: float = RENEW_AT
    rotate_before: float = 15 * 60.0
    grace: float = 5 * 60.0
    on_delete: str = "Revoke"
    """Revoke | Expire | Keep."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease that we hold or are about to let go, with its values: a re-render must not mint."""

    lease_id: SecretBytes
    owner: SecretBytes
    """Accessor of the owner token; empty for a batch owner."""
    values: SecretMap
    issued_at: float
    duration: float
    """Seconds granted at the mint: the increment asked for at renewals."""
    expires_at: float
    """End of the lease by its own TTL."""
    renewed_at: float
    renewable: bool
    owner_expires_at: float | None = None
    """End of the owner token, None where it does not end."""
    owner_period: float = 0.0
    """Seconds that a renewal of the owner gives."""
    owner_renewed_at: float = 0.0
    max_expires_at: float | None = None
    """issue + max TTL, once the backend has shown it."""
    kept: bool = True
    """False once nobody can renew the owner."""

    @property
    def ends_at(self) -> float:
        """Effective end: the earliest of lease, owner token and maximum life."""
        return min(end for end in (self.expires_at, self.owner_expires_at, self.max_expires_at) if end is not None)


@dataclass(frozen=True, slots=True)
class OldLease:
    """A replaced lease on its way out."""

    lease: Lease
    replaced_at: float
    until: float | None = None
    """End of its grace; None until the rollout that replaces it is verified."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An owner token that may have minted: written before the mint, so that a crash leaves no stray."""

    owner: SecretBytes
    at: float


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Everything held for one leased source of an ExternalSecret."""

    source_hash: str
    """Hash of what the source says; another hash means another credential."""
    connection: Mapping[str, object]
    """How the keeper reaches the backend (ports.Connection as a plain mapping)."""
    intent: Intent | None = None
    current: Lease | None = None
    old: tuple[OldLease, ...] = ()
    lost: bool = False
    """The last lease ended before its time; the next mint says so."""
    life: float | None = None
    """Seconds of the maximum life, learned from the backend; the next lease knows it from the start."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The record of one ExternalSecret, kept as a Secret in the operator's own namespace."""

    uid: str
    namespace: str
    name: str
    sources: Mapping[str, SourceRecord] = field(default_factory=dict)
    """Source id (for example dataFrom[0]) -> its record."""
    on_delete: str = "Revoke"
    """spec.lease.onDelete as last seen: the object is gone when it is needed."""
    orphaned_at: float | None = None
    """When the ExternalSecret went while its leases could not be revoked."""

    def with_source(self, source: str, record: SourceRecord | None) -> LeaseRecord:
        """Return the record with one source replaced (None removes it)."""
        rest = {name: held for name, held in self.sources.items() if name != source}
        return replace(self, sources={**rest, source: record} if record is not None else rest)

    @property
    def empty(self) -> bool:
        """True where nothing is held any more."""
        return not any(held.current or held.old or held.intent for held in self.sources.values())


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
    """The next step of one source, why, and when to look again if it is KEEP."""

    step: Step
    why: Why | None = None
    due: float | None = None
    old: OldLease | None = None


def spread(uid: str, share: float) -> float:
    """Return a stable number in [0, share) for the object: jitter without randomness."""
    digest = hashlib.blake2b(uid.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * share


def renews_at(lease: Lease, terms: LeaseTerms, uid: str) -> float:
    """Return when the lease is renewed: a share of the life that the last grant gave, a little earlier by jitter."""
    granted = max(lease.expires_at - lease.renewed_at, 0.0)
    return lease.renewed_at + granted * max(terms.renew_at - spread(uid, JITTER), 0.05)


def owner_renews_at(lease: Lease) -> float | None:
    """Return when the owner token is renewed, None where it does not end."""
    if lease.owner_expires_at is None:
        return None
    return lease.owner_renewed_at + (lease.owner_expires_at - lease.owner_renewed_at) * OWNER_RENEW_AT


def rotates_at(lease: Lease, terms: LeaseTerms, uid: str) -> float | None:
    """Return when the successor is minted, None while nothing is known to end the lease for good.

    The lead is ``rotateBefore``, but never more than a third of the whole life. A lease that cannot be renewed
    rotates before its own end; one whose owner nobody keeps, at a point spread over what is left of it.
    """
    if not lease.kept:
        left = max(lease.ends_at - lease.renewed_at, 0.0)
        return lease.renewed_at + left * (0.25 + spread(uid, 0.5))
    end = lease.max_expires_at if lease.renewable else lease.expires_at
    if end is None:
        return None
    life = max(end - lease.issued_at, 0.0)
    return end - min(terms.rotate_before, life * LEAD_SHARE)


def plan(held: SourceRecord | None, wanted_hash: str, *, terms: LeaseTerms, uid: str, now: float) -> Plan:
    """Return what the source needs now.

    ``wanted_hash`` is the hash of the source as the object says it today. The order is the rule: strays go first,
    then what is missing, then what is lost, then what must be kept alive, then what is on its way out.
    """
    if held is not None and held.intent is not None:
        return Plan(Step.CLEAR_INTENT)
    if held is None or held.current is None:
        return Plan(Step.MINT, Why.LEASE_GONE if held is not None and held.lost else Why.LEASE_MISSING)
    lease = held.current
    if held.source_hash != wanted_hash:
        return Plan(Step.MINT, Why.SOURCE_CHANGED)
    if lease.lease_id and now >= lease.ends_at:
        # Our figures may be older than the backend's (a renewal before a crash): look before replacing.
        return Plan(Step.LOOK_UP)
    rotation = rotates_at(lease, terms, uid) if lease.lease_id else None
    if rotation is not None and now >= rotation:
        return Plan(Step.MINT, Why.LEASE_ROTATION if lease.kept else Why.LEASE_UNKEPT)
    return _keep(held, lease, terms=terms, uid=uid, now=now, rotation=rotation)


def _keep(held: SourceRecord, lease: Lease, *, terms: LeaseTerms, uid: str, now: float, rotation: float | None) -> Plan:
    """Return the next renewal or retirement, or the time to look again."""
    dues = [] if rotation is None else [rotation]
    if lease.lease_id and lease.kept:
        owner_due = owner_renews_at(lease)
        if owner_due is not None:
            if now >= owner_due:
                return Plan(Step.RENEW_OWNER)
            dues.append(owner_due)
        at_maximum = lease.max_expires_at is not None and lease.expires_at >= lease.max_expires_at - 1.0
        if lease.renewable and not at_maximum:
            due = renews_at(lease, terms, uid)
            if now >= due:
                return Plan(Step.RENEW)
            dues.append(due)
    for old in held.old:
        if old.until is None:
            if now >= old.lease.ends_at:
                return Plan(Step.REVOKE, old=old)
            due = renews_at(old.lease, terms, uid)
            if now >= due and old.lease.renewable and old.lease.kept and now < old.lease.ends_at:
                return Plan(Step.RENEW, old=old)
            dues.append(min(max(due, now + RETRY_FLOOR), old.lease.ends_at))
        elif now >= old.until + STRAY_MARGIN:
            return Plan(Step.REVOKE, old=old)
        else:
            dues.append(old.until + STRAY_MARGIN)
    return Plan(Step.KEEP, due=min(dues, default=None))


def minted(
    held: SourceRecord | None, lease: Lease, *, source_hash: str, connection: Mapping[str, object], now: float
) -> SourceRecord:
    """Return the record after a mint: the new lease is current, the one before waits for its rollout."""
    old = held.old if held is not None else ()
    if held is not None and held.current is not None and held.current.lease_id and now < held.current.ends_at:
        old = (*old, OldLease(held.current, replaced_at=now))
    life = held.life if held is not None and held.source_hash == source_hash else None
    if life is not None and lease.lease_id:
        lease = replace(lease, max_expires_at=lease.issued_at + life)
    return SourceRecord(source_hash=source_hash, connection=connection, current=lease, old=old, life=life)


def renewed(lease: Lease, *, ttl: float, capped: bool, now: float) -> Lease:
    """Return the lease after a renewal that granted ``ttl`` seconds; a capped grant shows the maximum life."""
    ends = now + ttl
    return replace(
        lease, expires_at=ends, renewed_at=now, max_expires_at=ends if capped else lease.max_expires_at, kept=True
    )


def owner_renewed(lease: Lease, *, ttl: float, now: float) -> Lease:
    """Return the lease after its owner was renewed for ``ttl`` seconds."""
    return replace(lease, owner_expires_at=now + ttl, owner_renewed_at=now, owner_period=ttl)


def learned_life(held: SourceRecord, lease: Lease) -> SourceRecord:
    """Return the record with its current lease replaced, remembering the maximum life where it has shown itself."""
    life = held.life if lease.max_expires_at is None else lease.max_expires_at - lease.issued_at
    return replace(held, current=lease, life=life)


def retiring(held: SourceRecord, *, grace: float, now: float) -> SourceRecord:
    """Return the record with every old lease's grace set: its rollout is verified."""
    return replace(
        held,
        old=tuple(
            old if old.until is not None else replace(old, until=min(now + grace, old.lease.ends_at))
            for old in held.old
        ),
    )


def lost(held: SourceRecord) -> SourceRecord:
    """Return the record after its current lease ended before its time; its values stay in the Secret only."""
    return replace(held, current=None, lost=True)


def caught_up(current: Lease, *, expires_at: float | None, owner_expires_at: float | None) -> Lease:
    """Return the lease with the later times that a status shows: renewals are not recorded, the status has them."""
    if expires_at is not None and expires_at > current.expires_at:
        current = replace(current, expires_at=expires_at, renewed_at=expires_at - current.duration)
    if owner_expires_at is not None and (current.owner_expires_at or 0.0) < owner_expires_at:
        renewed_at = owner_expires_at - current.owner_period
        current = replace(current, owner_expires_at=owner_expires_at, owner_renewed_at=renewed_at)
    return current


def ended(held: SourceRecord, old: OldLease) -> SourceRecord:
    """Return the record without one old lease."""
    return replace(held, old=tuple(other for other in held.old if other is not old))


def let_go(held: SourceRecord, *, now: float) -> SourceRecord:
    """Return the record of a source that the object no longer names: its lease is on its way out."""
    if held.current is None:
        return held
    return replace(held, current=None, old=(*held.old, OldLease(held.current, replaced_at=now)))
