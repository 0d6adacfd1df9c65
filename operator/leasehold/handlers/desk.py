"""Where what was heard becomes looks: events go to the mirror, keys to the agenda, due keys to their flow.

It knows which room does what and nothing of how; it decides nothing, and hearing does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from leasehold.cluster import gist, listing
from leasehold.cluster.api import KubeApi
from leasehold.cluster.mirror import Mirror
from leasehold.domain.errors import Missing
from leasehold.domain.facts import Key
from leasehold.domain.ports import Clock
from leasehold.flows import check, release, rollout, sync
from leasehold.flows.house import House
from leasehold.schedule.agenda import Agenda, Lane
from leasehold.telemetry import correlation

SETTLE = Key("Sweep", "", "lists")
"""Agenda key of the look for deletions that were lost in a watch gap."""
SETTLE_EVERY = 15.0
_LOOKED_AT = frozenset({gist.EXTERNAL_SECRET, gist.STORE, gist.CLUSTER_STORE})


class Desk:
    """Joins mirror, agenda and flows; ``house`` is given once it is built, before the first look."""

    def __init__(self, mirror: Mirror, agenda: Agenda, api: KubeApi, clock: Clock, *, namespace: str = "") -> None:
        """Take the rooms, and the one namespace that is heard ("" for all)."""
        self._mirror, self._agenda, self._api, self._clock = mirror, agenda, api, clock
        self._namespace = namespace
        self.house: House | None = None

    # ------------------------------------------------------------------------------------------------------- hearing

    @property
    def kinds(self) -> list[str]:
        """What is heard: one namespace has no objects of the cluster."""
        cluster = (gist.CLUSTER_STORE, gist.NAMESPACE)
        return [kind for kind in gist.KINDS if not self._namespace or kind not in cluster]

    async def hear_list(self, kind: str) -> str:
        """Fill the mirror with a kind before the first pass: only then is what is absent really missing.

        Return the resourceVersion of the list, from which a watch goes on.

        Raises:
            Missing: the CRD is not installed.
            DomainError: the API server refused or did not answer.
        """
        versions: list[str] = [""]
        try:
            async for body in listing.everything(self._api, kind, self._namespace, version=versions.append):
                self.wake(self._mirror.put(kind, "ADDED", body, now=self._clock.monotonic()), Lane.REFRESH)
        except Missing:
            resource = listing.RESOURCES[kind]
            raise Missing(
                f"the API server does not know {resource.plural}.{resource.group}",
                path="CustomResourceDefinition",
                remedy="apply crds/ or install the chart with crds.install",
            ) from None
        self._mirror.end_list(kind)
        return versions[-1]

    def open(self) -> None:
        """Plan the first look for lost deletions, and the release of what objects left behind that are gone."""
        assert self.house is not None
        self._agenda.at(SETTLE, self._clock.now() + SETTLE_EVERY)
        release.orphans(self.house, self._mirror.uids(gist.EXTERNAL_SECRET) | self._of_others())

    def _of_others(self) -> frozenset[str]:
        """Return whose records are none of ours: of a namespace that we do not hear, nothing can be said to be gone."""
        assert self.house is not None
        records = self.house.records.all() if self._namespace else ()
        return frozenset(record.uid for record in records if record.namespace != self._namespace)

    def heard(self, kind: str, event: str | None, body: Mapping[str, Any]) -> None:
        """Take one watch event (None: listed)."""
        woken = self._mirror.put(kind, event, body, now=self._clock.monotonic())
        self.wake(woken, Lane.DRIFT if kind == gist.SECRET else Lane.USER)

    def listed(self, kind: str) -> None:
        """Take it that the watch's room begins to list a kind again, be it that nothing is left of it."""
        self._mirror.begin_list(kind, now=self._clock.monotonic())

    def wake(self, keys: Iterable[Key], lane: Lane) -> None:
        """Have keys looked at; what has changed may be tried again before its backoff ends."""
        for key in keys:
            if self.house is not None and lane is not Lane.REFRESH:
                self.house.memory.release_hold(self._mirror.uid(key))
            if key.kind in _LOOKED_AT:
                self._agenda.wake(key, lane)

    def wake_in(self, key: Key, seconds: float) -> None:
        """Look at a key again in so many seconds."""
        self._agenda.at(key, self._clock.now() + seconds, Lane.USER)

    def note_status(self, key: Key, status: dict[str, Any]) -> None:
        """Take our own status write: its echo wakes nobody, what depends on it is looked at."""
        self.wake(self._mirror.note_status(key, status), Lane.USER)

    # ------------------------------------------------------------------------------------------------------- looking

    async def look(self, key: Key) -> float | None:
        """Send a key to its flow; return when it is due again (seconds since the epoch), None for never."""
        house = self.house
        assert house is not None
        with correlation.scope():
            if key.kind == gist.EXTERNAL_SECRET:
                return await sync.sync(house, key)
            if key.kind in (gist.STORE, gist.CLUSTER_STORE):
                return await check.check(house, key)
            if key.kind.startswith(rollout.WORKLOAD):
                return await rollout.restart(house, key)
            return await self._settle()

    async def _settle(self) -> float:
        """Find deletions that were lost in a watch gap: ask about what a re-list did not name."""
        for key in self._mirror.settle(now=self._clock.monotonic()):
            found = await listing.one(self._api, key)
            if not self._mirror.doubts(key):
                continue  # the watch has spoken of it meanwhile
            if found is None:
                self.wake(self._mirror.drop(key), Lane.DRIFT)
            else:
                self._mirror.confirm(key)
        return self._clock.now() + SETTLE_EVERY
