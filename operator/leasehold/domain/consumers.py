"""Which keys of a Secret a pod takes, and whether its programs can see them change.

Read from the pod template alone, so it must not guess at what a program does with a value. The forms and what the
kubelet does with each are in ``docs/explanation/rollouts.md``:

- an environment variable is set when a container starts and never again: frozen
- a file of a secret or projected volume is replaced by the kubelet within a minute or so: visible
- a file mounted by ``subPath`` or ``subPathExpr`` is bound once: frozen
- a file that only plain init containers mount is read before the program starts: frozen
- a Secret for a volume driver (``csi.nodePublishSecretRef`` and its elders) goes to the driver alone: visible
- ``imagePullSecrets`` are read by the kubelet at every pull, ephemeral containers are no part of a template: neither
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

_DRIVERS = (
    ("csi", "nodePublishSecretRef"),
    ("flexVolume", "secretRef"),
    ("cephfs", "secretRef"),
    ("rbd", "secretRef"),
    ("iscsi", "secretRef"),
    ("scaleIO", "secretRef"),
    ("storageos", "secretRef"),
)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Some keys of a Secret by name, or every key that it has."""

    names: frozenset[str] = frozenset()
    every: bool = False

    def __bool__(self) -> bool:
        return self.every or bool(self.names)

    def __or__(self, other: KeySet) -> KeySet:
        return ALL if self.every or other.every else KeySet(self.names | other.names)

    def __sub__(self, other: KeySet) -> KeySet:
        """Take keys away; "every key but some" is still said as every key, which errs towards a restart."""
        if other.every:
            return NONE
        return self if self.every else KeySet(self.names - other.names)

    def among(self, names: Iterable[str]) -> frozenset[str]:
        """Return which of the names are in the set."""
        return frozenset(names) if self.every else self.names.intersection(names)


NONE = KeySet()
ALL = KeySet(every=True)


@dataclass(frozen=True, slots=True)
class Consumption:
    """How a pod takes one Secret. A key may be in both sets: then frozen counts."""

    visible: KeySet = NONE
    """Keys whose change reaches the pod without a restart."""
    frozen: KeySet = NONE
    """Keys whose change only a restart brings."""
    required: frozenset[str] = frozenset()
    """Keys without which a new pod would not start."""

    def __bool__(self) -> bool:
        return bool(self.visible) or bool(self.frozen)


NOT_CONSUMED = Consumption()


class _Form(Enum):
    FROZEN = "frozen"
    VISIBLE = "visible"
    STARTUP = "startup"


class _Use(NamedTuple):
    secret: str
    keys: KeySet
    form: _Form
    required: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Files:
    """What one Secret puts into a volume: path -> key, or None where each key is a file of its own name."""

    secret: str
    paths: Mapping[str, str] | None
    optional: bool

    @property
    def keys(self) -> KeySet:
        return ALL if self.paths is None else KeySet(frozenset(self.paths.values()))

    @property
    def required(self) -> frozenset[str]:
        return frozenset() if self.optional or self.paths is None else frozenset(self.paths.values())

    def beneath(self, path: str) -> KeySet:
        """Return the keys that a mount of this sub-path binds; all of them where it cannot be told."""
        place = posixpath.normpath(path)
        if "$(" in path or place == "." or place.startswith(".."):
            return self.keys
        if self.paths is None:
            return ALL if "/" in place else KeySet(frozenset((place,)))
        hits = (key for file, key in self.paths.items() if file == place or file.startswith(f"{place}/"))
        return KeySet(frozenset(hits))


@dataclass(frozen=True, slots=True)
class _Volume:
    files: tuple[_Files, ...] = ()
    drivers: tuple[str, ...] = ()
    """Secrets that go to the volume's driver."""


def consumption(pod_spec: Mapping[str, Any], secret: str) -> Consumption:
    """Return how pods of this ``spec.template.spec`` take the Secret of that name (``NOT_CONSUMED`` if not)."""
    return consumptions(pod_spec).get(secret, NOT_CONSUMED)


def consumptions(pod_spec: Mapping[str, Any]) -> dict[str, Consumption]:
    """Return how pods take each Secret that they name, in one walk over the pod spec."""
    by_secret: dict[str, list[_Use]] = {}
    for use in _uses(pod_spec):
        by_secret.setdefault(use.secret, []).append(use)
    return {secret: _fold(uses) for secret, uses in by_secret.items()}


def _fold(uses: list[_Use]) -> Consumption:
    kept = dict.fromkeys(_Form, NONE)
    for use in uses:
        kept[use.form] |= use.keys
    visible = kept[_Form.VISIBLE]
    # A program that has the file itself does not depend on what an init container made of it.
    return Consumption(
        visible=visible,
        frozen=kept[_Form.FROZEN] | (kept[_Form.STARTUP] - visible),
        required=frozenset().union(*(use.required for use in uses)),
    )


def _uses(pod_spec: Mapping[str, Any]) -> Iterator[_Use]:
    volumes = {volume.get("name"): _volume(volume) for volume in pod_spec.get("volumes") or ()}
    for container in pod_spec.get("containers") or ():
        yield from _environment(container)
        yield from _mounts(container, volumes, _Form.VISIBLE)
    for container in pod_spec.get("initContainers") or ():
        stays = container.get("restartPolicy") == "Always"  # a sidecar: runs as long as the pod
        yield from _environment(container)
        yield from _mounts(container, volumes, _Form.VISIBLE if stays else _Form.STARTUP)


def _environment(container: Mapping[str, Any]) -> Iterator[_Use]:
    for source in container.get("envFrom") or ():
        if ref := source.get("secretRef"):
            yield _Use(ref.get("name", ""), ALL, _Form.FROZEN)
    for variable in container.get("env") or ():
        if ref := (variable.get("valueFrom") or {}).get("secretKeyRef"):
            key = frozenset((ref.get("key", ""),))
            yield _Use(ref.get("name", ""), KeySet(key), _Form.FROZEN, frozenset() if ref.get("optional") else key)


def _mounts(container: Mapping[str, Any], volumes: Mapping[Any, _Volume], form: _Form) -> Iterator[_Use]:
    """Yield what the container mounts. A volume that nobody mounts is never set up by the kubelet: no use."""
    for mount in container.get("volumeMounts") or ():
        volume = volumes.get(mount.get("name"), _Volume())
        below = mount.get("subPath") or mount.get("subPathExpr") or ""
        for files in volume.files:
            if below:
                yield _Use(files.secret, files.beneath(below), _Form.FROZEN, files.required)
            else:
                yield _Use(files.secret, files.keys, form, files.required)
        for secret in volume.drivers:
            yield _Use(secret, ALL, _Form.VISIBLE)


def _volume(volume: Mapping[str, Any]) -> _Volume:
    if plain := volume.get("secret"):
        return _Volume(files=(_files(plain.get("secretName", ""), plain),))
    if projected := volume.get("projected"):
        sources = (source.get("secret") for source in projected.get("sources") or ())
        return _Volume(files=tuple(_files(source.get("name", ""), source) for source in sources if source))
    refs = ((volume.get(driver) or {}).get(field) or {} for driver, field in _DRIVERS)
    named = [ref.get("name", "") for ref in refs if ref]
    if azure := volume.get("azureFile"):
        named.append(azure.get("secretName", ""))
    return _Volume(drivers=tuple(named))


def _files(secret: str, source: Mapping[str, Any]) -> _Files:
    items = source.get("items")
    paths = {posixpath.normpath(item["path"]): item["key"] for item in items} if items else None
    return _Files(secret, paths, bool(source.get("optional")))
