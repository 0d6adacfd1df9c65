"""Which resources kopf hears (not Secrets: ``cluster.watch``), and what is done with an event: ``Ear`` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import kopf

NAMESPACES = ("", "v1", "namespaces")


class Ear(Protocol):
    """Takes what was heard."""

    def heard(self, kind: str, event: str | None, body: Mapping[str, Any]) -> None:
        """Take kind, event type (None: listed) and the raw object. Never raises, never waits."""
        ...


def register(registry: kopf.OperatorRegistry, ear: Ear, resources: Mapping[str, Sequence[str]]) -> None:
    """Hear every resource: kind -> group, version, plural."""
    for kind, (group, version, plural) in resources.items():
        _register(registry, ear, kind, (group, version, plural))


def _register(registry: kopf.OperatorRegistry, ear: Ear, kind: str, place: tuple[str, str, str]) -> None:
    @kopf.on.event(*place, id=f"hear-{kind.lower()}", registry=registry)
    async def hear(event: Mapping[str, Any], **_: Any) -> None:  # not sync: kopf would hop to a thread and back
        ear.heard(kind, event["type"], event["object"])
