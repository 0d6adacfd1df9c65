"""One mint, with its intent recorded first and its lease recorded before anything else can fail.

Whatever happens, at most one live lease per source exists and no stray is unknown (``docs/explanation/leases.md``).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from leasehold.api.externalsecret import ExternalSecret
from leasehold.domain import transitions
from leasehold.domain.errors import Denied, DomainError, Misconfigured, Missing
from leasehold.domain.lease import Lease, LeaseRecord, SourceRecord
from leasehold.domain.ports import Connection, Grant, Handle, Leaser, MintRequest, Owner
from leasehold.domain.reasons import EventReason, Why
from leasehold.domain.values import SecretBytes
from leasehold.flows import look
from leasehold.flows.house import House

_T = TypeVar("_T")
NO_LEASE = SecretBytes(b"")


async def uncancelled(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end whatever happens to the caller, then pass a cancellation on, even where the work failed.

    A mint that is cut off leaves a credential that nobody knows (``reference/lease-facts.md`` 0.3).
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain of it
        raise cancelled
    return task.result()


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
        Denied, Missing, Misconfigured: nothing was minted, the intent is cleared (or will be, by a later step).
        Unavailable: nothing is known; the intent stays and is cleared by its revocation.
    """
    return await uncancelled(_mint(house, secret, leaser, order))


async def _mint(house: House, secret: ExternalSecret, leaser: Leaser, order: Order) -> SourceRecord:
    owner = await leaser.login_owner()
    record = house.records.get(secret.metadata.uid) or _blank(secret)
    record = replace(record, on_delete=look.terms(house, secret).on_delete)
    connection = dataclasses.asdict(leaser.connection)
    held = record.sources.get(order.source) or SourceRecord(source_hash="", connection=connection)
    noted = replace(
        transitions.intended(held, owner.accessor, ttl=owner.ttl, now=house.clock.now()), connection=connection
    )
    try:
        await house.records.save(record.with_source(order.source, noted))
    except DomainError:
        await _give_up(house, leaser, owner)
        raise
    try:
        grant = await leaser.mint(owner, order.request)
    except DomainError as error:
        await leaser.drop_owner(owner)  # whoever keeps it for us may revoke it
        if isinstance(error, Denied | Missing | Misconfigured):
            with contextlib.suppress(DomainError):
                await clear(house, secret.metadata.uid, order.source)
        raise
    now = house.clock.now()
    fresh = _lease(grant, owner, connection, now=now)
    made = transitions.minted(held, fresh, source_hash=order.source_hash, connection=connection, now=now)
    await house.records.save(record.with_source(order.source, made))
    await leaser.drop_owner(owner)
    house.signals.lease_minted(order.why.value)
    _tell(house, secret, order)
    return made


def _blank(secret: ExternalSecret) -> LeaseRecord:
    meta = secret.metadata
    return LeaseRecord(uid=meta.uid, namespace=meta.namespace or "", name=meta.name)


async def _give_up(house: House, leaser: Leaser, owner: Owner) -> None:
    """Revoke a login whose intent could not be recorded; where that fails too it ends by itself, and made nothing."""
    with contextlib.suppress(DomainError):
        await leaser.drop_owner(owner)
        keeper = await house.registry.keeper(leaser.connection)
        await keeper.revoke_owner(Handle(NO_LEASE, owner.accessor))


def _lease(grant: Grant, owner: Owner, connection: Mapping[str, object], *, now: float) -> Lease:
    lease = Lease(
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
        connection=connection,
    )
    # a batch owner has a fixed end, as has one that is not renewable
    return lease if owner.accessor and owner.renewable else transitions.owner_fixed(lease)


def _tell(house: House, secret: ExternalSecret, order: Order) -> None:
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


async def clear(house: House, uid: str, source: str) -> None:
    """Revoke the owner of an intent, and whatever it minted, and clear the intent.

    Where nobody may revoke it the intent becomes a stray that is remembered until it has ended by itself: a source
    whose mint was interrupted must not be stuck for ever.

    Raises:
        DomainError: the backend gave no answer; the intent stays.
    """
    record = house.records.get(uid)
    held = record.sources.get(source) if record is not None else None
    if record is None or held is None or held.intent is None:
        return
    try:
        if held.intent.owner:
            keeper = await house.registry.keeper(Connection(**held.connection))  # type: ignore[arg-type]
            await keeper.revoke_owner(Handle(NO_LEASE, held.intent.owner))
        cleared = replace(held, intent=None)
    except Denied:
        cleared = transitions.abandoned(held, now=house.clock.now())
    await keep_record(house, record, source, cleared)


async def keep_record(house: House, record: LeaseRecord, source: str, held: SourceRecord) -> None:
    """Save the record with one source changed; what holds nothing any more is taken out."""
    blank = held.current is None and held.intent is None and not held.old
    changed = record.with_source(source, None if blank and not held.lost else held)
    await (house.records.delete(record.uid) if changed.empty and not held.lost else house.records.save(changed))
