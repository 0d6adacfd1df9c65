"""The cluster in memory, as the contracts of the adapters want it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from leasehold.domain.values import SecretBytes
from tests.contracts.cluster import Change
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import ClusterWorld, Fault


class MemoryBench:
    """A `tests.contracts.cluster.ClusterBench` on a `ClusterWorld`."""

    namespace = "shop"

    def __init__(self, world: ClusterWorld, clock: ManualClock) -> None:
        self.world, self.clock = world, clock
        world.add_namespace(self.namespace)
        self.api: Any = world
        self.stranger: Any = ClusterWorld(clock)
        self.stranger.storage = world.storage
        self.stranger.inject(Fault(status=403, reason="Forbidden", times=None))

    def put(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        return self.world.put({**body, "metadata": {**body["metadata"], "namespace": self.namespace}})

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object."""
        return self.world.find(kind, self.namespace, name)

    def every(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        return self.world.every(kind, self.namespace)

    def edit(self, kind: str, name: str, change: Change) -> dict[str, Any]:
        """Change an object."""
        return self.world.edit(kind, self.namespace, name, change)

    def remove(self, kind: str, name: str) -> None:
        """Delete an object."""
        self.world.remove(kind, self.namespace, name)

    def end_namespace(self) -> None:
        """Begin to delete the namespace."""
        self.world.ending.add(self.namespace)

    def bearer(self, token: SecretBytes, audience: str) -> str:
        """Return whose token this is."""
        namespace, name, taken_by = json.loads(base64.urlsafe_b64decode(token.reveal().removeprefix(b"jwt.")))
        return f"{namespace}/{name}" if taken_by == audience else ""


@pytest.fixture
def clock() -> ManualClock:
    """Time that a test moves."""
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> ClusterWorld:
    """A cluster in memory."""
    return ClusterWorld(clock)


@pytest.fixture
def bench(world: ClusterWorld, clock: ManualClock) -> MemoryBench:
    """The same, as contracts see it."""
    return MemoryBench(world, clock)
