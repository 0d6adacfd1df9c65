"""What is kept of an object that was heard, and what of it wakes somebody. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from leasehold.domain import desired
from leasehold.domain.facts import Controller, Key, Target

EXTERNAL_SECRET, STORE, CLUSTER_STORE = "ExternalSecret", "SecretStore", "ClusterSecretStore"
GENERATOR, SECRET, NAMESPACE = "VaultDynamicSecret", "Secret", "Namespace"
KINDS = (EXTERNAL_SECRET, STORE, CLUSTER_STORE, GENERATOR, SECRET, NAMESPACE)
_METADATA = (
    "name",
    "namespace",
    "uid",
    "generation",
    "resourceVersion",
    "labels",
    "annotations",
    "finalizers",
    "creationTimestamp",
    "deletionTimestamp",
)
_WAKING = ("generation", "labels", "annotations", "finalizers", "deletionTimestamp")


def slim(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of ours without what nobody reads (managedFields above all)."""
    metadata = {name: body["metadata"][name] for name in _METADATA if name in body["metadata"]}
    return {"metadata": metadata, "spec": body.get("spec") or {}, "status": body.get("status") or {}}


def pack(slimmed: Mapping[str, Any]) -> bytes:
    """Return it as JSON of its own size: what orjson returns keeps the room that it was written in, some 3 kB more."""
    return bytes(memoryview(orjson.dumps(slimmed)))


def mark(kind: str, slimmed: Mapping[str, Any]) -> int:
    """Return the hash of what wakes: what a user changes, and a store's readiness. Anything else is an echo."""
    parts = wish(slimmed)
    if kind in (STORE, CLUSTER_STORE):
        conditions = slimmed["status"].get("conditions") or ()
        parts.append([[condition.get("type"), condition.get("status")] for condition in conditions])
    return hash(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))


def wish(slimmed: Mapping[str, Any]) -> list[Any]:
    """Return what a user changes of an object."""
    return [slimmed["metadata"].get(name) for name in _WAKING]


def reports(before: bytes, slimmed: Mapping[str, Any]) -> bool:
    """Tell whether an object differs from before in its status alone, which says something: that is our own report.

    It concerns those who use it. A status that somebody has wiped out concerns the object itself, too.
    """
    return bool(slimmed["status"].get("conditions")) and wish(orjson.loads(before)) == wish(slimmed)


def references(namespace: str, spec: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the keys of all stores and generators that an ExternalSecret's raw spec names."""
    refs = [spec.get("secretStoreRef")]
    generators = []
    for item in (*(spec.get("data") or ()), *(spec.get("dataFrom") or ())):
        source = item.get("sourceRef") or {}
        refs.append(source.get("storeRef"))
        generators.append(source.get("generatorRef"))
    keys: dict[Key, None] = {}
    for ref in refs:
        if ref and ref.get("name"):
            kind = ref.get("kind") or STORE
            keys[Key(kind, "" if kind == CLUSTER_STORE else namespace, ref["name"])] = None
    for ref in generators:
        if ref and ref.get("name"):
            keys[Key(ref.get("kind") or "", namespace, ref["name"])] = None
    return tuple(keys)


def target_of(metadata: Mapping[str, Any]) -> Target:
    """Return the facts of a Secret's metadata."""
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    controller = None
    if owner is not None:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        controller = Controller(group, owner.get("kind", ""), owner.get("name", ""), owner.get("uid", ""))
    return Target(
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        managed=labels.get(desired.LABEL_MANAGED) == "true",
        data_hash=annotations.get(desired.ANNOTATION_HASH, ""),
        created_by=labels.get(desired.LABEL_CREATED_BY, ""),
        controller=controller,
        deleting="deletionTimestamp" in metadata,
    )


def outdated(seen: Target, known: Target) -> bool:
    """Tell whether a watch still speaks of an earlier version of a Secret than the one that we know."""
    return seen.uid == known.uid and earlier(seen.resource_version, known.resource_version)


def earlier(seen: str, known: str) -> bool:
    """Tell whether a resourceVersion came before another: they grow. Those that are no numbers are not compared."""
    return seen.isdecimal() and known.isdecimal() and int(seen) < int(known)
