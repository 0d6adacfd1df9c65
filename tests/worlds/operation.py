"""The operator without its loop: real rooms on a cluster in memory, driven step by step in virtual time.

`house(world, registry)` builds it as `app` does. The world's watch events are heard when the test says so, due keys
are looked at one after the other, and time moves only by `until` and `after`. A second operation on the same world is
the operator after a restart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leasehold.cluster import keys, listing
from leasehold.cluster.events import KubeEvents
from leasehold.cluster.lists import QUIET
from leasehold.cluster.mirror import Mirror
from leasehold.cluster.objects import KubeObjects
from leasehold.cluster.records import KubeRecords
from leasehold.cluster.secrets import KubeSecrets
from leasehold.cluster.workloads import KubeWorkloads
from leasehold.domain.facts import Key
from leasehold.flows.house import House, Rules
from leasehold.handlers.desk import SETTLE, SETTLE_EVERY, Desk
from leasehold.schedule.agenda import Agenda
from leasehold.schedule.runner import Runner
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld, watched

MOST_LOOKS = 50
"""Looks at one key in one moment after which a test fails: it asks for the next look at once, for ever."""


@dataclass
class Figures:
    """A `domain.ports.Signals` that remembers."""

    passes: list[tuple[Key, str]] = field(default_factory=list)
    conditions: dict[Key, Mapping[str, str]] = field(default_factory=dict)
    refreshes: dict[Key, float] = field(default_factory=dict)
    leases: dict[Key, Mapping[str, float]] = field(default_factory=dict)
    renewals: list[str] = field(default_factory=list)
    mints: list[str] = field(default_factory=list)
    rollouts: list[str] = field(default_factory=list)
    forgotten: list[Key] = field(default_factory=list)
    dropped: int = 0

    def pass_ended(self, key: Key, *, seconds: float, result: str) -> None:
        """Count one pass."""
        self.passes.append((key, result))

    def conditions_set(self, key: Key, statuses: Mapping[str, str]) -> None:
        """Show conditions."""
        self.conditions[key] = dict(statuses)

    def refreshed(self, key: Key, at: float) -> None:
        """Show the last good read."""
        self.refreshes[key] = at

    def leases_set(self, key: Key, expiries: Mapping[str, float]) -> None:
        """Show when leases end."""
        self.leases[key] = dict(expiries)

    def lease_renewed(self, result: str) -> None:
        """Count a renewal."""
        self.renewals.append(result)

    def lease_minted(self, reason: str) -> None:
        """Count a mint."""
        self.mints.append(reason)

    def rollout_ended(self, result: str) -> None:
        """Count a rollout."""
        self.rollouts.append(result)

    def forget(self, key: Key) -> None:
        """Drop an object."""
        self.forgotten.append(key)

    def event_dropped(self) -> None:
        """Count an event that was not posted."""
        self.dropped += 1


class Operation:
    """One life of the operator. Attributes are the real rooms."""

    def __init__(
        self, world: ClusterWorld, registry: Any, *, clock: ManualClock, rules: Rules, namespace: str = ""
    ) -> None:
        self.world, self.registry, self.clock, self.rules = world, registry, clock, rules
        self.mirror, self.agenda, self.signals = Mirror(), Agenda(clock), Figures()
        self.records = KubeRecords(world, SYSTEM)  # type: ignore[arg-type]
        self.events = KubeEvents(world, clock, dropped=self.signals.event_dropped)  # type: ignore[arg-type]
        self.desk = Desk(self.mirror, self.agenda, world, clock, namespace=namespace)  # type: ignore[arg-type]
        self.runner = Runner(self.agenda, self._look, workers=1, clock=clock)
        self.looked: list[Key] = []
        """Every look so far, that for lost deletions aside."""
        self._heard = 0
        self.deaf = False
        """True: the watches hang, and what is said waits."""

    async def start(self) -> Operation:
        """Read key and records, hear the first lists."""
        api: Any = self.world
        key = await keys.fingerprint_key(api, SYSTEM)
        await self.records.load()
        self.desk.house = House(
            view=self.mirror,
            secrets=KubeSecrets(api),
            objects=KubeObjects(api, noted=self.mirror.note_version),
            workloads=KubeWorkloads(api),
            records=self.records,
            events=self.events,
            registry=self.registry,
            signals=self.signals,
            clock=self.clock,
            fingerprint_key=key,
            wake=self.desk.wake_in,
            note_status=self.desk.note_status,
            note_target=self.mirror.note_target,
            rules=self.rules,
        )
        self._heard = len(self.world.storage.stream)
        for kind in self.desk.kinds:
            await self.desk.hear_list(kind)
        self.desk.open()
        return self

    @property
    def house(self) -> House:
        """The ports and rules that flows are given."""
        assert self.desk.house is not None
        return self.desk.house

    # ------------------------------------------------------------------------------------------------------- hearing

    @property
    def unheard(self) -> int:
        """How many changes of the cluster were not heard yet."""
        return len(self.world.storage.stream) - self._heard

    def hear(self, *, times: int = 1) -> None:
        """Hear what the watches say: every event once, or several times."""
        stream = self.world.storage.stream
        while self._heard < len(stream):
            said = watched(stream[self._heard])
            self._heard += 1
            for _ in range(times if said else 0):
                assert said is not None
                self.desk.heard(*said)

    def lose(self) -> None:
        """Lose what the watches said: a gap, and nobody notices before the next `relist`."""
        self._heard = len(self.world.storage.stream)

    async def relist(self) -> None:
        """Let kopf list everything again, as after a gap, and look for what vanished in it."""
        self.lose()
        for kind in self.desk.kinds:
            self.desk.listed(kind)
            async for body in listing.everything(self.world, kind, ""):  # type: ignore[arg-type]
                self.desk.heard(kind, None, body)
        await self.after(max(QUIET, SETTLE_EVERY) + 1.0)

    # ------------------------------------------------------------------------------------------------------- looking

    async def quiet(self) -> None:
        """Hear and look until nothing is said and nothing is due now; then post the Events."""
        looks: Counter[Key] = Counter()
        while True:
            if not self.deaf:
                self.hear()
            key = self.agenda.take_now()
            if key is None:
                break
            looks[key] += 1
            assert looks[key] < MOST_LOOKS, f"{key} asks for the next look at once, for ever"
            await self.runner.look_at(key)
        await self.events.flush()

    async def until(self, at: float) -> None:
        """Let time pass to that moment (seconds since the epoch), looking at whatever becomes due on the way."""
        await self.quiet()
        while (due := self.agenda.next_due()) is not None and due <= at:
            self.clock.advance(max(due - self.clock.now(), 0.0))
            await self.quiet()
        self.clock.advance(max(at - self.clock.now(), 0.0))
        await self.quiet()

    async def after(self, seconds: float) -> None:
        """Let so many seconds pass."""
        await self.until(self.clock.now() + seconds)

    def due(self, kind: str, namespace: str, name: str) -> float | None:
        """Return when a key is looked at next, None where nothing is planned."""
        return self.agenda.due(Key(kind, namespace, name))

    async def _look(self, key: Key) -> float | None:
        if key != SETTLE:
            self.looked.append(key)
        return await self.desk.look(key)


async def house(
    world: ClusterWorld,
    registry: Any,
    *,
    clock: ManualClock | None = None,
    rules: Rules | None = None,
    namespace: str = "",
) -> Operation:
    """Start the operator on a world. ``registry`` is a `domain.ports.Registry`; a Vault's is `stores.Desk.registry`."""
    told: Any = clock or world.clock
    return await Operation(world, registry, clock=told, rules=rules or Rules(), namespace=namespace).start()
