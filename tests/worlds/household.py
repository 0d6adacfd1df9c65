"""A cluster with one ExternalSecret and a backend of leases: the ports that its passes need.

Every call may be the last one of the process: ``World.crash_at`` ends it before or after its effect.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from leasehold.api import parse
from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.stores import ClusterSecretStore, SecretStore
from leasehold.domain import desired
from leasehold.domain.errors import Conflict, DomainError
from leasehold.domain.facts import Controller, Key, LiveSecret, Target, WantedSecret, Written
from leasehold.domain.lease import LeaseRecord
from leasehold.domain.ports import Connection
from leasehold.domain.reasons import EventReason
from leasehold.domain.values import SecretBytes
from leasehold.flows import sync
from leasehold.flows.house import House, Rules
from tests.worlds.clock import ManualClock
from tests.worlds.lessor import Backend, FakeKeeper, FakeLeaser
from tests.worlds.objects import LEASED, external_secret, generator, store

KEY = Key("ExternalSecret", "shop", "db")


class Crash(BaseException):
    """The process ends here."""


class FakeRecords:
    """Lease records: what the API server has, and what this process knows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known = dict(world.records)

    def get(self, uid: str) -> LeaseRecord | None:
        """Return what this process knows."""
        return self._known.get(uid)

    def all(self) -> Collection[LeaseRecord]:
        """Return all that this process knows."""
        return tuple(self._known.values())

    async def save(self, record: LeaseRecord) -> None:
        """Write, then know."""
        await self._world.call("save", lambda: self._world.records.__setitem__(record.uid, record))
        self._known[record.uid] = record

    def note(self, record: LeaseRecord) -> None:
        """Know only."""
        self._known[record.uid] = record

    async def delete(self, uid: str) -> None:
        """Remove."""
        await self._world.call("delete record", lambda: self._world.records.pop(uid, None))
        self._known.pop(uid, None)


class FakeSecrets:
    """Target Secrets."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def get(self, namespace: str, name: str) -> LiveSecret | None:
        """Return a Secret."""
        return await self._world.call("get secret", lambda: copy_of(self._world.secrets.get((namespace, name))))

    async def create(self, wanted: WantedSecret) -> Written:
        """Create a Secret where there is none."""

        def effect() -> Written:
            if (wanted.namespace, wanted.name) in self._world.secrets:
                raise Conflict("it exists")
            return self._put(wanted, "uid-target")

        return await self._world.call("create secret", effect)

    async def replace(self, wanted: WantedSecret) -> Written:
        """Replace a Secret at its version."""

        def effect() -> Written:
            live = self._world.secrets.get((wanted.namespace, wanted.name))
            if live is None or live.resource_version != wanted.resource_version:
                raise Conflict("it has moved")
            return self._put(wanted, wanted.uid)

        return await self._world.call("replace secret", effect)

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete a Secret."""
        await self._world.call("delete secret", lambda: self._world.secrets.pop((namespace, name), None))

    def _put(self, wanted: WantedSecret, uid: str) -> Written:
        version = str(next(self._world.versions))
        self._world.secrets[wanted.namespace, wanted.name] = LiveSecret(
            metadata={
                "uid": uid,
                "resourceVersion": version,
                "labels": dict(wanted.labels),
                "annotations": dict(wanted.annotations),
                "ownerReferences": [dict(ref) for ref in wanted.owner_references],
            },
            type=wanted.type,
            immutable=bool(wanted.immutable),
            data=dict(wanted.data),
        )
        return Written(uid, version)


