"""The words that users read: condition reasons, event reasons, sync reasons. ESO's where ESO has them."""

from __future__ import annotations

from enum import StrEnum


class ReadyReason(StrEnum):
    """Reason of an ExternalSecret's Ready condition (ESO's four)."""

    SYNCED = "SecretSynced"
    """The Secret holds what the sources say (or is kept on purpose)."""
    FAILED = "SecretSyncedError"
    """The last pass failed; the Secret keeps its last good data."""
    DELETED = "SecretDeleted"
    """The Secret was deleted, as deletionPolicy Delete asks."""
    MISSING = "SecretMissing"
    """creationPolicy Merge waits for a Secret that somebody else creates."""


class StoreReason(StrEnum):
    """Reason of a store's Ready condition (ESO's three)."""

    VALID = "Valid"
    """The backend answered and accepted our identity."""
    INVALID = "InvalidProviderConfig"
    """The store cannot be used as written, or its backend refuses or cannot be reached."""
    UNKNOWN = "ValidationUnknown"
    """The provider cannot tell."""


class EventReason(StrEnum):
    """Reason of a Kubernetes Event."""

    CREATED = "Created"
    """The target Secret was created."""
    UPDATED = "Updated"
    """The target Secret was written."""
    DELETED = "Deleted"
    """The target Secret was deleted by policy."""
    UPDATE_FAILED = "UpdateFailed"
    """A pass failed; the message says why and what helps."""
    MISSING_PROVIDER_SECRET = "MissingProviderSecret"
    """A remote secret is gone and the deletion policy allows that."""
    REPAIRED = "Repaired"
    """The Secret was changed or deleted by hand and put right."""
    LEASE_MINTED = "LeaseMinted"
    """A leased credential was issued."""
    LEASE_ROTATED = "LeaseRotated"
    """A successor was issued before the maximum life of the old credential."""
    LEASE_LOST = "LeaseLost"
    """A lease ended before we replaced it; a new one was issued."""
    LEASE_RETIRED = "LeaseRetired"
    """The old credential's grace has ended and it was revoked."""
    LEASE_RENEWAL_FAILED = "LeaseRenewalFailed"
    """A renewal failed; the lease lives on and is tried again."""
    LEASE_ORPHANED = "LeaseOrphaned"
    """A lease could not be revoked by the deadline; it ends by itself."""
    ROLLOUT_STARTED = "RolloutStarted"
    """A workload is restarted because it cannot see a changed key otherwise."""
    ROLLOUT_COMPLETE = "RolloutComplete"
    """All restarted workloads run with the new value."""
    ROLLOUT_FAILED = "RolloutFailed"
    """A restarted workload was not complete by the deadline."""
    STORE_VALID = "Valid"
    """The store was validated."""
    STORE_INVALID = "InvalidProviderConfig"
    """The store failed validation."""


class Why(StrEnum):
    """Why a pass fetches. The first check that hits gives the word in event, log, metric and history."""

    FIRST_SYNC = "FirstSync"
    """Never synced."""
    SPEC_CHANGED = "SpecChanged"
    """Generation, labels or annotations differ from what was synced (force-sync included)."""
    TARGET_MISSING = "TargetMissing"
    """The Secret that we wrote is gone."""
    TARGET_CHANGED = "TargetChanged"
    """The Secret differs from what we wrote."""
    REFRESH_DUE = "RefreshDue"
    """The refresh interval has passed."""
    RETRY = "Retry"
    """The last pass failed."""
    SOURCE_CHANGED = "SourceChanged"
    """A leased source is described differently than when its lease was minted."""
    LEASE_MISSING = "LeaseMissing"
    """A leased source has no lease yet."""
    LEASE_ROTATION = "LeaseRotation"
    """The lease nears its maximum life."""
    LEASE_GONE = "LeaseGone"
    """The lease has ended or was revoked behind our back."""
    LEASE_UNKEPT = "LeaseUnkept"
    """The owner of the lease cannot be kept alive after a restart: one planned replacement."""
