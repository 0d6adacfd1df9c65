"""What the user reads after a pass: conditions, times, leases, history, and the one patch that says it.

A failure's message is ESO's text verbatim, then ``: `` and the cause with path and remedy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from leasehold.api.externalsecret import ExternalSecret
from leasehold.domain import desired, upkeep
from leasehold.domain.errors import DomainError
from leasehold.domain.lease import Lease, LeaseRecord, LeaseTerms, SourceRecord
from leasehold.domain.reasons import ReadyReason, Why
from leasehold.domain.values import SecretBytes, fingerprint

HISTORY = 10
"""Entries of status.history that are kept."""
QUIET = frozenset({"targetResourceVersion"})
"""Status fields that alone are not worth a write; they ride along with others."""
_IN_SECRET = frozenset({"Active", "Ended"})
"""States of a lease whose values the Secret carries: what follows from a publication may be done."""
DRIFT = frozenset({Why.TARGET_MISSING, Why.TARGET_CHANGED})
"""Repairs: the Secret is written, the values are what they were, so the status has nothing new to say."""


class Stage(StrEnum):
    """Where a pass failed: ESO's message for it."""

    FETCH = "could not get secret data from provider"
    WRITE = "could not update secret"
    IMMUTABLE = "could not update secret, target is immutable"
    OWNED = "target is owned by another ExternalSecret"
    TAKEN = "failed to take ownership of target secret"
    ORPHANS = "could not delete orphaned secrets"
    DELETE = "could not delete secret"
    TEMPLATE = "could not apply template"


SYNCED = "secret synced"
RETAINED = "secret retained due to DeletionPolicy=Retain"
DELETED = "secret deleted due to DeletionPolicy=Delete"
MISSING = "secret will not be created due to CreationPolicy=Merge"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass came to, as the user should see it."""

    ready: bool
    reason: ReadyReason
    message: str
    why: Why | None = None
    refreshed_at: float | None = None
    """Time of the read, where the values were read."""
    wrote: bool = False
    """The Secret was written."""
    binding: bool = False
    target_version: str = ""
    values: str = ""
    """Keyed fingerprint of the data that was written."""


def failure(stage: Stage, error: DomainError, *, why: Why | None = None) -> Outcome:
    """Return the outcome of a pass that failed; nothing but the condition moves."""
    return Outcome(ready=False, reason=ReadyReason.FAILED, message=f"{stage.value}: {error}", why=why)


def rfc3339(at: float) -> str:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return _rfc3339(int(at))


@lru_cache(maxsize=64)  # what is written in one second says the same
def _rfc3339(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class View:
    """What beside the outcome goes into the status."""

    record: LeaseRecord | None
    terms: LeaseTerms
    rollout: Mapping[str, Any] | None
    """status.rollout as it should be; None leaves it as it is."""
    key: SecretBytes
    """Key of the fingerprints."""
    freshness: float
    """Seconds by which status.refreshTime may lag behind (0: never)."""


def status(secret: ExternalSecret, outcome: Outcome | None, view: View, *, now: float) -> dict[str, Any]:
    """Return the whole status as it should be, in wire form."""
    wire = secret.status.to_wire()
    if outcome is not None:
        wire["conditions"] = conditions(wire.get("conditions", []), outcome, now=now)
        if outcome.ready:
            _synced(wire, secret, outcome, view)
    _leases(wire, secret, view, now=now, published=outcome is not None and outcome.ready)
    if view.rollout is not None:
        wire["rollout"] = dict(view.rollout)
    elif secret.spec.rollout is None:
        wire.pop("rollout", None)
    if outcome is not None and outcome.wrote and (view.record is not None or secret.spec.rollout is not None):
        wire["history"] = history(wire.get("history", []), outcome, now=now)
    return wire


def _synced(wire: dict[str, Any], secret: ExternalSecret, outcome: Outcome, view: View) -> None:
    resynced = secret.status.synced_resource_version != desired.synced_version(secret)
    wire["syncedResourceVersion"] = desired.synced_version(secret)
    if outcome.refreshed_at is not None:
        told = resynced or (outcome.wrote and outcome.why not in DRIFT)
        if told or _stale(secret.status.refresh_time, outcome.refreshed_at, view.freshness):
            wire["refreshTime"] = rfc3339(outcome.refreshed_at)
    if outcome.binding:
        wire["binding"] = {"name": desired.target_name(secret)}
    elif outcome.refreshed_at is not None:
        wire.pop("binding", None)
    if outcome.target_version:
        wire["targetResourceVersion"] = outcome.target_version


def _stale(shown: dt.datetime | None, refreshed_at: float, freshness: float) -> bool:
    """Tell whether the time shown lags too far behind, or lies in the future, where it asks for ever more reads."""
    if shown is None:
        return True
    lag = refreshed_at - shown.timestamp()
    return lag >= freshness or lag < -1.0


def conditions(present: Sequence[Mapping[str, Any]], outcome: Outcome, *, now: float) -> list[Mapping[str, Any]]:
    """Return the conditions with Ready replaced; the transition time moves only with its status."""
    status = "True" if outcome.ready else "False"
    old = next((condition for condition in present if condition.get("type") == "Ready"), None)
    moved = old is None or old.get("status") != status or not old.get("lastTransitionTime")
    ready = {
        "type": "Ready",
        "status": status,
        "reason": outcome.reason.value,
        "message": outcome.message,
        "lastTransitionTime": rfc3339(now) if moved or old is None else old["lastTransitionTime"],
    }
    return [*(condition for condition in present if condition.get("type") != "Ready"), ready]


def _leases(wire: dict[str, Any], secret: ExternalSecret, view: View, *, now: float, published: bool) -> None:
    sources = view.record.sources if view.record is not None else {}
    shown = _in_secret(secret)
    if published:
        shown |= {lease_fingerprint(view.key, held) for held in _current(sources).values()}
    entries = [
        entry
        for source in sorted(sources)
        for entry in _source(source, sources[source], Shown(secret, view, shown, now))
    ]
    current = _current(sources)
    for field, value in (
        ("leases", entries),
        ("expires", rfc3339(min(held.ends_at for held in current.values())) if current else None),
        ("renews", _renews(current, secret, view)),
    ):
        if value:
            wire[field] = value
        else:
            wire.pop(field, None)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the entries of status.leases are made with."""

    secret: ExternalSecret
    view: View
    in_secret: frozenset[str]
    """Fingerprints of the leases whose values the Secret carries, or carried until the one after them."""
    now: float


