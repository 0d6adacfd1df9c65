"""What Leasehold adds to an ExternalSecret: whose identity logs in, how leases live, who is restarted.

All of it is optional, and absent means ESO's behaviour. Durations are Go durations kept as text; see `api.duration`.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from leasehold.api import duration, percent
from leasehold.api.meta import Model, Name, Opaque, StoreKind, Window, demand, unset_in_crd

Span = Annotated[str, demand(maxLength=64, pattern=duration.NONNEGATIVE)]
"""A duration that cannot be negative."""
_MAX_TARGETS: dict[str, Any] = {"maxItems": 64}


class OnDelete(StrEnum):
    """What becomes of a lease when its ExternalSecret goes."""

    REVOKE = "Revoke"
    EXPIRE = "Expire"
    KEEP = "Keep"


class RolloutPolicy(StrEnum):
    """Which consumers are restarted."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class OnFailure(StrEnum):
    """What follows a rollout that failed."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


class WorkloadKind(StrEnum):
    """Kinds that can be restarted."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    ROLLOUT = "Rollout"


class IdentityServiceAccount(Model):
    """A ServiceAccount in the namespace of the ExternalSecret."""

    name: Name = Field(description="Name of the ServiceAccount.")
    audiences: tuple[str, ...] = Field(
        default=(), description="Audiences of the requested token; those of the store if absent."
    )


class Identity(Model):
    """The workload in whose name the backend is asked."""

    service_account_ref: IdentityServiceAccount = Field(
        description="Account whose token logs in, instead of the store's own."
    )


class Lease(Model):
    """How leased credentials live."""

    renew_at: Annotated[str, demand(maxLength=8, pattern=percent.PATTERN)] | None = Field(
        default=None,
        description="Share of a lease's life after which it is renewed, such as 66%. A fixed jitter per object is"
        " added.",
    )
    rotate_before: Span | None = Field(
        default=None,
        description="How long before the longest possible life of a credential its successor is fetched, such as 10m."
        " If absent: enough for the rollout's deadline and the grace period.",
    )
    grace_period: Span | None = Field(
        default=None, description="Life left to the old credential once the rollout of the new one is verified."
    )
    on_delete: OnDelete = Field(
        default=OnDelete.REVOKE,
        description="What becomes of the lease when the ExternalSecret goes: Revoke it, let it Expire, or Keep it"
        " renewed as long as its backend allows. Revoke if absent.",
        json_schema_extra=unset_in_crd,
    )


class RolloutTarget(Model):
    """One workload of the same namespace."""

    kind: WorkloadKind = Field(description="Kind of the workload.")
    name: Name = Field(description="Name of the workload.")


class Canary(Model):
    """Workloads that go first."""

    bake: Span | None = Field(default=None, description="How long they must stay healthy before the others follow.")
    targets: tuple[RolloutTarget, ...] = Field(
        default=(),
        description="Which workloads go first; one of the consumers if absent. At most 64.",
        json_schema_extra=_MAX_TARGETS,
    )


class Rollout(Model):
    """Who is restarted when the Secret changes, and how. Being there turns it on."""

    policy: RolloutPolicy = Field(
        default=RolloutPolicy.AUTO,
        description="Auto: restart only pods that cannot see a change by themselves (env, envFrom, subPath). Always:"
        " every consumer. Never: none. Auto if absent.",
        json_schema_extra=unset_in_crd,
    )
    targets: tuple[RolloutTarget, ...] = Field(
        default=(),
        description="Workloads to look at; if absent, every consumer found in the namespace. At most 64.",
        json_schema_extra=_MAX_TARGETS,
    )
    min_interval: Span | None = Field(
        default=None,
        description="At most one restart per workload in this time, counted over all its secrets, such as 10m.",
    )
    deadline: Span | None = Field(
        default=None, description="A rollout that is not complete after this time has failed, such as 10m."
    )
    windows: tuple[Window, ...] = Field(
        default=(),
        description="Times when restarts are allowed; always if absent. Never waited for past the last safe moment of"
        " a lease. At most 64.",
        json_schema_extra={"maxItems": 64},
    )
    canary: Canary | None = Field(default=None, description="Workloads that go first, and for how long.")
    check: Opaque | None = Field(
        default=None, description="Test login with the new credential before anything is published."
    )
    on_failure: OnFailure = Field(
        default=OnFailure.ROLLBACK,
        description="What follows a rollout that failed: Rollback to the old value while it lives, or Hold. Rollback"
        " if absent.",
        json_schema_extra=unset_in_crd,
    )


class FailoverStore(Model):
    """A store to try when the first is unavailable."""

    name: Name = Field(description="Name of the store.")
    kind: StoreKind = Field(
        default=StoreKind.SECRET_STORE,
        description="Kind of the store: SecretStore if absent.",
        json_schema_extra=unset_in_crd,
    )
