"""How far a workload's restart is, told from its own counts.

Conditions are not asked: ``Progressing=False`` stays from an earlier failure while the pods heal, and a
StatefulSet has none. Counts mean something only once the controller has seen the present template
(``observedGeneration``). What must be waited for by hands (paused, OnDelete, a partition) is no failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from leasehold.domain.facts import Workload


class Standing(Enum):
    """Where a restarted workload stands."""

    DONE = "done"
    """Every pod is of the present template and available, and no other pod is left."""
    MOVING = "moving"
    """Its controller replaces pods."""
    WAITING = "waiting"
    """Its controller will not go on until somebody does something."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The standing, and a clause that says what is missing ("" when done)."""

    standing: Standing
    message: str = ""


_DONE = Progress(Standing.DONE)


@dataclass(frozen=True, slots=True)
class _Counts:
    wanted: int
    updated: int
    available: int
    others: int
    """Pods of an older template that are still there."""

    @property
    def done(self) -> bool:
        return self.updated >= self.wanted and self.available >= self.wanted and self.others <= 0

    def __str__(self) -> str:
        text = f"{self.updated} of {self.wanted} pods new, {self.available} available"
        return f"{text}, {self.others} old" if self.others > 0 else text


def judge(workload: Workload) -> Progress:
    """Return how far the workload's present template is rolled out."""
    if int(workload.status.get("observedGeneration") or 0) < workload.generation:
        return Progress(Standing.MOVING, "its controller has not seen the restart yet")
    return _JUDGES[workload.ref.kind](workload)


def _deployment(workload: Workload) -> Progress:
    counts = _replica_counts(workload)
    if counts.done:
        return _DONE
    if workload.spec.get("paused"):
        return Progress(Standing.WAITING, f"the Deployment is paused: {counts}; resume it to finish")
    return Progress(Standing.MOVING, str(counts))


def _stateful_set(workload: Workload) -> Progress:
    counts = _replica_counts(workload)
    if counts.done:
        return _DONE
    strategy = workload.spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return _on_delete(counts)
    held = min(int((strategy.get("rollingUpdate") or {}).get("partition") or 0), counts.wanted)
    if held and counts.updated >= counts.wanted - held and counts.available >= counts.wanted:
        # The pods below the partition still hold the old value: nothing that they use may be ended.
        return Progress(Standing.WAITING, f"partition {held} keeps pods back: {counts}; lower it to finish")
    return Progress(Standing.MOVING, str(counts))


def _daemon_set(workload: Workload) -> Progress:
    status = workload.status
    wanted, updated = _count(status, "desiredNumberScheduled"), _count(status, "updatedNumberScheduled")
    counts = _Counts(wanted, updated, _count(status, "numberAvailable"), others=0)
    if counts.done:
        return _DONE
    if (workload.spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return _on_delete(counts)
    return Progress(Standing.MOVING, str(counts))


def _on_delete(counts: _Counts) -> Progress:
    """Judge a workload whose pods are replaced only when somebody deletes them."""
    if counts.updated >= counts.wanted:
        return Progress(Standing.MOVING, str(counts))
    return Progress(Standing.WAITING, f"updateStrategy is OnDelete: {counts}; delete its old pods to finish")


def _replica_counts(workload: Workload) -> _Counts:
    wanted = workload.spec.get("replicas")
    updated = _count(workload.status, "updatedReplicas")
    return _Counts(
        wanted=1 if wanted is None else int(wanted),
        updated=updated,
        available=_count(workload.status, "availableReplicas"),
        others=_count(workload.status, "replicas") - updated,
    )


def _count(status: Mapping[str, Any], name: str) -> int:
    """Return a count; the API server leaves out those that are 0."""
    return int(status.get(name) or 0)


_JUDGES = {"Deployment": _deployment, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set}
