"""The hands of the lease machine on what is held: renew, look up, shrink, revoke. How one is minted is in ``minting``.

What to do is decided in ``domain.upkeep``, and how an answer changes the record in ``domain.transitions``.
"""

from __future__ import annotations

from dataclasses import replace

from leasehold.api.externalsecret import ExternalSecret
from leasehold.domain import transitions
from leasehold.domain.decide import Verdict
from leasehold.domain.errors import Bug, Denied, DomainError, Misconfigured
from leasehold.domain.facts import Key
from leasehold.domain.lease import Lease, LeaseRecord, OldLease, SourceRecord
from leasehold.domain.ports import Connection, Handle, Keeper, LeaseOutcome, Renewal
from leasehold.domain.reasons import EventReason
from leasehold.domain.upkeep import Step
from leasehold.flows import look, minting
from leasehold.flows.house import House

_ENDED = frozenset({LeaseOutcome.GONE, LeaseOutcome.OWNERLESS})


async def keep(house: House, secret: ExternalSecret, record: LeaseRecord, verdict: Verdict) -> None:
    """Do the one step that the verdict names, and record or note what came of it.

    Raises:
        DomainError: the backend gave no verdict about the lease; it is tried again.
    """
    held = record.sources[verdict.source]
    if verdict.step is Step.CLEAR_INTENT:
        await minting.clear(house, record.uid, verdict.source)
        return
    if verdict.old is not None:
        changed = await _old(house, secret, held, verdict.old, verdict.step)
        if verdict.step is Step.REVOKE:
            _tell_retired(house, secret, verdict.source, verdict.old)
    elif verdict.step is Step.RENEW_OWNER:
        changed = await _renew_owner(house, held)
    elif verdict.step is Step.LOOK_UP:
        changed = await _look_up(house, held)
    else:
        changed = await _renew(house, held)
    if transitions.lasting(held, changed):
        await minting.keep_record(house, record, verdict.source, changed)
    else:
        house.records.note(record.with_source(verdict.source, changed))


async def _keeper(house: House, held: SourceRecord, lease: Lease) -> Keeper:
    return await house.registry.keeper(Connection(**(lease.connection or held.connection)))  # type: ignore[arg-type]


def _handle(lease: Lease) -> Handle:
    return Handle(lease.lease_id, lease.owner)


def _current(held: SourceRecord) -> Lease:
    if held.current is None:
        raise Bug("a step was asked of a lease that is not held")
    return held.current


# --------------------------------------------------------------------------------------------------------- the current


async def _renew(house: House, held: SourceRecord) -> SourceRecord:
    current = _current(held)
    keeper = await _keeper(house, held, current)
    now = house.clock.now()
    answer = await keeper.renew(_handle(current), max(current.duration, 1.0))
    result = "capped" if answer.capped and answer.outcome is LeaseOutcome.ALIVE else answer.outcome.value
    house.signals.lease_renewed("ok" if result == "alive" else result)
    if answer.outcome in _ENDED:
        return _lost(held, answer, now=now)
    return transitions.learned(held, _renewed(current, answer, now=now))


def _lost(held: SourceRecord, answer: Renewal, *, now: float) -> SourceRecord:
    return transitions.lost(held, now=now, ownerless=answer.outcome is LeaseOutcome.OWNERLESS)


def _renewed(lease: Lease, answer: Renewal, *, now: float) -> Lease:
    """Return a lease that lives on after the answer to its renewal."""
    if answer.outcome is LeaseOutcome.ALIVE:
        return transitions.renewed(lease, ttl=answer.ttl, capped=answer.capped, now=now)
    if answer.outcome is LeaseOutcome.MAXED:
        return replace(lease, max_expires_at=lease.expires_at)
    if answer.outcome is LeaseOutcome.FIXED:
        return replace(lease, renewable=False)
    return transitions.unkept(lease, now=now)


async def _renew_owner(house: House, held: SourceRecord) -> SourceRecord:
    current = _current(held)
    keeper = await _keeper(house, held, current)
    now = house.clock.now()
    answer = await keeper.renew_owner(_handle(current))
    if answer.outcome is not LeaseOutcome.ALIVE:
        house.signals.lease_renewed(answer.outcome.value)
    if answer.outcome in _ENDED:
        return _lost(held, answer, now=now)
    return transitions.learned(held, _owner_renewed(current, answer, now=now))


def _owner_renewed(lease: Lease, answer: Renewal, *, now: float) -> Lease:
    """Return a lease that lives on after the answer to the renewal of its owner."""
    if answer.outcome is LeaseOutcome.ALIVE:
        return transitions.owner_renewed(lease, ttl=answer.ttl, now=now)
    if answer.outcome is LeaseOutcome.UNKEPT:
        return transitions.unkept(lease, now=now)
    return transitions.owner_fixed(lease)


