"""What a run leaves behind: the operators' calls in the API server's audit log, their logs, and their pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from testbed.operator import Operator
from tests.live.operator.cluster import Body, Cluster


class Call(NamedTuple):
    """One kind of call that an operator made."""

    verb: str
    group: str
    resource: str
    """With its subresource."""
    own: bool
    """In the operator's own namespace."""


@dataclass(slots=True)
class Run:
    """The operators of a run; those in `shorn` were denied a right on purpose."""

    cluster: Cluster
    logs: Path
    operators: list[Operator] = field(default_factory=list)
    shorn: list[Operator] = field(default_factory=list)
    partial: bool = False
    """Not all tests are run, so that what no test has used is not unused."""

    def calls(self) -> tuple[set[Call], list[str]]:
        """Return what operators were allowed to call, and what they never were, shorn ones aside.

        An API server that has just started forbids for a moment what it allows later.
        """
        namespaces = {operator.user: operator.namespace for operator in self.operators if operator not in self.shorn}
        allowed: set[Call] = set()
        refused: dict[Call, str] = {}
        for entry in self._audit():
            user = entry["user"]["username"]
            place = entry.get("objectRef")
            if user not in namespaces or place is None:
                continue
            resource = "/".join(part for part in (place["resource"], place.get("subresource")) if part)
            own = place.get("namespace") == namespaces[user]
            call = Call(entry["verb"], place.get("apiGroup", ""), resource, own)
            if entry.get("annotations", {}).get("authorization.k8s.io/decision") == "allow":
                allowed.add(call)
            else:
                refused[call] = f"{entry['verb']} {entry['requestURI']}"
        return allowed, [told for call, told in refused.items() if call not in allowed]

    def _audit(self) -> Iterator[Body]:
        with self.cluster.plane.audit_log.open(encoding="utf-8") as lines:
            for line in lines:
                if '"system:serviceaccount:leasehold-' in line:
                    yield json.loads(line)


def metric(operator: Operator, series: str, /, **labels: str) -> float | None:
    """Return the value of a series on the metrics page, None where there is none."""
    for family in text_string_to_metric_families(operator.metrics()):
        for sample in family.samples:
            if sample.name == series and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def lines(operator: Operator, event: str) -> list[Body]:
    """Return the lines of an operator's log that tell of an event; every line is JSON."""
    found = (json.loads(line) for line in operator.process.log.read_text(encoding="utf-8").splitlines())
    return [line for line in found if line.get("event") == event]
