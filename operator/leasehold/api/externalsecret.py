"""ExternalSecret, external-secrets.io/v1: every field of ESO, plus identity, lease, rollout and failover."""

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from leasehold.api import duration
from leasehold.api.meta import (
    READY_REASON,
    READY_STATUS,
    Column,
    Kind,
    Model,
    ResourceType,
    Window,
    rules,
    unset_in_crd,
)
from leasehold.api.rollout import FailoverStore, Identity, Lease, Rollout
from leasehold.api.sources import DataFrom, DataItem, StoreRef
from leasehold.api.status import ExternalSecretStatus
from leasehold.api.target import Target

MAX_DATA = 512


class RefreshPolicy(StrEnum):
    """When values are read again."""

    CREATED_ONCE = "CreatedOnce"
    PERIODIC = "Periodic"
    ON_CHANGE = "OnChange"


class SyncWindows(Model):
    """Times when periodic refreshes are allowed or denied."""

    kind: Literal["allow", "deny"] = Field(description="Whether the windows allow or deny.")
    windows: tuple[Window, ...] = Field(description="The windows.", json_schema_extra={"minItems": 1})


class ExternalSecretSpec(Model):
    """What is wanted: which values, from where, into which Secret."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(has(self.data) && size(self.data) > 0) || (has(self.dataFrom) && size(self.dataFrom) > 0)",
                "nothing to read: set data or dataFrom",
            ),
            (
                (
                    "!has(self.data) || (has(self.target) && has(self.target.deletionPolicy)"
                    " && self.target.deletionPolicy != 'Retain')"
                    " || self.data.all(d, self.data.exists_one(e, e.secretKey == d.secretKey))"
                ),
                "each secretKey in data may come only once (with deletionPolicy Retain)",
            ),
        )
    )

    secret_store_ref: StoreRef | None = Field(default=None, description="Store for data and dataFrom.")
    target: Target = Field(
        default_factory=Target,
        description="The Secret to make.",
        json_schema_extra={"default": {"creationPolicy": "Owner", "deletionPolicy": "Retain"}},
    )
    refresh_policy: RefreshPolicy = Field(
        default=RefreshPolicy.PERIODIC,
        description="Periodic: at every refreshInterval. OnChange: when the ExternalSecret changes. CreatedOnce: only"
        " once. Periodic if absent.",
        json_schema_extra=unset_in_crd,
    )
    refresh_interval: str = Field(
        default="1h0m0s", description="Time between two reads, such as 1h0m0s. 0s means once and never again."
    )
    sync_windows: SyncWindows | None = Field(
        default=None, description="Times when periodic refreshes are allowed or denied. First syncs never wait."
    )
    data: tuple[DataItem, ...] = Field(
        default=(),
        description=f"Single keys; they win over dataFrom. At most {MAX_DATA}; use dataFrom for more.",
        json_schema_extra={"maxItems": MAX_DATA},
    )
    data_from: tuple[DataFrom, ...] = Field(default=(), description="Whole maps, applied in order; later ones win.")
    identity: Identity | None = Field(
        default=None, description="Log in to the backend as this workload instead of the store's own account."
    )
    lease: Lease | None = Field(default=None, description="How leased credentials are renewed, replaced and ended.")
    rollout: Rollout | None = Field(
        default=None, description="Restart of workloads after a change. Being there ({}) turns it on."
    )
    failover: tuple[FailoverStore, ...] = Field(
        default=(),
        description="Stores to try in order when the first is unavailable; never for leased sources. At most 16.",
        json_schema_extra={"maxItems": 16},
    )

    def refresh_seconds(self) -> float:
        """Return the seconds between two reads; zero or less means once. Raises ValueError on a bad duration."""
        return duration.parse(self.refresh_interval)


class ExternalSecret(Kind):
    """Keeps one Secret true to values in a secrets backend."""

    resource: ClassVar[ResourceType] = ResourceType(
        group="external-secrets.io",
        version="v1",
        kind="ExternalSecret",
        plural="externalsecrets",
        namespaced=True,
        short_names=("es",),
        columns=(
            Column("StoreType", ".spec.secretStoreRef.kind"),
            Column("Store", ".spec.secretStoreRef.name"),
            Column("Refresh Interval", ".spec.refreshInterval"),
            READY_REASON,
            READY_STATUS,
            Column("Last Sync", ".status.refreshTime", "date"),
            Column("Expires", ".status.expires"),
            Column("Renews", ".status.renews"),
            Column("Rollout", ".status.rollout.state"),
        ),
        selectable_fields=(
            ".spec.secretStoreRef.name",
            ".spec.secretStoreRef.kind",
            ".spec.target.name",
            ".spec.refreshInterval",
        ),
    )

    spec: ExternalSecretSpec = Field(description="What is wanted.")
    status: ExternalSecretStatus = Field(default_factory=ExternalSecretStatus, description="What is reported.")
