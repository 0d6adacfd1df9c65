"""The cluster that the contracts of the adapters stand on: one in memory, or a real API server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from leasehold.cluster.api import KubeApi
from leasehold.domain.facts import WantedSecret
from leasehold.domain.ports import Clock
from leasehold.domain.values import SecretBytes

MANAGER = "externalsecrets.external-secrets.io/db"
Change = Callable[[dict[str, Any]], Any]


class ClusterBench(Protocol):
    """A namespace of the test's own, the operator's client, and a user who acts beside it."""

    @property
    def namespace(self) -> str:
        """Its name."""
        ...

    @property
    def api(self) -> KubeApi:
        """May do everything."""
        ...

    @property
    def stranger(self) -> KubeApi:
        """Is known and may do nothing."""
        ...

    @property
    def clock(self) -> Clock:
        """Time, as the operator sees it."""
        ...

    def put(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in the namespace as a user; return it as the server has it."""
        ...

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object of the namespace as a user sees it, None where there is none."""
        ...

    def every(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind in the namespace."""
        ...

    def edit(self, kind: str, name: str, change: Change) -> dict[str, Any]:
        """Change an object as a user; return it."""
        ...

    def remove(self, kind: str, name: str) -> None:
        """Delete an object as a user, and wait until it is gone."""
        ...

    def end_namespace(self) -> None:
        """Begin to delete the namespace; something in it does not go yet."""
        ...

    def bearer(self, token: SecretBytes, audience: str) -> str:
        """Return "namespace/name" of the account whose token this is, "" where the audience may not take it."""
        ...


def hidden(**texts: str | bytes) -> dict[str, SecretBytes]:
    """Return values."""
    return {name: SecretBytes(text) for name, text in texts.items()}


FIRST, SECOND = hidden(password="canary-1"), hidden(password="canary-2")
"""Named, so that no line of a traceback quotes the values."""


def wanted(bench: ClusterBench, name: str = "db", **fields: Any) -> WantedSecret:
    """Return a Secret to be written: one value, a label and an annotation, unless ``fields`` say otherwise."""
    told: dict[str, Any] = {
        "namespace": bench.namespace,
        "name": name,
        "data": FIRST,
        "type": "Opaque",
        "labels": {"reconcile.external-secrets.io/managed": "true"},
        "annotations": {"reconcile.external-secrets.io/data-hash": "h"},
        "owner_references": (),
        "finalizers": (),
        "immutable": None,
        "field_manager": MANAGER,
        **fields,
    }
    return WantedSecret(**told)


def secret(name: str, labels: Mapping[str, str] | None = None, **data: str) -> dict[str, Any]:
    """Return a Secret as a user writes it; values are base64."""
    metadata = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def external_secret(name: str = "db") -> dict[str, Any]:
    """Return an ExternalSecret as a user writes it."""
    spec = {"secretStoreRef": {"name": "vault"}, "data": [{"secretKey": "a", "remoteRef": {"key": "app"}}]}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": spec,
    }


def workload(kind: str, name: str, **annotations: str) -> dict[str, Any]:
    """Return a workload that nothing schedules."""
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "registry.invalid/app"}]},
    }
    spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = 0
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def managers(body: Mapping[str, Any]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Return what managedFields say: manager, operation and subresource -> fields."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in body["metadata"]["managedFields"]
    }
