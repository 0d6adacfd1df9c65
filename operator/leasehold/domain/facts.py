"""The frozen values that travel along one pass: what was seen, before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from leasehold.domain.values import SecretMap


class Key(NamedTuple):
    """Names one thing to look at: the unit of the agenda. ``namespace`` is "" for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Controller:
    """The controlling owner of an object (ownerReference with controller=true)."""

    group: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Target:
    """What the metadata-only watch last said about a Secret; no data, ever."""

    uid: str
    resource_version: str
    managed: bool
    """Label reconcile.external-secrets.io/managed=true."""
    data_hash: str
    """Annotation reconcile.external-secrets.io/data-hash, "" without."""
    created_by: str
    """Label reconcile.external-secrets.io/created-by, "" without."""
    controller: Controller | None
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """A Secret as one GET gave it. Only read when it must be compared or changed."""

    metadata: Mapping[str, Any]
    """Raw metadata: labels, annotations, ownerReferences, finalizers, managedFields, resourceVersion, uid."""
    type: str
    immutable: bool
    data: SecretMap

    @property
    def resource_version(self) -> str:
        """Version to name in a PUT, so that nobody else's write is lost."""
        return str(self.metadata.get("resourceVersion", ""))


@dataclass(frozen=True, slots=True)
class WantedSecret:
    """A whole Secret to be written: ``resource_version`` "" creates, otherwise replaces exactly that version."""

    namespace: str
    name: str
    data: SecretMap
    type: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_references: tuple[Mapping[str, Any], ...]
    finalizers: tuple[str, ...]
    immutable: bool | None
    field_manager: str
    resource_version: str = ""
    uid: str = ""


class Written(NamedTuple):
    """What the API server said of a write."""

    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class WorkloadRef:
    """Names one workload."""

    kind: str
    """Deployment | StatefulSet | DaemonSet."""
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as one LIST or GET gave it, slimmed to what rollouts need."""

    ref: WorkloadRef
    uid: str
    resource_version: str
    generation: int
    pod_spec: Mapping[str, Any]
    """spec.template.spec, raw."""
    pod_annotations: Mapping[str, str]
    """spec.template.metadata.annotations."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """spec without its template: replicas, paused, updateStrategy."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """status, raw: observedGeneration, replicas, updatedReplicas, availableReplicas, …"""
    created_at: float = 0.0
    """metadata.creationTimestamp in seconds since the epoch; 0 where it is not known."""
