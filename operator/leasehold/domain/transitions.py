"""How the record of a leased source changes: by a mint, by each answer about a lease, by the end of one.

Pure: an answer arrives as plain figures, ``now`` is the moment at which it was asked for, so that no end is promised
later than the backend's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from leasehold.domain.lease import Intent, Lease, OldLease, SourceRecord
from leasehold.domain.values import SecretBytes

WALL = 0.9
"""Share of its usual life below which a renewal of an owner shows that it has a maximum life."""


def minted(
    held: SourceRecord | None, lease: Lease, *, source_hash: str, connection: Mapping[str, object], now: float
) -> SourceRecord:
    """Return the record after a mint: the new lease is current, the one before waits for its rollout.

    What ended by our figures is let go at once, but not forgotten: its owner is revoked.
    """
    before = held.current if held is not None else None
    old = held.old if held is not None else ()
    if before is not None and before.lease_id:
        old = (*old, OldLease(before, replaced_at=now, until=now if before.has_ended(now=now) else None))
    life = held.life if held is not None and held.source_hash == source_hash else None
    if life is not None and lease.lease_id:
        lease = replace(lease, max_expires_at=_earlier(lease.max_expires_at, lease.issued_at + life))
    return SourceRecord(source_hash=source_hash, connection=connection, current=lease, old=old, life=life)


def renewed(lease: Lease, *, ttl: float, capped: bool, now: float) -> Lease:
    """Return the lease after a renewal that granted ``ttl`` seconds.

    A capped grant shows the maximum life; one that goes beyond it shows that what was known of it is no longer true.
    """
    ends = now + ttl
    maximum = lease.max_expires_at
    if capped:
        maximum = ends
    elif maximum is not None and ends > maximum + 1.0:
        maximum = None
    return replace(lease, expires_at=ends, renewed_at=now, max_expires_at=maximum)


def owner_renewed(lease: Lease, *, ttl: float, now: float) -> Lease:
    """Return the lease after its owner was renewed for ``ttl`` seconds.

    An owner that gets less than before nears a maximum life of its own, which is then that of the lease.
    """
    renewed = replace(lease, owner_expires_at=now + ttl, owner_renewed_at=now, owner_period=ttl)
    return owner_fixed(renewed) if ttl < lease.owner_period * WALL else renewed


def owner_fixed(lease: Lease) -> Lease:
    """Return the lease whose owner cannot be renewed (any more): its end is one that no renewal moves."""
    return replace(lease, owner_period=0.0)


def _earlier(first: float | None, second: float) -> float:
    return second if first is None else min(first, second)


def seen(lease: Lease, *, ttl: float, now: float) -> Lease:
    """Return a lease that had ended by our figures and was found alive with ``ttl`` seconds left."""
    maximum = lease.max_expires_at
    return replace(
        lease,
        expires_at=now + ttl,
        renewed_at=min(now, now + ttl - lease.duration),  # what is left is the rest of a grant
        max_expires_at=None if maximum is not None and maximum <= now else maximum,
    )


def unkept(lease: Lease, *, now: float) -> Lease:
    """Return the lease whose owner nobody can renew: it is replaced at a point spread over what is left of it."""
    return replace(lease, kept=False, renewed_at=now)


def learned(held: SourceRecord, lease: Lease) -> SourceRecord:
    """Return the record with its current lease replaced, remembering the maximum life where it has shown itself."""
    life = held.life
    if lease.max_expires_at is not None:
        life = lease.max_expires_at - lease.issued_at
    elif held.current is not None and held.current.max_expires_at is not None:
        life = None  # it went beyond what we took for its maximum
    return replace(held, current=lease, life=life)


def lost(held: SourceRecord, *, now: float, ownerless: bool = False) -> SourceRecord:
    """Return the record after its current lease ended before its time; its values stay in the Secret only.

    Its owner may live on, and is revoked; unless it was its own end that ended the lease.
    """
    old = held.old
    if held.current is not None and held.current.lease_id and not ownerless:
        old = (*old, OldLease(held.current, replaced_at=now, until=now))
    return replace(held, current=None, old=old, lost=True)


def caught_up(current: Lease, *, expires_at: float | None, owner_expires_at: float | None) -> Lease:
    """Return the lease with the later times that a status shows: renewals are not recorded, the status has them."""
    if expires_at is not None and expires_at > current.expires_at:
        current = replace(current, expires_at=expires_at, renewed_at=expires_at - current.duration)
    # an owner without an end of its own is a matter of the record, not of the status
    known = current.owner_expires_at
    if owner_expires_at is not None and known is not None and owner_expires_at > known:
        renewed_at = owner_expires_at - current.owner_period
        current = replace(current, owner_expires_at=owner_expires_at, owner_renewed_at=renewed_at)
    return current


def shrunk(held: SourceRecord, old: OldLease, *, until: float) -> SourceRecord:
    """Return the record with the grace of an old lease set."""
    return replaced(held, old, replace(old, until=until))


def replaced(held: SourceRecord, old: OldLease, new: OldLease) -> SourceRecord:
    """Return the record with one old lease replaced."""
    return replace(held, old=tuple(new if other is old else other for other in held.old))


def ended(held: SourceRecord, old: OldLease) -> SourceRecord:
    """Return the record without one old lease."""
    return replace(held, old=tuple(other for other in held.old if other is not old))


def let_go(held: SourceRecord, *, now: float) -> SourceRecord:
    """Return the record of a source that the object no longer names: its lease is on its way out."""
    if held.current is None:
        return held
    old = (*held.old, OldLease(held.current, replaced_at=now)) if held.current.lease_id else held.old
    return replace(held, current=None, old=old)


def abandoned(held: SourceRecord, *, now: float) -> SourceRecord:
    """Return the record whose intent nobody may revoke: a stray that is remembered until it has ended by itself."""
    intent = held.intent
    if intent is None:
        return held
    stray = Lease(
        lease_id=SecretBytes(b""),
        owner=intent.owner,
        values={},
        issued_at=intent.at,
        duration=intent.ttl,
        expires_at=intent.at + intent.ttl,
        renewed_at=intent.at,
        renewable=False,
        connection=held.connection,
    )
    return replace(held, intent=None, old=(*held.old, OldLease(stray, replaced_at=now, until=now)))


def intended(held: SourceRecord, owner: SecretBytes, *, ttl: float, now: float) -> SourceRecord:
    """Return the record with an intent: what may be minted under this owner is ours to clear."""
    return replace(held, intent=Intent(owner, now, ttl))


def lasting(before: SourceRecord, after: SourceRecord) -> bool:
    """Tell whether something changed that must survive a restart; times of renewals stand in the status."""
    return _durable(before) != _durable(after)


def _durable(held: SourceRecord) -> tuple[object, ...]:
    return (held.current is None, held.intent is None, held.life, held.lost, tuple(old.until for old in held.old))
