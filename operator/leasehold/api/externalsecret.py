"""ExternalSecret, external-secrets.io/v1: every field of ESO, plus identity, lease, rollout and failover."""

from collections import Counter
from enum import StrEnum
from itertools import pairwise
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

_UNIQUE_TIERS = (1, 16, 128)


class RefreshPolicy(StrEnum):
    """When values are read again."""

    CREATED_ONCE = "CreatedOnce"
    PERIODIC = "Periodic"
    ON_CHANGE = "OnChange"


class SyncWindows(Model):
    """Times when periodic refreshes are allowed or denied."""

    kind: Literal["allow", "deny"] = Field(description="Whether the windows allow or deny.")
    windows: tuple[Window, ...] = Field(description="The windows.", json_schema_extra={"minItems": 1})


def _unique_key_rules() -> list[tuple[str, str]]:
    """Return CEL rules against a secretKey that comes twice, for lists of up to 128 entries.

    The API server wants to foresee what a rule costs, and ESO's list has no bound from which it could. A list over
    literal places has one; two sizes of it keep the usual short list cheap. Measured on the API server: below 1 ms of
    CPU for 16 entries, 7 ms for 128, where nested loops over the entries took 5 and 276 ms. 128 keys of full length
    nearly use up the limit for one call. Longer lists are checked when read: `ExternalSecretSpec.repeated_keys`.
    """
    retain = "has(self.target) && has(self.target.deletionPolicy) && self.target.deletionPolicy != 'Retain'"
    found = []
    for below, size in pairwise(_UNIQUE_TIERS):
        places = str(list(range(size))).replace(" ", "")
        elsewhere = f"!has(self.data) || size(self.data) <= {below} || size(self.data) > {size} || ({retain})"
        keys = f"{places}.filter(i, i < size(self.data)).map(i, self.data[i].secretKey)"
        rule = f"{elsewhere} || [{keys}].all(keys, keys.all(k, keys.indexOf(k) == keys.lastIndexOf(k)))"
        found.append((rule, "each secretKey in data may come only once (with deletionPolicy Retain)"))
    return found


class ExternalSecretSpec(Model):
    """What is wanted: which values, from where, into which Secret."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(has(self.data) && size(self.data) > 0) || (has(self.dataFrom) && size(self.dataFrom) > 0)",
                "nothing to read: set data or dataFrom",
            ),
            *_unique_key_rules(),
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
        description="Single keys; they win over dataFrom.",
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

    def repeated_keys(self) -> tuple[str, ...]:
        """Return each secretKey that `data` has more than once, in order: an error under deletionPolicy Retain."""
        counts = Counter(item.secret_key for item in self.data)
        return tuple(key for key, count in counts.items() if count > 1)


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
