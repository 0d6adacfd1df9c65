"""Series that belong to objects and go when the object goes.

A labelled child of prometheus-client costs about a kilobyte and can only be removed label by label; with five series
for each of tens of thousands of objects that is the operator's largest memory. Here a series is one entry of a dict,
and all series of one object go at once.
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


Owner: TypeAlias = tuple[str, str]
"""The first two labels, which go together: namespace ("" for cluster-scoped kinds) and name of the object."""


class ObjectSeries(Collector):
    """One family of gauges or counters, by object and then by the labels beyond the first two."""

    def __init__(self, spec: Described, *, kind: str) -> None:
        """Take the description and the type to announce: gauge or counter."""
        self._spec = spec
        # A counter's name ends in _total or tools reject it; some names of External Secrets Operator do not.
        self._kind = "unknown" if kind == "counter" and not spec.name.endswith("_total") else kind
        self._values: dict[Owner, dict[tuple[str, ...], float]] = {}

    def set(self, owner: Owner, value: float, *rest: str) -> None:
        """Set one series of the object."""
        self._values.setdefault(owner, {})[rest] = value

    def add(self, owner: Owner, amount: float, *rest: str) -> None:
        """Count on one series of the object."""
        held = self._values.setdefault(owner, {})
        held[rest] = held.get(rest, 0.0) + amount

    def replace(self, owner: Owner, values: Mapping[tuple[str, ...], float]) -> None:
        """Make these the only series of the object."""
        if values:
            self._values[owner] = dict(values)
        else:
            self.forget(owner)

    def forget(self, owner: Owner) -> None:
        """Drop every series of the object."""
        self._values.pop(owner, None)

    def describe(self) -> Iterable[Metric]:
        """Return the family without samples, so that the registry sees a name taken twice."""
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        """Return the family with its samples. Called from a thread: it reads copies, taken in one step each."""
        family = self._family()
        for owner, held in list(self._values.items()):
            for rest, value in list(held.items()):
                family.add_sample(self._spec.name, dict(zip(self._spec.labels, (*owner, *rest), strict=True)), value)
        return [family]

    def _family(self) -> Metric:
        name = self._spec.name.removesuffix("_total") if self._kind == "counter" else self._spec.name
        return Metric(name, self._spec.help, self._kind)
