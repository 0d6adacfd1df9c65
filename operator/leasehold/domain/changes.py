"""What must be written so that a live Secret becomes the wanted one, and nothing where they are equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leasehold.api.externalsecret import ExternalSecret
from leasehold.domain import desired
from leasehold.domain.desired import Shape
from leasehold.domain.errors import Misconfigured
from leasehold.domain.facts import LiveSecret, WantedSecret
from leasehold.domain.values import SecretBytes, SecretMap

OPAQUE = "Opaque"


@dataclass(frozen=True, slots=True)
class Change:
    """The Secret as it should be, and whether that differs from what is there."""

    wanted: WantedSecret
    needed: bool
    held_back: bool = False
    """True where an immutable Secret keeps its old data although the sources say otherwise."""


class Owned(Misconfigured):
    """The target belongs to another ExternalSecret; ESO's message stands alone before the cause."""


class Taken(Misconfigured):
    """The target is controlled by something that is no ExternalSecret."""


def change(secret: ExternalSecret, shape: Shape, live: LiveSecret | None) -> Change:
    """Return the change that makes the target true.

    Raises:
        Owned: the target belongs to another ExternalSecret.
        Taken: the target is controlled by another kind of object.
        Misconfigured: the target is immutable by another's will, and holds other data.
    """
    if live is None:
        return Change(_create(secret, shape), needed=True)
    check_owner(secret, live)
    frozen = secret.spec.target.immutable
    manager = desired.field_manager(secret.metadata.name)
    owned = managed_fields(live.metadata, manager)
    if frozen:
        data: SecretMap = live.data
        labels, annotations = _strings(live.metadata, "labels"), _strings(live.metadata, "annotations")
    else:
        kept = {key: value for key, value in live.data.items() if key not in owned.data}
        data = {**(kept if desired.merges(secret) else {}), **shape.data}
        _refuse_immutable(secret, live, data)
        labels = _without(_strings(live.metadata, "labels"), owned.labels) | dict(shape.labels)
        annotations = _without(_strings(live.metadata, "annotations"), owned.annotations) | dict(shape.annotations)
    wanted = WantedSecret(
        namespace=secret.metadata.namespace or "",
        name=desired.target_name(secret),
        data=data,
        type=live.type if frozen else shape.type or live.type,
        labels=_own_labels(secret, labels),
        annotations={**annotations, desired.ANNOTATION_HASH: desired.data_hash(data)},
        owner_references=_owners(secret, live.metadata.get("ownerReferences") or ()),
        finalizers=tuple(dict.fromkeys((*(live.metadata.get("finalizers") or ()), *shape.finalizers))),
        immutable=True if frozen else live.immutable or None,
        field_manager=manager,
        resource_version=live.resource_version,
        uid=str(live.metadata.get("uid", "")),
    )
    return Change(wanted, needed=_differs(wanted, live), held_back=frozen and live.immutable and _lacks(live, shape))


def _refuse_immutable(secret: ExternalSecret, live: LiveSecret, data: SecretMap) -> None:
    """Raise where the API server would refuse the data: it says only that the object is invalid."""
    if live.immutable and _unequal(data, live.data):
        raise Misconfigured(
            "it is immutable and holds other data",
            path=f"Secret {secret.metadata.namespace}/{desired.target_name(secret)}",
            remedy="delete it, or use another target.name",
        )


def _create(secret: ExternalSecret, shape: Shape) -> WantedSecret:
    return WantedSecret(
        namespace=secret.metadata.namespace or "",
        name=desired.target_name(secret),
        data=shape.data,
        type=shape.type or OPAQUE,
        labels=_own_labels(secret, shape.labels),
        annotations={**shape.annotations, desired.ANNOTATION_HASH: desired.data_hash(shape.data)},
        owner_references=_owners(secret, ()),
        finalizers=shape.finalizers,
        immutable=True if secret.spec.target.immutable else None,
        field_manager=desired.field_manager(secret.metadata.name),
    )