async def _look_up(house: House, held: SourceRecord) -> SourceRecord:
    """Return the record of a lease that is over by our figures: alive with what the backend says is left, or lost."""
    current = _current(held)
    keeper = await _keeper(house, held, current)
    now = house.clock.now()
    try:
        answer = await keeper.look_up(_handle(current))
        if answer.outcome is LeaseOutcome.ALIVE:
            current = transitions.seen(current, ttl=answer.ttl, now=now)
            if current.owner_period > 0 and current.owner:
                answer = await keeper.renew_owner(_handle(current))
                current = _owner_renewed(current, answer, now=now)
    except (Denied, Misconfigured):
        return transitions.lost(held, now=now)  # nobody here may ask, so our figures stand
    if answer.outcome not in _ENDED and now < current.ends_at:
        return transitions.learned(held, current)
    house.signals.lease_renewed("gone")
    return _lost(held, answer, now=now)


# ------------------------------------------------------------------------------------------------------------- the old


async def _old(
    house: House, secret: ExternalSecret, held: SourceRecord, old: OldLease, step: Step | None
) -> SourceRecord:
    if step is Step.REVOKE:
        return await _retire(house, held, old)
    keeper = await _keeper(house, held, old.lease)
    now = house.clock.now()
    if step is Step.SHRINK:
        return await _shrink(house, secret, keeper, held, old)
    if step is Step.RENEW_OWNER:
        answer = await keeper.renew_owner(_handle(old.lease))
        lease = _owner_renewed(old.lease, answer, now=now)
    else:
        answer = await keeper.renew(_handle(old.lease), max(old.lease.duration, 1.0))
        lease = _renewed(old.lease, answer, now=now)
    if answer.outcome in _ENDED:
        return _over(held, old, answer, now=now)
    return transitions.replaced(held, old, replace(old, lease=lease))


def _over(held: SourceRecord, old: OldLease, answer: Renewal, *, now: float) -> SourceRecord:
    """Return the record after an old lease was found to be gone: its owner may live on, and is revoked."""
    if answer.outcome is LeaseOutcome.OWNERLESS:
        return transitions.ended(held, old)
    return transitions.shrunk(held, old, until=now)


async def _shrink(
    house: House, secret: ExternalSecret, keeper: Keeper, held: SourceRecord, old: OldLease
) -> SourceRecord:
    """Set the grace of an old lease in the backend itself: it holds even if we die right after.

    A lease that cannot be shortened gets its grace from us: its owner is revoked when that is over.
    """
    grace = max(look.terms(house, secret).grace, 1.0)
    now = house.clock.now()
    left = max(old.lease.ends_at - now, 0.0)
    if old.lease.renewable and old.lease.lease_id:
        answer = await keeper.renew(_handle(old.lease), grace)
        if answer.outcome in _ENDED:
            return _over(held, old, answer, now=now)
        left = answer.ttl if answer.outcome is LeaseOutcome.ALIVE else left
    return transitions.shrunk(held, old, until=now + min(left, grace))


async def _retire(house: House, held: SourceRecord, old: OldLease) -> SourceRecord:
    """Revoke the owner of an old lease, which clears strays too; once all has ended there is nothing to revoke."""
    now = house.clock.now()
    try:
        await _end(house, held, old.lease)
    except DomainError:
        if now < max(old.lease.expires_at, old.lease.owner_expires_at or 0.0):
            raise
    return transitions.ended(held, old)


def _tell_retired(house: House, secret: ExternalSecret, source: str, old: OldLease) -> None:
    if old.until is None or old.until <= old.replaced_at:
        return  # it had ended before, or was never used
    house.events.emit(
        look.key_of(secret),
        uid=secret.metadata.uid,
        reason=EventReason.LEASE_RETIRED,
        message=f"{source}: the replaced credential's grace has ended and it was revoked",
    )


async def _end(house: House, held: SourceRecord, lease: Lease) -> None:
    if lease.owner or lease.lease_id:
        keeper = await _keeper(house, held, lease)
        await keeper.revoke_owner(_handle(lease))


# ------------------------------------------------------------------------------------------------------------ release


async def release(house: House, record: LeaseRecord) -> None:
    """Revoke every owner that the record names; what was revoked is taken out of the record at once.

    Raises:
        DomainError: one could not be revoked; the record holds what is left.
    """
    for source, held in record.sources.items():
        if held.intent is not None and held.intent.owner:
            keeper = await house.registry.keeper(Connection(**held.connection))  # type: ignore[arg-type]
            await keeper.revoke_owner(Handle(minting.NO_LEASE, held.intent.owner))
        for lease in (*([held.current] if held.current is not None else []), *(old.lease for old in held.old)):
            await _end(house, held, lease)
        record = record.with_source(source, None)
        await (house.records.delete(record.uid) if record.empty else house.records.save(record))
    if record.empty:
        await house.records.delete(record.uid)


def key_of(record: LeaseRecord) -> Key:
    """Return the agenda key of the record's ExternalSecret."""
    return Key("ExternalSecret", record.namespace, record.name)
