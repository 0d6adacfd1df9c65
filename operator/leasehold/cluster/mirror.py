"""What we last heard of the cluster, slim: bytes of our own kinds, facts of Secrets, labels of namespaces. No I/O.

Objects are kept as JSON without what nobody reads and parsed on demand, since most of 10,000 rest most of the time.
``put`` says who is to be looked at: status-only changes wake nobody, a changed store or generator wakes its users.
Deletions that were lost in a watch gap are found by marking what a re-list names and asking about the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from leasehold.api import parse
from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.stores import ClusterSecretStore, SecretStore
from leasehold.cluster import gist
from leasehold.cluster.gist import CLUSTER_STORE, EXTERNAL_SECRET, GENERATOR, KINDS, NAMESPACE, SECRET, STORE
from leasehold.cluster.lists import Lists
from leasehold.domain.facts import Key, Target

Parsed = ExternalSecret | SecretStore | ClusterSecretStore | VaultDynamicSecret
_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Parsed]] = {
    EXTERNAL_SECRET: parse.external_secret,
    STORE: parse.secret_store,
    CLUSTER_STORE: parse.cluster_secret_store,
    GENERATOR: parse.vault_dynamic_secret,
}


@dataclass(slots=True)
class _Entry:
    uid: str
    body: bytes
    mark: int
    """Hash of what wakes: a change of anything else is an echo."""
    version: str
    """The latest resourceVersion that is known: what a watch says of an earlier one is past."""
    refs: tuple[Key, ...] = ()
    """Stores and generators that an ExternalSecret names."""
    target: str = ""


class Mirror:
    """ports.View, and the ways to tell it what was heard."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._objects: dict[Key, _Entry] = {}
        self._users: dict[Key, set[Key]] = {}
        self._aims: dict[tuple[str, str], set[Key]] = {}
        self._in_namespace: dict[str, set[Key]] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._created_by: dict[tuple[str, str], set[str]] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._lists = Lists(KINDS)
        self._parsed: dict[Key, tuple[bytes, Parsed]] = {}

    # ------------------------------------------------------------------------------------------------------ hearing

    def put(self, kind: str, event: str | None, body: Mapping[str, Any], *, now: float) -> set[Key]:
        """Take one watch event (``event`` None: listed; ADDED, MODIFIED, DELETED) and return the keys to look at."""
        metadata = body["metadata"]
        key = Key(kind, metadata.get("namespace") or "", metadata["name"])
        if event == "DELETED":
            return set() if kind == SECRET and self._is_past(key, metadata) else self.drop(key)
        self._lists.named(key, now=now, listed=event is None)
        if kind == SECRET:
            return self._put_target(key, metadata)
        if kind == NAMESPACE:
            return self._put_namespace(key.name, metadata.get("labels") or {})
        return self._put_object(key, body)

    def _is_past(self, key: Key, metadata: Mapping[str, Any]) -> bool:
        """Tell whether an end that is heard came before what we know: it was made again since, perhaps by us."""
        known = self._targets.get((key.namespace, key.name))
        return known is not None and gist.earlier(metadata.get("resourceVersion", ""), known.resource_version)

    def _put_object(self, key: Key, body: Mapping[str, Any]) -> set[Key]:
        before, version = self._objects.get(key), body["metadata"].get("resourceVersion", "")
        uid = body["metadata"]["uid"]
        if before is not None and before.uid == uid and gist.earlier(version, before.version):
            return set()  # our own status write is ahead of the watch
        slim = gist.slim(body)
        mark = gist.mark(key.kind, slim)
        entry = _Entry(uid, gist.pack(slim), mark, version)
        if key.kind == EXTERNAL_SECRET:
            self._index(key, before, entry, slim["spec"])
        self._objects[key] = entry
        self._parsed.pop(key, None)
        if before is not None and before.uid == uid:
            if before.mark == mark:
                return set()
            if gist.reports(before.body, slim):
                return set(self._users.get(key, ()))
        return {key, *self._users.get(key, ())}

    def _put_namespace(self, name: str, labels: Mapping[str, str]) -> set[Key]:
        """Take a namespace's labels; whoever uses a store of the cluster may be allowed to now, or no longer."""
        before = self._labels.get(name)
        self._labels[name] = labels
        if before == labels:
            return set()
        users = self._in_namespace.get(name, ())
        return {key for key in users if any(ref.kind == CLUSTER_STORE for ref in self._objects[key].refs)}

    def _index(self, key: Key, before: _Entry | None, entry: _Entry, spec: Mapping[str, Any]) -> None:
        entry.refs = gist.references(key.namespace, spec)
        entry.target = (spec.get("target") or {}).get("name") or key.name
        if before is not None and (before.refs, before.target) == (entry.refs, entry.target):
            return
        self._unindex(key, before)
        for ref in entry.refs:
            self._users.setdefault(ref, set()).add(key)
        self._aims.setdefault((key.namespace, entry.target), set()).add(key)
        self._in_namespace.setdefault(key.namespace, set()).add(key)

    def _unindex(self, key: Key, entry: _Entry | None) -> None:
        if entry is None:
            return
        for ref in entry.refs:
            _discard(self._users, ref, key)
        _discard(self._aims, (key.namespace, entry.target), key)
        _discard(self._in_namespace, key.namespace, key)

    def _put_target(self, key: Key, metadata: Mapping[str, Any]) -> set[Key]:
        target = gist.target_of(metadata)
        place = (key.namespace, key.name)
        before = self._targets.get(place)
        if before is not None and gist.outdated(target, before):
            return set()
        self.note_target(key.namespace, key.name, target)
        if before is not None and before.resource_version == target.resource_version:
            return set()
        return set(self._aims.get(place, ()))

    def drop(self, key: Key) -> set[Key]:
        """Take it that the object is gone; return the keys to look at.

        An ExternalSecret that nobody knew is looked at all the same: an earlier life may have left leases.
        """
        self._lists.confirm(key)
        if key.kind == NAMESPACE:
            self._labels.pop(key.name, None)
            return set()
        if key.kind == SECRET:
            if (key.namespace, key.name) not in self._targets:
                return set()
            self.note_target(key.namespace, key.name, None)
            return set(self._aims.get((key.namespace, key.name), ()))
        entry = self._objects.pop(key, None)
        self._parsed.pop(key, None)
        if entry is None:
            return {key} if key.kind == EXTERNAL_SECRET else set()
        if key.kind == EXTERNAL_SECRET:
            self._unindex(key, entry)
        return {key, *self._users.get(key, ()), *self._aims.get((key.namespace, entry.target), ())}

    def begin_list(self, kind: str, *, now: float) -> None:
        """Take it that a list of the kind begins: only so one is noticed that names nothing any more."""
        self._lists.begin(kind, now=now)

    def end_list(self, kind: str) -> None:
        """Take it that the first list of the kind has been heard, also where it was empty."""
        self._lists.end(kind)

    def settle(self, *, now: float) -> tuple[Key, ...]:
        """Return the keys that the last lists did not name: gone or new. Ask the API server about each.

        They are returned again until ``drop`` or ``confirm`` says what became of them, or something is heard of them.
        """
        return self._lists.settle(self._known, now=now)

    def doubts(self, key: Key) -> bool:
        """Tell whether nothing was heard of a key since ``settle`` returned it."""
        return self._lists.doubts(key)

    def confirm(self, key: Key) -> None:
        """Take it that an object in doubt is there."""
        self._lists.confirm(key)

    def _known(self, kind: str) -> Iterable[Key]:
        if kind == SECRET:
            return [Key(SECRET, *place) for place in self._targets]
        if kind == NAMESPACE:
            return [Key(NAMESPACE, "", name) for name in self._labels]
        return [key for key in self._objects if key.kind == kind]

    # ------------------------------------------------------------------------------------------------- own writes

    def note_status(self, key: Key, status: Mapping[str, Any]) -> set[Key]:
        """Take our own status write, so that its echo wakes nobody; return who depends on it."""
        entry = self._objects.get(key)
        if entry is None:
            return set()
        slim = orjson.loads(entry.body)
        slim["status"] = status
        mark = gist.mark(key.kind, slim)
        changed = mark != entry.mark
        entry.body, entry.mark = gist.pack(slim), mark
        self._parsed.pop(key, None)
        return set(self._users.get(key, ())) if changed else set()

    def note_version(self, key: Key, uid: str, version: str) -> None:
        """Take the version that our own status write made: echoes of earlier ones are past."""
        entry = self._objects.get(key)
        if entry is not None and entry.uid == uid and gist.earlier(entry.version, version):
            entry.version = version

    def note_target(self, namespace: str, name: str, target: Target | None) -> None:
        """Take our own write of a Secret (None: deleted)."""
        place = (namespace, name)
        before = self._targets.pop(place, None)
        if before is not None and before.created_by:
            _discard(self._created_by, (namespace, before.created_by), name)
        if target is None:
            return
        self._targets[place] = target
        if target.created_by:
            self._created_by.setdefault((namespace, target.created_by), set()).add(name)

    # ----------------------------------------------------------------------------------------------------- looking

    def _parse(self, key: Key) -> Parsed | None:
        entry = self._objects.get(key)
        if entry is None:
            return None
        held = self._parsed.get(key)
        if held is not None and held[0] is entry.body:
            return held[1]
        parsed = _PARSERS[key.kind](orjson.loads(entry.body))
        if key.kind != EXTERNAL_SECRET:  # stores and generators are few and looked at by many
            self._parsed[key] = (entry.body, parsed)
        return parsed

    def external_secret(self, key: Key) -> ExternalSecret | None:
        """Return the ExternalSecret, parsed. Raises leasehold.api.parse.Invalid where it does not parse."""
        found = self._parse(key)
        return found if isinstance(found, ExternalSecret) else None

    def external_secrets(self, namespace: str) -> Sequence[Key]:
        """Return the keys of all ExternalSecrets of a namespace."""
        return sorted(self._in_namespace.get(namespace, ()))

    def store(self, kind: str, namespace: str, name: str) -> SecretStore | ClusterSecretStore | None:
        """Return the store, parsed (``namespace`` is ignored for a ClusterSecretStore)."""
        found = self._parse(Key(kind, "" if kind == CLUSTER_STORE else namespace, name))
        return found if isinstance(found, SecretStore | ClusterSecretStore) else None

    def generator(self, kind: str, namespace: str, name: str) -> VaultDynamicSecret | None:
        """Return the generator, parsed."""
        found = self._parse(Key(kind, namespace, name))
        return found if isinstance(found, VaultDynamicSecret) else None

    def target(self, namespace: str, name: str) -> Target | None:
        """Return what is known of a Secret that carries the managed label."""
        return self._targets.get((namespace, name))

    def targets_created_by(self, namespace: str, created_by: str) -> Sequence[tuple[str, Target]]:
        """Return name and facts of the Secrets whose created-by label is that."""
        names = sorted(self._created_by.get((namespace, created_by), ()))
        return [(name, self._targets[namespace, name]) for name in names]

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, or None when unknown."""
        return self._labels.get(namespace)

    def heard(self, kind: str) -> bool:
        """Tell whether the first list of that kind has been heard to its end."""
        return self._lists.ended(kind)

    def uids(self, kind: str) -> frozenset[str]:
        """Return the uids of all objects of a kind of ours."""
        return frozenset(entry.uid for key, entry in self._objects.items() if key.kind == kind)

    def uid(self, key: Key) -> str:
        """Return the uid of an object of ours, "" where it is not known."""
        entry = self._objects.get(key)
        return entry.uid if entry is not None else ""


def _discard(index: dict[Any, set[Any]], place: Any, member: Any) -> None:
    members = index.get(place)
    if members is not None:
        members.discard(member)
        if not members:
            del index[place]