def _own_labels(secret: ExternalSecret, labels: Mapping[str, str]) -> dict[str, str]:
    ours = {key: value for key, value in labels.items() if key != desired.LABEL_CREATED_BY}
    if desired.owns(secret):
        ours[desired.LABEL_CREATED_BY] = desired.created_by(secret.metadata.namespace or "", secret.metadata.name)
    return {**ours, desired.LABEL_MANAGED: "true"}


def check_owner(secret: ExternalSecret, live: LiveSecret) -> None:
    """Raise Owned or Taken where the target's controller is somebody else."""
    controller = next((ref for ref in live.metadata.get("ownerReferences") or () if ref.get("controller")), None)
    if controller is None or _is_ours(secret, controller):
        return
    where = f"Secret {secret.metadata.namespace}/{desired.target_name(secret)}"
    if _is_external_secret(controller):
        raise Owned(
            f"it belongs to ExternalSecret {controller.get('name')}",
            path=where,
            remedy="give one of the two another target.name",
        )
    if desired.owns(secret):
        raise Taken(
            f"it is controlled by {controller.get('kind')} {controller.get('name')}",
            path=where,
            remedy="use another target.name, or creationPolicy Merge",
        )


def _is_external_secret(ref: Mapping[str, Any]) -> bool:
    return ref.get("kind") == desired.KIND and str(ref.get("apiVersion", "")).split("/")[0] == desired.GROUP


def _is_ours(secret: ExternalSecret, ref: Mapping[str, Any]) -> bool:
    return _is_external_secret(ref) and ref.get("name") == secret.metadata.name


def _owners(secret: ExternalSecret, present: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the owners with ours set in its place (as SetControllerReference does), or taken out where it rules."""
    if not desired.owns(secret):
        return tuple(ref for ref in present if not (_is_ours(secret, ref) and ref.get("controller")))
    ours = desired.owner_reference(secret)
    if not any(_is_ours(secret, ref) for ref in present):
        return (*present, ours)
    return tuple(ours if _is_ours(secret, ref) else ref for ref in present)


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields that an earlier write of the same field manager set."""

    data: frozenset[str]
    labels: frozenset[str]
    annotations: frozenset[str]


def managed_fields(metadata: Mapping[str, Any], manager: str) -> Fields:
    """Return what the field manager owns according to managedFields, whatever the operation and API version."""
    data: set[str] = set()
    labels: set[str] = set()
    annotations: set[str] = set()
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") != manager or entry.get("subresource"):
            continue
        fields = entry.get("fieldsV1") or {}
        meta = fields.get("f:metadata") or {}
        data |= _names(fields.get("f:data"))
        labels |= _names(meta.get("f:labels"))
        annotations |= _names(meta.get("f:annotations"))
    return Fields(frozenset(data), frozenset(labels), frozenset(annotations))


def _names(fields: Mapping[str, Any] | None) -> set[str]:
    return {name[2:] for name in fields or () if name.startswith("f:")}


def _strings(metadata: Mapping[str, Any], field: str) -> dict[str, str]:
    return dict(metadata.get(field) or {})


def _without(pairs: dict[str, str], names: frozenset[str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if key not in names}


def _differs(wanted: WantedSecret, live: LiveSecret) -> bool:
    return (
        _unequal(wanted.data, live.data)
        or wanted.type != live.type
        or bool(wanted.immutable) != live.immutable
        or dict(wanted.labels) != _strings(live.metadata, "labels")
        or dict(wanted.annotations) != _strings(live.metadata, "annotations")
        or [dict(ref) for ref in wanted.owner_references]
        != [dict(r) for r in live.metadata.get("ownerReferences") or ()]
        or wanted.finalizers != tuple(live.metadata.get("finalizers") or ())
    )


def _unequal(left: SecretMap, right: SecretMap) -> bool:
    return left.keys() != right.keys() or any(left[key] != right[key] for key in left)


def _lacks(live: LiveSecret, shape: Shape) -> bool:
    missing = SecretBytes(b"")
    return any(key not in live.data or live.data.get(key, missing) != value for key, value in shape.data.items())
