"""The Secret that an ExternalSecret wants, to ESO's byte: labels, annotations, hashes, owner, field manager.

``reference/eso.md`` 2.3 is the source; the hashes were checked against its vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.target import CreationPolicy
from leasehold.domain.values import SecretMap

LABEL_MANAGED = "reconcile.external-secrets.io/managed"
LABEL_CREATED_BY = "reconcile.external-secrets.io/created-by"
ANNOTATION_HASH = "reconcile.external-secrets.io/data-hash"
GROUP = "external-secrets.io"
API_VERSION = f"{GROUP}/v1"
KIND = "ExternalSecret"
_MANAGER = "externalsecrets.external-secrets.io/"
_MANAGER_LIMIT = 63


@dataclass(frozen=True, slots=True)
class Shape:
    """What rendering gave: data, and the metadata that is not ours by rule."""

    data: SecretMap
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    type: str = ""
    finalizers: tuple[str, ...] = ()


def sha3(text: str) -> str:
    """Return the SHA3-224 hex digest that ESO uses for all its hashes."""
    return hashlib.sha3_224(text.encode()).hexdigest()


def data_hash(data: SecretMap) -> str:
    """Return the data-hash annotation: the digest of Go's ``%+v`` text of the data map.

    Unkeyed on purpose: compatibility demands it, and whoever reads it may read the Secret's metadata only.
    """
    body = " ".join(f"{key}:[{' '.join(map(str, data[key].reveal()))}]" for key in sorted(data))
    return sha3(f"map[{body}]")


def created_by(namespace: str, name: str) -> str:
    """Return the created-by label of an ExternalSecret."""
    return sha3(f"{namespace}/{name}")


def synced_version(secret: ExternalSecret) -> str:
    """Return syncedResourceVersion: the generation and the digest of labels and annotations."""
    meta = secret.metadata
    return f"{meta.generation}-{sha3(f'{{annotations:{_go_map(meta.annotations)} labels:{_go_map(meta.labels)}}}')}"


def _go_map(pairs: Mapping[str, str]) -> str:
    return f"map[{' '.join(f'{key}:{pairs[key]}' for key in sorted(pairs))}]"


def field_manager(name: str) -> str:
    """Return the field manager of an ExternalSecret's writes; long names are shortened by their digest."""
    manager = f"{_MANAGER}{name}"
    return manager if len(manager) <= _MANAGER_LIMIT else f"{_MANAGER}sha3/{sha3(name)}"


def target_name(secret: ExternalSecret) -> str:
    """Return the name of the Secret."""
    return secret.spec.target.name or secret.metadata.name


def owner_reference(secret: ExternalSecret) -> dict[str, Any]:
    """Return the ownerReference for creationPolicy Owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": secret.metadata.name,
        "uid": secret.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owns(secret: ExternalSecret) -> bool:
    """Tell whether the Secret belongs to the ExternalSecret and goes with it."""
    return secret.spec.target.creation_policy is CreationPolicy.OWNER


def merges(secret: ExternalSecret) -> bool:
    """Tell whether keys of others stay in the Secret."""
    return secret.spec.target.creation_policy in (CreationPolicy.MERGE, CreationPolicy.CREATE_OR_MERGE)