def _current(sources: Mapping[str, SourceRecord]) -> dict[str, Lease]:
    return {
        source: held.current for source, held in sources.items() if held.current is not None and held.current.lease_id
    }


def _in_secret(secret: ExternalSecret) -> frozenset[str]:
    return frozenset(
        entry.fingerprint for entry in secret.status.leases if entry.fingerprint and entry.state in _IN_SECRET
    )


def _renews(current: Mapping[str, Lease], secret: ExternalSecret, view: View) -> str | None:
    """Return when the first lease is renewed or replaced, None where none is before its end."""
    dues = [
        due
        for source, held in current.items()
        for due in (
            upkeep.renews_at(held, view.terms, f"{secret.metadata.uid}/{source}"),
            upkeep.rotates_at(held, view.terms, f"{secret.metadata.uid}/{source}"),
        )
        if due is not None
    ]
    return rfc3339(min(dues)) if dues else None


def _source(source: str, held: SourceRecord, shown: Shown) -> list[dict[str, Any]]:
    uid, terms = f"{shown.secret.metadata.uid}/{source}", shown.view.terms
    entries, carried = [], True
    if held.current is not None and held.current.lease_id:
        carried = lease_fingerprint(shown.view.key, held.current) in shown.in_secret
        state = "Issued" if not carried else "Ended" if held.current.has_ended(now=shown.now) else "Active"
        entries.append(
            {
                **_times(source, held.current, state, shown.view),
                **_optional("renewsAt", upkeep.renews_at(held.current, terms, uid)),
                **_optional("rotatesAt", upkeep.rotates_at(held.current, terms, uid)),
            }
        )
    for old in held.old:
        if not old.lease.lease_id:
            continue  # a login that was given up has no credential to show
        state = "Retiring" if old.until is not None else "Replaced" if carried else "Active"
        entries.append(_times(source, old.lease, state, shown.view) | _optional("expiresAt", old.until))
    return entries


def _times(source: str, held: Lease, state: str, view: View) -> dict[str, Any]:
    return {
        "source": source,
        "fingerprint": lease_fingerprint(view.key, held),
        "state": state,
        "issuedAt": rfc3339(held.issued_at),
        "expiresAt": rfc3339(held.expires_at),
        **_optional("maxExpiresAt", held.max_expires_at),
        **_optional("ownerExpiresAt", held.owner_expires_at),
    }


def lease_fingerprint(key: SecretBytes, held: Lease) -> str:
    """Return the keyed fingerprint by which a lease is named in public; never its id."""
    return fingerprint(key, b"lease", held.lease_id.reveal())


def _optional(field: str, at: float | None) -> dict[str, Any]:
    return {} if at is None else {field: rfc3339(at)}


def published(secret: ExternalSecret, record: LeaseRecord | None, key: SecretBytes) -> bool:
    """Tell whether the Secret carries every current lease: the status that says so is written after the Secret."""
    if record is None:
        return True
    carried = _in_secret(secret)
    return all(lease_fingerprint(key, held) in carried for held in _current(record.sources).values())


def history(present: Sequence[Mapping[str, Any]], outcome: Outcome, *, now: float) -> list[Mapping[str, Any]]:
    """Return the bounded history with this write at its end."""
    before = present[-1].get("new") if present else None
    entry = {
        "time": rfc3339(now),
        "what": "Published",
        **({"why": outcome.why.value} if outcome.why is not None else {}),
        **({"old": before} if before else {}),
        "new": outcome.values,
    }
    return [*present, entry][-HISTORY:]


def patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the merge-patch from one status to the other, None where it is not worth a write."""
    difference = merge_patch(_filled(old), _filled(new))
    return difference if difference.keys() - QUIET else None


def _filled(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status without empty fields, at any depth: absent and empty are the same to its readers."""
    dense = {field: _filled(value) if isinstance(value, Mapping) else value for field, value in wire.items()}
    return {field: value for field, value in dense.items() if value not in (None, [], (), {}, "")}


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the RFC 7386 merge-patch that turns one JSON object into the other."""
    result: dict[str, Any] = {field: None for field in old if field not in new}
    for field, value in new.items():
        before = old.get(field)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                result[field] = inner
        elif before != value:
            result[field] = value
    return result
