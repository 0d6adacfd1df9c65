"""Series that belong to objects and go when the object goes.

A labelled child of prometheus-client costs about a kilobyte and can only be removed label by label; with five series
for each of tens of thousands of objects that would be the operator's largest memory. Here a series is one entry of a
dict, and all series of one object go at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias

from prometheus_client import Metric
from prometheus_client.registry import Collector


class Described(Protocol):
    """What a family of series needs to know of itself."""

    @property
    def name(self) -> str:
        """Name as it is exposed."""
        ...

    @property
    def help(self) -> str:
        """One sentence."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names; the first two name the owner."""
        ...


Owner: TypeAlias = tuple[str, ...]
"""Whom a series belongs to. The last two parts are the values of the first two labels, so that a Key serves as it is
and no further tuple is kept per series."""


class ObjectSeries(Collector):
    """One family of gauges or counters, by object and then by the labels beyond the first two."""

    def __init__(self, spec: Described, *, kind: str) -> None:
        """Take the description and the type to announce: gauge or counter."""
        self._spec = spec
        # A counter's name ends in _total or tools reject it; some names of External Secrets Operator do not.
        self._kind = "unknown" if kind == "counter" and not spec.name.endswith("_total") else kind
        self._single: dict[Owner, float] = {}
        self._several: dict[Owner, Mapping[tuple[str, ...], float]] = {}

    def set(self, owner: Owner, value: float) -> None:
        """Set the one series of the object, in a family without further labels."""
        self._single[owner] = value

    def add(self, owner: Owner, amount: float) -> None:
        """Count on the one series of the object, in a family without further labels."""
        self._single[owner] = self._single.get(owner, 0.0) + amount

    def replace(self, owner: Owner, values: Mapping[tuple[str, ...], float]) -> None:
        """Make these the only series of the object. The mapping is kept, not copied: objects may share one."""
        if values:
            self._several[owner] = values
        else:
            self._several.pop(owner, None)

    def forget(self, owner: Owner) -> None:
        """Drop every series of the object."""
        self._single.pop(owner, None)
        self._several.pop(owner, None)

    def describe(self) -> Iterable[Metric]:
        """Return the family without samples, so that the registry sees a name taken twice."""
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        """Return the family with its samples. Called from a thread: it reads copies, taken in one step each."""
        family = self._family()
        for owner, value in list(self._single.items()):
            self._sample(family, owner, (), value)
        for owner, held in list(self._several.items()):
            for rest, value in held.items():
                self._sample(family, owner, rest, value)
        return [family]

    def _sample(self, family: Metric, owner: Owner, rest: tuple[str, ...], value: float) -> None:
        labels = dict(zip(self._spec.labels, (*owner[-2:], *rest), strict=True))
        family.add_sample(self._spec.name, labels, value)

    def _family(self) -> Metric:
        name = self._spec.name.removesuffix("_total") if self._kind == "counter" else self._spec.name
        return Metric(name, self._spec.help, self._kind)