class World:
    """One ExternalSecret with one leased source, its Secret, and a process that looks after it."""

    def __init__(self, **spec: Any) -> None:
        self.clock = ManualClock()
        self.backend = Backend(self.clock)
        self.records: dict[str, LeaseRecord] = {}
        self.secrets: dict[tuple[str, str], LiveSecret] = {}
        self.generator_spec: dict[str, Any] = {}
        self.store_answers_are_leased = True
        self.calls: list[str] = []
        self.events: list[tuple[EventReason, str]] = []
        self.broken: dict[str, DomainError] = {}
        """Call -> what it answers instead of taking effect."""
        self.crash_at: tuple[int, str] | None = None
        """Number of the call at which the process ends, "before" or "after" its effect."""
        self.versions = itertools.count(1)
        self._count = itertools.count()
        self.object: ExternalSecret | None = None
        self.put(**spec)
        self.house = self.start()

    def put(self, *, uid: str = "uid-db", **spec: Any) -> None:
        """Create the ExternalSecret."""
        told = {"dataFrom": LEASED, "lease": {"rotateBefore": "10s", "gracePeriod": "5s"}, **spec}
        self.object = external_secret("db", metadata={"uid": uid}, **told)

    def edit(self, **spec: Any) -> None:
        """Change the spec."""
        assert self.object is not None
        wire = self.object.to_wire()
        wire["metadata"]["generation"] += 1
        wire["spec"].update(spec)
        self.object = parse.external_secret(wire)
        self.house.memory.release_hold(self.object.metadata.uid)

    def start(self) -> House:
        """Start a process that knows nothing but what the cluster holds."""
        self.house = House(
            view=self,
            secrets=FakeSecrets(self),
            objects=self,
            workloads=None,
            records=FakeRecords(self),
            events=self,
            registry=self,
            signals=Silence(),
            clock=self.clock,
            fingerprint_key=SecretBytes("fingerprint key"),
            wake=lambda key, seconds: None,
            note_status=lambda key, status: None,
            note_target=lambda namespace, name, target: None,
            rules=Rules(status_freshness=300.0),
        )
        return self.house

    async def call(self, name: str, effect: Callable[[], Any]) -> Any:
        """Let a call take effect, unless it is broken or the process ends."""
        number = next(self._count)
        self.calls.append(name)
        if self.crash_at == (number, "before"):
            raise Crash
        if name in self.broken:
            raise self.broken[name]
        result = effect()
        if self.crash_at == (number, "after"):
            raise Crash
        return result

    # ---------------------------------------------------------------------------------------------------------- passes

    async def look(self) -> float | None:
        """Make one pass."""
        return await sync.sync(self.house, KEY)

    async def run(self, seconds: float, *, looks: int = 500, watch: Callable[[], None] = lambda: None) -> int:
        """Look whenever a look is due; a crash starts a new process two seconds later. Return the number of looks."""
        end = self.clock.now() + seconds
        made = 0
        while self.clock.now() < end:
            made += 1
            assert made <= looks, f"one look after the other: {self.calls[-8:]}"
            try:
                due = await self.look()
            except Crash:
                watch()
                self.clock.advance(2.0)
                self.start()
                due = None if self.object is None and not self.records else self.clock.now()
            watch()
            due = end if due is None else min(due, end)
            while self.clock.now() < due:
                self.clock.advance(min(1.0, due - self.clock.now()))
                watch()
        return made

    def password(self) -> str | None:
        """Return the id of the lease whose credential the Secret carries."""
        live = self.secrets.get(("shop", "db"))
        value = live.data.get("password") if live is not None else None
        return value.reveal().decode() if value is not None else None

    def known_owners(self) -> set[str]:
        """Return the accessors that the written records name."""
        found = set()
        for record in self.records.values():
            for held in record.sources.values():
                leases = ([held.current] if held.current else []) + [old.lease for old in held.old]
                owners = [lease.owner for lease in leases] + ([held.intent.owner] if held.intent else [])
                found |= {owner.reveal().decode() for owner in owners}
        return found

    def strays(self) -> set[str]:
        """Return the leases that work and of which no record knows."""
        known = self.known_owners()
        return {lease_id for lease_id in self.backend.living() if self.backend.leases[lease_id].owner not in known}

    def states(self) -> list[str]:
        """Return the states of the leases in the status."""
        return [entry.state or "" for entry in self.object.status.leases] if self.object is not None else []

    def ready(self) -> tuple[str, str] | None:
        """Return status and message of the Ready condition."""
        conditions = self.object.status.conditions if self.object is not None else ()
        return next(((found.status, found.message or "") for found in conditions if found.type == "Ready"), None)

    # ------------------------------------------------------------------------------------------------- ports: the view

    def external_secret(self, key: Key) -> ExternalSecret | None:
        """Return the one object."""
        return self.object if key == KEY else None

    def external_secrets(self, namespace: str) -> Sequence[Key]:
        """Return its key."""
        return [KEY] if self.object is not None else []

    def store(self, kind: str, namespace: str, name: str) -> SecretStore | ClusterSecretStore | None:
        """Return a store that is ready."""
        return store(name)

    def generator(self, kind: str, namespace: str, name: str) -> VaultDynamicSecret | None:
        """Return the generator."""
        return generator(name, **self.generator_spec)

    def target(self, namespace: str, name: str) -> Target | None:
        """Return what the watch says of a managed Secret."""
        live = self.secrets.get((namespace, name))
        labels = live.metadata["labels"] if live is not None else {}
        if live is None or labels.get(desired.LABEL_MANAGED) != "true":
            return None
        owner = next(iter(live.metadata["ownerReferences"]), None)
        return Target(
            uid=live.metadata["uid"],
            resource_version=live.resource_version,
            managed=True,
            data_hash=live.metadata["annotations"].get(desired.ANNOTATION_HASH, ""),
            created_by=labels.get(desired.LABEL_CREATED_BY, ""),
            controller=Controller(desired.GROUP, owner["kind"], owner["name"], owner["uid"]) if owner else None,
        )

    def targets_created_by(self, namespace: str, created_by: str) -> Sequence[tuple[str, Target]]:
        """Return the Secrets with that label."""
        found = [(name, self.target(space, name)) for space, name in self.secrets if space == namespace]
        return [(name, target) for name, target in found if target is not None and target.created_by == created_by]

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return no labels."""
        return {}

    def heard(self, kind: str) -> bool:
        """All lists have been heard."""
        return True

    # ---------------------------------------------------------------------------------------------- ports: the cluster

    async def patch_status(self, key: Key, patch: Mapping[str, Any]) -> None:
        """Merge-patch the status."""

        def effect() -> None:
            if self.object is not None:
                wire = self.object.to_wire()
                self.object = parse.external_secret({**wire, "status": merged(patch, wire.get("status", {}))})

        await self.call("patch status", effect)

    def emit(self, key: Key, *, uid: str, reason: EventReason, message: str, warning: bool = False) -> None:
        """Note an event."""
        self.events.append((reason, message))

    # --------------------------------------------------------------------------------------------- ports: the registry

    async def open(self, ref: object, spec: object, identity: object) -> FakeLeaser:
        """Return the tenant's way to the backend."""
        return FakeLeaser(self)

    async def open_generator(self, ref: object, spec: object, identity: object) -> FakeLeaser:
        """Return the tenant's way to the backend."""
        return FakeLeaser(self)

    async def keeper(self, connection: Connection) -> FakeKeeper:
        """Return the operator's way to the backend."""
        return FakeKeeper(self)


class Silence:
    """Signals that nobody looks at."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: None


def copy_of(live: LiveSecret | None) -> LiveSecret | None:
    """Return a Secret as an answer carries it: no part is shared."""
    return None if live is None else replace(live, metadata=copy.deepcopy(dict(live.metadata)), data=dict(live.data))


def merged(patch: Any, target: Any) -> Any:
    """Apply a merge-patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(value, result.get(name))
    return result
