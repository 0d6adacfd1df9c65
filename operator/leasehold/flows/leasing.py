"""The lease machine's hands: mint with an intent recorded first, renew, look up, shrink, revoke.

What to do is decided in ``domain.lease``. The record is written before anything that can fail afterwards, so that
whatever happens at most one live lease per source exists and no stray is unknown.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from leasehold.api.externalsecret import ExternalSecret
from leasehold.domain import lease
from leasehold.domain.decide import Verdict
from leasehold.domain.errors import Bug, Denied, DomainError, Misconfigured, Missing
from leasehold.domain.facts import Key
from leasehold.domain.lease import Intent, Lease, LeaseRecord, OldLease, SourceRecord, Step
from leasehold.domain.ports import (
    Connection,
    Grant,
    Handle,
    Keeper,
    LeaseOutcome,
    Leaser,
    MintRequest,
    Owner,
    Renewal,
)
from leasehold.domain.reasons import EventReason, Why
from leasehold.domain.values import SecretBytes
from leasehold.flows import look
from leasehold.flows.house import House

_T = TypeVar("_T")
NO_LEASE = SecretBytes(b"")
_ENDED = frozenset({LeaseOutcome.GONE, LeaseOutcome.OWNERLESS})


async def uncancelled(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end whatever happens to the caller, then pass a cancellation on.

    A mint that is cut off leaves a credential that nobody knows (``reference/lease-facts.md`` 0.3).
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001  # it is raised again by task.result()
            break
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


# --------------------------------------------------------------------------------------------------------------- mint


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """One mint to be made."""

    source: str
    request: MintRequest
    source_hash: str
    why: Why


async def mint(house: House, secret: ExternalSecret, leaser: Leaser, order: Order) -> SourceRecord:
    """Mint a credential for one source and return its record, saved.

    Raises:
        Denied, Missing, Misconfigured: nothing was minted, the intent is cleared.
        Unavailable: nothing is known; the intent stays and is cleared by its revocation.
    """
    return await uncancelled(_mint(house, secret, leaser, order))


async def _mint(house: House, secret: ExternalSecret, leaser: Leaser, order: Order) -> SourceRecord:
    owner = await leaser.login_owner()
    record = house.records.get(secret.metadata.uid) or _blank(secret)
    record = replace(record, on_delete=look.terms(house, secret).on_delete)
    connection = dataclasses.asdict(leaser.connection)
    held = record.sources.get(order.source) or SourceRecord(source_hash="", connection=connection)
    intent = Intent(owner.accessor, house.clock.now())
    await house.records.save(record.with_source(order.source, replace(held, connection=connection, intent=intent)))
    try:
        grant = await leaser.mint(owner, order.request)
    except (Denied, Missing, Misconfigured):
        await _clear(house, secret.metadata.uid, order.source)
        raise
    fresh = _lease(grant, owner, now=house.clock.now())
    now = house.clock.now()
    made = lease.minted(held, fresh, source_hash=order.source_hash, connection=connection, now=now)
    await house.records.save(record.with_source(order.source, made))
    await leaser.drop_owner(owner)
    house.signals.lease_minted(order.why.value)
    _tell_minted(house, secret, order)
    return made


def _blank(secret: ExternalSecret) -> LeaseRecord:
    meta = secret.metadata
    return LeaseRecord(uid=meta.uid, namespace=meta.namespace or "", name=meta.name)


def _lease(grant: Grant, owner: Owner, *, now: float) -> Lease:
    return Lease(
        lease_id=grant.lease_id,
        owner=owner.accessor,
        values=grant.values,
        issued_at=now,
        duration=grant.ttl,
        expires_at=now + grant.ttl,
        renewed_at=now,
        renewable=grant.renewable,
        owner_expires_at=now + owner.ttl if owner.ttl > 0 else None,
        owner_period=owner.ttl,
        owner_renewed_at=now,
        # a batch owner has no accessor: it can be neither renewed nor revoked
        kept=bool(owner.accessor),
    )


def _tell_minted(house: House, secret: ExternalSecret, order: Order) -> None:
    reason = {
        Why.LEASE_ROTATION: EventReason.LEASE_ROTATED,
        Why.LEASE_UNKEPT: EventReason.LEASE_ROTATED,
        Why.LEASE_GONE: EventReason.LEASE_LOST,
    }.get(order.why, EventReason.LEASE_MINTED)
    text = {
        EventReason.LEASE_ROTATED: "a successor was issued before the credential ends",
        EventReason.LEASE_LOST: "the lease had ended before its time; a new credential was issued",
        EventReason.LEASE_MINTED: "a credential was issued",
    }[reason]
    house.events.emit(
        look.key_of(secret),
        uid=secret.metadata.uid,
        reason=reason,
        message=f"{order.source}: {text} ({order.request.path}, {order.why.value})",
        warning=reason is EventReason.LEASE_LOST,
    )


async def _clear(house: House, uid: str, source: str) -> None:
    """Revoke the owner of an intent and clear it; where that fails the intent stays and is cleared later."""
    record = house.records.get(uid)
    held = record.sources.get(source) if record is not None else None
    if record is None or held is None or held.intent is None:
        return
    try:
        await _revoke(house, held, Handle(NO_LEASE, held.intent.owner))
    except DomainError:
        return
    cleared = replace(held, intent=None)
    blank = cleared.current is None and not cleared.old
    record = record.with_source(source, None if blank else cleared)
    await (house.records.delete(uid) if record.empty else house.records.save(record))


# --------------------------------------------------------------------------------------------------------- keep, end


async def keep(house: House, secret: ExternalSecret, record: LeaseRecord, verdict: Verdict) -> None:
    """Do the one step that the verdict names, and record or note what came of it.

    Raises:
        DomainError: the backend gave no verdict about the lease; it is tried again.
    """
    held = record.sources[verdict.source]
    if verdict.step is Step.CLEAR_INTENT:
        await _clear(house, record.uid, verdict.source)
        left = (house.records.get(record.uid) or record).sources.get(verdict.source)
        if left is not None and left.intent is not None:
            raise Misconfigured("a stray login could not be revoked", path=verdict.source, remedy="it is tried again")
        return
    if verdict.step is Step.REVOKE and verdict.old is not None:
        await _revoke(house, held, _handle(verdict.old.lease))
        await house.records.save(record.with_source(verdict.source, lease.ended(held, verdict.old)))
        _tell_retired(house, secret, verdict.source)
        return
    keeper = await _keeper(house, held)
    if verdict.step is Step.SHRINK and verdict.old is not None:
        changed = await _shrink(house, secret, keeper, held, verdict.old)
        await house.records.save(record.with_source(verdict.source, changed))
        return
    if verdict.step is Step.RENEW and verdict.old is not None:
        changed = await _renew_old(house, keeper, held, verdict.old)
    else:
        changed = await _renew(house, keeper, held, verdict.step)
    await _settle(house, record, verdict.source, held, changed)


async def _settle(house: House, record: LeaseRecord, source: str, before: SourceRecord, after: SourceRecord) -> None:
    """Save what must survive a restart; times of a renewal are only noted: the status shows them."""
    changed = record.with_source(source, after)
    lasting = (after.life, after.lost, len(after.old), after.current is None) != (
        before.life,
        before.lost,
        len(before.old),
        before.current is None,
    )
    if lasting:
        await house.records.save(changed)
    else:
        house.records.note(changed)


async def _renew(house: House, keeper: Keeper, held: SourceRecord, step: Step | None) -> SourceRecord:
    current = held.current
    if current is None:
        raise Bug("a lease that is not held was to be renewed")
    if step is Step.RENEW_OWNER:
        answer = await keeper.renew_owner(_handle(current))
        if answer.outcome is LeaseOutcome.ALIVE:
            owner = lease.owner_renewed(current, ttl=answer.ttl, now=house.clock.now())
            return replace(held, current=owner)
    elif step is Step.LOOK_UP:
        answer = await _look_up(keeper, current)
        if answer.outcome is LeaseOutcome.ALIVE:
            return await _alive(house, keeper, held, answer)
    else:
        answer = await keeper.renew(_handle(current), max(current.duration, 1.0))
    result = "capped" if answer.capped and answer.outcome is LeaseOutcome.ALIVE else answer.outcome.value
    house.signals.lease_renewed("ok" if result == "alive" else result)
    return _after(held, current, answer, now=house.clock.now())


def _after(held: SourceRecord, current: Lease, answer: Renewal, *, now: float) -> SourceRecord:
    """Return the record after a renewal of the current lease was answered."""
    if answer.outcome in _ENDED:
        return lease.lost(held)
    if answer.outcome is LeaseOutcome.UNKEPT:
        return replace(held, current=replace(current, kept=False, renewed_at=now))
    if answer.outcome is LeaseOutcome.FIXED:
        return replace(held, current=replace(current, renewable=False))
    if answer.outcome is LeaseOutcome.MAXED:
        return lease.learned_life(held, replace(current, max_expires_at=current.expires_at))
    return lease.learned_life(held, lease.renewed(current, ttl=answer.ttl, capped=answer.capped, now=now))


async def _look_up(keeper: Keeper, current: Lease) -> Renewal:
    owner = await keeper.look_up_owner(_handle(current)) if current.owner else None
    if owner is not None and owner.outcome in (*_ENDED, LeaseOutcome.UNKEPT):
        return owner
    return await keeper.look_up(_handle(current))


async def _alive(house: House, keeper: Keeper, held: SourceRecord, answer: Renewal) -> SourceRecord:
    """Return the record of a lease that lives on although our figures said otherwise: renew what is left of it."""
    current = held.current
    if current is None:
        raise Bug("a lease that is not held was to be looked up")
    now = house.clock.now()
    # what is left counts as the grant: the next renewal comes at once
    current = replace(current, expires_at=now + answer.ttl, renewed_at=now - current.duration)
    if current.owner and current.owner_expires_at is not None:
        owner = await keeper.renew_owner(_handle(current))
        if owner.outcome is not LeaseOutcome.ALIVE:
            return _after(held, current, owner, now=now)
        current = lease.owner_renewed(current, ttl=owner.ttl, now=now)
    return replace(held, current=current)


async def _renew_old(house: House, keeper: Keeper, held: SourceRecord, old: OldLease) -> SourceRecord:
    answer = await keeper.renew(_handle(old.lease), max(old.lease.duration, 1.0))
    now = house.clock.now()
    if answer.outcome in _ENDED:
        return lease.ended(held, old)
    if answer.outcome is LeaseOutcome.ALIVE:
        kept = lease.renewed(old.lease, ttl=answer.ttl, capped=answer.capped, now=now)
    else:
        kept = replace(old.lease, renewable=False, renewed_at=now)
    if kept.owner_expires_at is not None:
        owner = await keeper.renew_owner(_handle(kept))
        if owner.outcome is LeaseOutcome.ALIVE:
            kept = lease.owner_renewed(kept, ttl=owner.ttl, now=now)
    return _replaced(held, old, replace(old, lease=kept))


async def _shrink(
    house: House, secret: ExternalSecret, keeper: Keeper, held: SourceRecord, old: OldLease
) -> SourceRecord:
    """Set the grace of an old lease in the backend itself: it holds even if we die right after."""
    grace = max(look.terms(house, secret).grace, 1.0)
    now = house.clock.now()
    if not old.lease.renewable:
        return _replaced(held, old, replace(old, until=min(now + grace, old.lease.ends_at)))
    answer = await keeper.renew(_handle(old.lease), grace)
    now = house.clock.now()
    if answer.outcome in _ENDED:
        return lease.ended(held, old)
    left = answer.ttl if answer.outcome is LeaseOutcome.ALIVE else max(old.lease.ends_at - now, 0.0)
    return _replaced(held, old, replace(old, until=now + min(left, grace)))


def _replaced(held: SourceRecord, old: OldLease, new: OldLease) -> SourceRecord:
    return replace(held, old=tuple(new if other is old else other for other in held.old))


def _handle(held: Lease) -> Handle:
    return Handle(held.lease_id, held.owner)


async def _keeper(house: House, held: SourceRecord) -> Keeper:
    return await house.registry.keeper(Connection(**held.connection))  # type: ignore[arg-type]


async def _revoke(house: House, held: SourceRecord, handle: Handle) -> None:
    if handle.owner:
        keeper = await _keeper(house, held)
        await keeper.revoke_owner(handle)


def _tell_retired(house: House, secret: ExternalSecret, source: str) -> None:
    house.events.emit(
        look.key_of(secret),
        uid=secret.metadata.uid,
        reason=EventReason.LEASE_RETIRED,
        message=f"{source}: the replaced credential's grace has ended and it was revoked",
    )


# ------------------------------------------------------------------------------------------------------------ release


async def release(house: House, record: LeaseRecord) -> None:
    """Revoke every owner that the record names; what was revoked is taken out of the record at once.

    Raises:
        DomainError: one could not be revoked; the record holds what is left.
    """
    for source, held in record.sources.items():
        owners = [held.intent.owner] if held.intent is not None else []
        owners += [held.current.owner] if held.current is not None else []
        owners += [old.lease.owner for old in held.old]
        for owner in owners:
            await _revoke(house, held, Handle(NO_LEASE, owner))
        record = record.with_source(source, None)
        await (house.records.delete(record.uid) if record.empty else house.records.save(record))


def key_of(record: LeaseRecord) -> Key:
    """Return the agenda key of the record's ExternalSecret."""
    return Key("ExternalSecret", record.namespace, record.name)
