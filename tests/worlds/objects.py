"""Small builders of what passes look at. Kubernetes objects go through ``api.parse``: impossible ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leasehold.api import parse
from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.stores import ClusterSecretStore, SecretStore
from leasehold.domain import desired
from leasehold.domain.facts import Controller, LiveSecret, Target
from leasehold.domain.lease import Lease, LeaseRecord, SourceRecord
from leasehold.domain.report import rfc3339
from leasehold.domain.values import SecretBytes, SecretMap

NOW = 1_700_000_000.0
"""The moment in which most tests happen."""
DATA = [{"secretKey": "password", "remoteRef": {"key": "app/db", "property": "password"}}]
LEASED = [{"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": "creds"}}}]
"""spec.dataFrom with one leased source."""


def meta(name: str, **more: Any) -> dict[str, Any]:
    """Return metadata in wire form; ``more`` replaces parts of it."""
    return {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1, **more}


def external_secret(
    name: str = "db",
    *,
    status: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> ExternalSecret:
    """Return an ExternalSecret; ``spec`` holds fields in wire form (dataFrom=[...], target={...})."""
    filled = {"secretStoreRef": {"name": "vault"}, **spec}
    if "data" not in spec and "dataFrom" not in spec:
        filled["data"] = DATA
    return parse.external_secret(
        {"metadata": meta(name, **(metadata or {})), "spec": filled, "status": dict(status or {})}
    )


def synced(secret: ExternalSecret, *, at: float = NOW, ready: bool = True, **status: Any) -> ExternalSecret:
    """Return the object with the status of a pass at that time; ``status`` holds further fields in wire form."""
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": "SecretSynced" if ready else "SecretSyncedError",
        "message": "secret synced" if ready else "could not get secret data from provider: x",
        "lastTransitionTime": rfc3339(at),
    }
    told = {
        "refreshTime": rfc3339(at),
        "syncedResourceVersion": desired.synced_version(secret),
        "conditions": [condition],
        "binding": {"name": desired.target_name(secret)},
        "targetResourceVersion": "7",
        **status,
    }
    wire = {field: value for field, value in told.items() if value is not None}
    return parse.external_secret({**secret.to_wire(), "status": wire})


def store(name: str = "vault", *, ready: bool | None = True, **spec: Any) -> SecretStore:
    """Return a Vault SecretStore, validated unless ``ready`` says otherwise (None: never checked)."""
    return parse.secret_store({"metadata": meta(name), "spec": _store_spec(spec), "status": _store_status(ready)})


def cluster_store(name: str = "vault", *, ready: bool | None = True, **spec: Any) -> ClusterSecretStore:
    """Return a Vault ClusterSecretStore."""
    metadata = meta(name)
    del metadata["namespace"]
    return parse.cluster_secret_store({"metadata": metadata, "spec": _store_spec(spec), "status": _store_status(ready)})


def vault(**provider: Any) -> dict[str, Any]:
    """Return provider.vault in wire form."""
    auth = {"kubernetes": {"mountPath": "kubernetes", "role": "shop"}}
    return {"server": "http://vault:8200", "path": "secret", "version": "v1", "auth": auth, **provider}


def _store_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"provider": {"vault": vault()}, **spec}


def _store_status(ready: bool | None) -> dict[str, Any]:
    if ready is None:
        return {}
    return {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}


def generator(name: str = "creds", **spec: Any) -> VaultDynamicSecret:
    """Return a VaultDynamicSecret that reads database/creds/app."""
    return parse.vault_dynamic_secret(
        {"metadata": meta(name), "spec": {"path": "database/creds/app", "provider": vault(), **spec}}
    )


def values(**texts: str) -> dict[str, SecretBytes]:
    """Return secret values of texts."""
    return {key: SecretBytes(text) for key, text in texts.items()}


def target(*, version: str = "7", data: SecretMap | None = None, owner: str | None = "db", **more: Any) -> Target:
    """Return what the watch said of the Secret; ``owner`` is the controlling ExternalSecret."""
    controller = Controller(desired.GROUP, desired.KIND, owner, f"uid-{owner}") if owner is not None else None
    fields = {
        "uid": "uid-target",
        "resource_version": version,
        "managed": True,
        "data_hash": desired.data_hash(data or {}),
        "created_by": desired.created_by("shop", owner) if owner is not None else "",
        "controller": controller,
        **more,
    }
    return Target(**fields)


def live_secret(data: SecretMap, *, type: str = "Opaque", immutable: bool = False, **metadata: Any) -> LiveSecret:
    """Return a Secret as a GET gives it; ``metadata`` holds parts in wire form."""
    return LiveSecret(
        metadata={"name": "db", "namespace": "shop", "uid": "uid-target", "resourceVersion": "7", **metadata},
        type=type,
        immutable=immutable,
        data=data,
    )


def lease(lease_id: str = "database/creds/app/1", **fields: Any) -> Lease:
    """Return a lease of one hour, minted NOW, whose owner has a period of 24 hours."""
    told: dict[str, Any] = {
        "lease_id": SecretBytes(lease_id),
        "owner": SecretBytes(f"accessor of {lease_id}"),
        "values": values(username="v-app", password="first"),
        "issued_at": NOW,
        "duration": 3600.0,
        "expires_at": NOW + 3600.0,
        "renewed_at": NOW,
        "renewable": True,
        "owner_expires_at": NOW + 86_400.0,
        "owner_period": 86_400.0,
        "owner_renewed_at": NOW,
        **fields,
    }
    return Lease(**told)


def source(current: Lease | None = None, **fields: Any) -> SourceRecord:
    """Return the record of one source, described by the hash "h"."""
    return SourceRecord(
        **{"source_hash": "h", "connection": {"server": "http://vault:8200"}, **fields}, current=current
    )


def record(sources: Mapping[str, SourceRecord] | None = None, *, name: str = "db", **fields: Any) -> LeaseRecord:
    """Return the record of an ExternalSecret; by default with one lease for dataFrom[0]."""
    held = {"dataFrom[0]": source(lease())} if sources is None else sources
    return LeaseRecord(uid=f"uid-{name}", namespace="shop", name=name, sources=held, **fields)
