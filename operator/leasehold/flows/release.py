"""The end of an ExternalSecret: its leases are revoked from the record alone, with a deadline.

No finalizer is needed for that: the record outlives the object, so a dead backend never blocks a deletion or a
namespace, and an operator that was down finds the record at its start.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from leasehold.domain.errors import DomainError
from leasehold.domain.facts import Key
from leasehold.domain.lease import LeaseRecord
from leasehold.domain.reasons import EventReason
from leasehold.flows import leasing
from leasehold.flows.house import House

RETRY = 5.0
"""Seconds between two tries to revoke."""


async def gone(house: House, key: Key) -> float | None:
    """Let go of whatever is still recorded for an object that is gone; return when to try again, None when done."""
    house.signals.forget(key)
    return await _release_all(house, key, but="")


async def forerunners(house: House, key: Key, uid: str) -> None:
    """Let go of what earlier objects of the same name left behind: their deletion and the creation came as one."""
    again = await _release_all(house, key, but=uid)
    if again is not None:
        house.wake(key, max(again - house.clock.now(), 0.0))


def orphans(house: House, uids: Collection[str]) -> None:
    """Wake the release of every record whose object is not among the known uids (after the first list)."""
    for record in house.records.all():
        if record.uid not in uids:
            key = leasing.key_of(record)
            house.memory.left_behind(key)
            house.wake(key, 0.0)


async def _release_all(house: House, key: Key, *, but: str) -> float | None:
    dues = [
        await _release(house, record)
        for record in house.records.all()
        if (record.namespace, record.name) == (key.namespace, key.name) and record.uid != but
    ]
    again = min((due for due in dues if due is not None), default=None)
    if again is None:
        house.memory.settled(key)
    return again


async def _release(house: House, record: LeaseRecord) -> float | None:
    house.memory.forget(record.uid)
    now = house.clock.now()
    if record.on_delete != "Revoke":
        await house.records.delete(record.uid)
        return None
    try:
        await leasing.release(house, record)
    except DomainError as error:
        return await _postpone(house, record, error, now=now)
    return None


async def _postpone(house: House, record: LeaseRecord, error: DomainError, *, now: float) -> float | None:
    """Note since when the revocation fails; past the deadline say so loudly and let the lease end by itself."""
    record = house.records.get(record.uid) or record
    since = record.orphaned_at
    if since is None:
        since = now
        house.records.note(replace(record, orphaned_at=now))
    if now - since < house.rules.revoke_deadline:
        return now + max(RETRY, error.retry_after or 0.0)
    house.events.emit(
        leasing.key_of(record),
        uid=record.uid,
        reason=EventReason.LEASE_ORPHANED,
        message=f"a lease could not be revoked within {int(house.rules.revoke_deadline)}s: {error}; it ends by itself",
        warning=True,
    )
    house.signals.lease_renewed("orphaned")
    await house.records.delete(record.uid)
    return None
