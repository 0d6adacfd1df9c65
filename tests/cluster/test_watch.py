"""What the watch of Secrets asks, hears and does when it breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson
import pytest

from leasehold.cluster import gist, listing, watch
from leasehold.cluster.api import Request
from leasehold.cluster.watch import SecretWatch
from leasehold.domain.errors import Conflict, Denied, DomainError, Unavailable
from tests.worlds.clock import ManualClock


def event(kind: str, name: str, version: str) -> bytes:
    return orjson.dumps({"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}})


def error(code: int) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code}})


class Api:
    """Answers watches in the order given, then stops the test; one list is always the same."""

    def __init__(self, *streams: list[bytes] | DomainError) -> None:
        self.streams = list(streams)
        self.asked: list[Request] = []

    async def send(self, request: Request) -> Any:
        self.asked.append(request)
        items = [{"metadata": {"name": "listed", "namespace": "shop", "resourceVersion": "40"}}]
        return {"metadata": {"resourceVersion": "50"}, "items": items}

    async def stream(self, request: Request, *, opened: Callable[[], None]) -> AsyncIterator[bytes]:
        self.asked.append(request)
        if not self.streams:
            raise asyncio.CancelledError
        answer = self.streams.pop(0)
        if isinstance(answer, DomainError):
            raise answer
        opened()
        for line in answer:
            yield line


class Room:
    """A watch, and everything that it tells."""

    def __init__(self, *streams: list[bytes] | DomainError) -> None:
        self.api, self.clock = Api(*streams), ManualClock()
        self.heard: list[tuple[str | None, str]] = []
        self.told: list[str] = []

    def hear(self, kind: str, event: str | None, body: Mapping[str, Any]) -> None:
        assert kind == gist.SECRET
        self.heard.append((event, body["metadata"]["name"]))

    def listing(self, plural: str) -> None:
        self.told.append(f"listing {plural}")

    def watching(self, plural: str) -> None:
        self.told.append(f"watching {plural}")

    def failed(self, plural: str) -> None:
        self.told.append(f"failed {plural}")

    async def run(self, version: str = "7", namespace: str = "") -> Room:
        api: Any = self.api
        room = SecretWatch(api, self.clock, namespace=namespace, heard=self.hear, fortune=self)
        with pytest.raises(asyncio.CancelledError):
            await room.run(version)
        return self

    @property
    def versions(self) -> list[str]:
        """From where each watch was asked to go on; "list" for a list."""
        return [request.params.get("resourceVersion", "list") for request in self.api.asked]


async def test_it_asks_for_metadata_of_managed_secrets() -> None:
    room = await Room().run(namespace="shop")
    (request,) = room.api.asked
    assert (request.verb, request.label, request.namespace) == ("watch", "secrets", "shop")
    assert request.accept.startswith("application/json;as=PartialObjectMetadata;")
    assert request.params["labelSelector"] == listing.SELECTOR
    assert request.params["resourceVersion"] == "7"
    assert request.params["allowWatchBookmarks"] == "true"


async def test_it_goes_on_where_it_ended() -> None:
    lines = [event("ADDED", "a", "8"), event("MODIFIED", "a", "9"), event("DELETED", "b", "11")]
    room = await Room(lines, [event("BOOKMARK", "", "30")]).run()
    assert room.heard == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert room.versions == ["7", "11", "30"]
    assert room.told == ["watching secrets"] * 2


async def test_what_ends_at_once_is_not_asked_without_a_breath() -> None:
    room = Room([], [], [])
    begun = room.clock.monotonic()
    await room.run()
    assert room.clock.monotonic() - begun == pytest.approx(3 * watch.BREATH)


@pytest.mark.parametrize("gone", [[event("ADDED", "a", "8"), error(410)], Conflict("too old")])
async def test_what_is_too_old_is_listed_again(gone: list[bytes] | DomainError) -> None:
    room = await Room(gone).run()
    assert room.versions == ["7", "list", "50"]
    assert room.heard[-1] == (None, "listed")
    assert room.told[-1] == "listing secrets"  # the sweep begins with it


async def test_without_a_version_it_lists_first() -> None:
    room = await Room().run("")
    assert room.versions == ["list", "50"]


@pytest.mark.parametrize(
    "failure", [Unavailable("it does not answer"), Denied("may not watch"), [error(500)], [b"<html>"]]
)
async def test_what_fails_is_told_and_tried_again_from_the_same_place(failure: list[bytes] | DomainError) -> None:
    room = Room(failure, failure, failure)
    begun = room.clock.monotonic()
    await room.run()
    assert room.versions == ["7"] * 4
    assert room.told.count("failed secrets") == 3
    assert room.clock.monotonic() - begun == pytest.approx(0.5 + 1.0 + 2.0)


async def test_the_servers_own_pause_is_kept() -> None:
    room = Room(Unavailable("it is busy", retry_after=20.0))
    begun = room.clock.monotonic()
    await room.run()
    assert room.clock.monotonic() - begun == 20.0
