"""The lease machine's knowledge: what is recorded of a lease.

The machine is the one of ``docs/explanation/leases.md``: log in as the tenant, record the owner's accessor (the
intent), mint, record the lease, write the Secret, renew through the operator's identity, replace before the maximum
life, shrink the old lease to its grace once the rollout is verified, revoke its owner after that.

Which steps a record asks for at a moment is in ``upkeep``, how it changes with each answer in ``transitions``.

Times are seconds since the epoch on our own clock, computed from the TTLs that the backend answers, so that no two
clocks have to agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from leasehold.domain.values import SecretBytes, SecretMap

RENEW_AT = 0.66
"""Default of spec.lease.renewAt."""
RETRY_FLOOR = 0.5
"""Least seconds between two tries of a failing renewal."""


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
    """End of the owner token unless it is renewed, None where it does not end."""
    owner_period: float = 0.0
    """Seconds that a renewal of the owner gives; 0 where it cannot be renewed (any more)."""
    owner_renewed_at: float = 0.0
    max_expires_at: float | None = None
    """issue + max TTL, once the backend has shown it."""
    kept: bool = True
    """False once nobody can renew the owner."""
    connection: Mapping[str, object] = field(default_factory=dict)
    """How its keeper reaches the backend (ports.Connection as a plain mapping); empty for that of the source."""

    @property
    def ends_at(self) -> float:
        """Effective end: the earliest of lease, owner token and maximum life."""
        return min(end for end in (self.expires_at, self.owner_expires_at, self.max_expires_at) if end is not None)

    @property
    def final_end(self) -> float | None:
        """End that no renewal moves, as far as it is known: the maximum life, or the end of an owner that is fixed."""
        ends = (self.max_expires_at, None if self.owner_period > 0 else self.owner_expires_at)
        return min((end for end in ends if end is not None), default=None)

    def has_ended(self, *, now: float) -> bool:
        """Tell whether the lease is over by our figures. An answer without lease has no end."""
        return bool(self.lease_id) and now >= self.ends_at


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
    ttl: float = 0.0
    """Seconds the owner lives unless renewed: where nobody may revoke it, it is gone by then."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Everything held for one leased source of an ExternalSecret."""

    source_hash: str
    """Hash of what the source says; another hash means another credential."""
    connection: Mapping[str, object]
    """How a keeper reaches the backend of the last mint (ports.Connection as a plain mapping)."""
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


def spread(uid: str, share: float) -> float:
    """Return a stable number in [0, share) for the object: jitter without randomness."""
    digest = hashlib.blake2b(uid.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * share
