"""What is heard, and that nothing else is registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import kopf
import pytest

from leasehold.cluster import gist, listing
from leasehold.handlers import ear

RESOURCES = {kind: (place.group, place.version, place.plural) for kind, place in listing.RESOURCES.items()}


class Ear:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None, Mapping[str, Any]]] = []

    def heard(self, kind: str, event: str | None, body: Mapping[str, Any]) -> None:
        """Take an event."""
        self.told.append((kind, event, body))


@pytest.fixture
def registry() -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    ear.register(registry, Ear(), RESOURCES)
    return registry


def test_every_kind_is_heard_by_one_handler(registry: kopf.OperatorRegistry) -> None:
    handlers = registry._watching._handlers
    heard = {
        (one.selector.group, one.selector.version, one.selector.any_name or one.selector.plural) for one in handlers
    }
    assert heard == set(RESOURCES.values())
    assert len({one.id for one in handlers}) == len(handlers) == len(gist.KINDS)


def test_nothing_is_registered_that_writes_or_indexes(registry: kopf.OperatorRegistry) -> None:
    for name in ("_changing", "_spawning", "_indexing", "_webhooks", "_activities"):
        assert not list(getattr(registry, name)._handlers), name


def test_handlers_are_coroutines(registry: kopf.OperatorRegistry) -> None:
    # kopf runs a plain function in a thread, where neither mirror nor agenda may be touched
    assert all(inspect.iscoroutinefunction(one.fn) for one in registry._watching._handlers)


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
async def test_an_event_is_passed_on_as_it_is_and_nothing_returned(kind: str | None) -> None:
    listener, registry = Ear(), kopf.OperatorRegistry()
    ear.register(registry, listener, {"Namespace": ear.NAMESPACES})
    (handler,) = registry._watching._handlers
    body = {"metadata": {"name": "db"}}
    assert await handler.fn(event={"type": kind, "object": body}, name="db", logger=None) is None
    assert listener.told == [("Namespace", kind, body)]
    assert listener.told[0][2] is body  # no copy of thousands
