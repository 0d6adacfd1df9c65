"""What an ExternalSecret reports. Times and keyed fingerprints, never a value and never a lease id.

Reading is lenient (states are plain text), because an older or newer operator may have written what we read.
"""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from leasehold.api.meta import Condition, Model, demand


class ExternalSecretCondition(Condition):
    """One observation about an ExternalSecret."""

    type: Annotated[str, demand(enum=["Ready", "Deleted"])] = Field(description="What the condition is about.")


class Binding(Model):
    """The Secret, for service bindings."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: str = Field(default="", description="Name of the Secret.")


class LeaseStatus(Model):
    """One leased credential."""

    source: str = Field(description="Where it comes from, such as dataFrom[0].")
    fingerprint: str | None = Field(default=None, description="Keyed fingerprint of the lease; not its id.")
    state: str | None = Field(default=None, description="Where the lease is in its life, as one word.")
    issued_at: datetime | None = Field(default=None, description="When the credential was issued.")
    expires_at: datetime | None = Field(default=None, description="When it ends unless it is renewed.")
    max_expires_at: datetime | None = Field(default=None, description="When it ends at the latest.")
    renews_at: datetime | None = Field(default=None, description="When it is renewed next.")
    rotates_at: datetime | None = Field(default=None, description="When its successor is fetched.")
    owner_expires_at: datetime | None = Field(
        default=None, description="When the token that owns the lease ends unless it is renewed."
    )


class WorkloadStatus(Model):
    """How far one workload is."""

    kind: str = Field(description="Kind of the workload.")
    name: str = Field(description="Name of the workload.")
    state: str | None = Field(default=None, description="How far the workload is, as one word.")
    wanted: str | None = Field(
        default=None, description="Annotation of its pod template that stands for the values it must run with."
    )
    wanted_at: datetime | None = Field(
        default=None, description="When its restart was asked for; once it has begun, when it began."
    )
    completed_at: datetime | None = Field(default=None, description="When all its pods were new and ready.")
    message: str | None = Field(default=None, description="What it waits for, or why it failed.")


class RolloutStatus(Model):
    """The rollout of the present value."""

    state: str | None = Field(default=None, description="How far the rollout is, as one word.")
    message: str | None = Field(default=None, description="What keeps the rollout from going on.")
    observed_at: datetime | None = Field(default=None, description="When what is said here last changed.")
    published_at: datetime | None = Field(
        default=None, description="When the values that are rolled out were written to the Secret."
    )
    completed_at: datetime | None = Field(default=None, description="When the last rollout was complete.")
    keys: dict[str, str] = Field(
        default_factory=dict, description="Keyed fingerprint of the value of each key that is rolled out."
    )
    keyed_by: str | None = Field(
        default=None, description="Names the key that the fingerprints were made with; not the key."
    )
    changed: tuple[str, ...] = Field(
        default=(),
        description="Keys that have changed since the last complete rollout. At most 1024.",
        json_schema_extra={"maxItems": 1024},
    )
    workloads: tuple[WorkloadStatus, ...] = Field(
        default=(), description="How far each workload is. At most 256.", json_schema_extra={"maxItems": 256}
    )


class HistoryEntry(Model):
    """One thing that happened."""

    time: datetime = Field(description="When it happened.")
    what: str = Field(description="What happened, as one word.")
    why: str | None = Field(default=None, description="Why it happened.")
    old: str | None = Field(default=None, description="Keyed fingerprint before.")
    new: str | None = Field(default=None, description="Keyed fingerprint after.")


class ExternalSecretStatus(Model):
    """What an ExternalSecret reports."""

    refresh_time: datetime | None = Field(
        default=None,
        description="When the values were last read.",
        json_schema_extra={"nullable": True},
    )
    synced_resource_version: str | None = Field(
        default=None, description="Generation and metadata hash of the ExternalSecret that was synced last."
    )
    conditions: tuple[ExternalSecretCondition, ...] = Field(default=(), description="Ready and Deleted.")
    binding: Binding | None = Field(default=None, description="The Secret, for service bindings.")
    target_resource_version: str | None = Field(
        default=None, description="Resource version of the Secret as we last wrote or saw it."
    )
    expires: str | None = Field(default=None, description="When the first lease ends unless it is renewed.")
    renews: str | None = Field(default=None, description="When the next renewal or replacement of a lease is due.")
    leases: tuple[LeaseStatus, ...] = Field(
        default=(), description="Leased credentials. At most 256.", json_schema_extra={"maxItems": 256}
    )
    rollout: RolloutStatus | None = Field(default=None, description="The rollout of the present value.")
    history: tuple[HistoryEntry, ...] = Field(
        default=(), description="What happened, latest last. At most 64.", json_schema_extra={"maxItems": 64}
    )
