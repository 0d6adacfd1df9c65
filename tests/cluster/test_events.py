"""Events: the contract, and when one is told, counted up, dropped, or waited for."""

import asyncio

import pytest
import structlog

from leasehold.cluster import events
from leasehold.cluster.events import AGE, BURST, RARE_BURST, RATE, REMEMBERED, ROOM, Bucket, KubeEvents
from leasehold.domain.facts import Key
from leasehold.domain.reasons import EventReason
from tests.contracts.cluster_writes import EventsContract
from tests.worlds.clock import ManualClock, breathe
from tests.worlds.cluster import ClusterWorld


class TestEventsInMemory(EventsContract):
    """The contract, on the cluster in memory."""


KEY = Key("ExternalSecret", "shop", "db")
WARNINGS = (EventReason.UPDATE_FAILED, EventReason.STORE_INVALID)


class Teller:
    """Events on a cluster in memory, and how many were dropped."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.world = ClusterWorld(self.clock)
        self.world.add_namespace("shop")
        self.dropped = 0
        self.events = KubeEvents(self.world, self.clock, dropped=self.drop)

    def drop(self) -> None:
        """Count."""
        self.dropped += 1

    def emit(self, message: str, *, key: Key = KEY, reason: EventReason = EventReason.UPDATED) -> None:
        """Tell something."""
        self.events.emit(key, uid="u", reason=reason, message=message, warning=reason in WARNINGS)

    @property
    def told(self) -> dict[str, int]:
        """Message -> count, as users see it."""
        return {event["message"]: event["count"] for event in self.world.every("Event")}


def test_a_bucket_lets_a_burst_pass_and_then_a_rate() -> None:
    bucket = Bucket(3, 2.0)
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(1000.4), bucket.take(1000.5), bucket.take(1000.6)] == [False, True, False]
    assert [bucket.take(9999.0) for _ in range(4)] == [True, True, True, False]


async def test_a_start_over_many_objects_tells_of_some() -> None:
    teller = Teller()
    for number in range(1000):
        teller.emit(f"Secret {number} created")
    await teller.events.flush()
    assert len(teller.told) == BURST
    assert teller.dropped == 1000 - BURST
    teller.clock.advance(3)
    for number in range(10):
        teller.emit(f"and {number}")
    await teller.events.flush()
    assert len(teller.told) == BURST + 3 * RATE


async def test_what_is_rare_is_not_crowded_out() -> None:
    teller = Teller()
    for number in range(int(RARE_BURST)):
        teller.emit(f"Secret {number} created")
    for number in range(int(RARE_BURST)):
        teller.emit(f"{number} fails", reason=EventReason.UPDATE_FAILED)
    await teller.events.flush()
    assert sum("fails" in message for message in teller.told) == RARE_BURST


async def test_what_is_told_again_much_later_is_posted_anew() -> None:
    teller = Teller()
    teller.emit("it fails")
    await teller.events.flush()
    teller.clock.advance(AGE - 1)
    teller.emit("it fails")
    await teller.events.flush()
    assert teller.told == {"it fails": 2}
    teller.clock.advance(2)
    teller.emit("it fails")
    await teller.events.flush()
    assert sorted(event["count"] for event in teller.world.every("Event")) == [1, 2]


async def test_two_objects_are_two_events() -> None:
    teller = Teller()
    for name in ("db", "web"):
        teller.emit("the same words", key=Key("ExternalSecret", "shop", name))
    await teller.events.flush()
    assert len(teller.world.every("Event")) == 2


async def test_an_object_of_the_cluster_is_told_of_in_the_default_namespace() -> None:
    teller = Teller()
    teller.world.add_namespace("default")
    teller.emit("store validated", key=Key("ClusterSecretStore", "", "shared"))
    await teller.events.flush()
    (event,) = teller.world.every("Event")
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]
    assert event["involvedObject"]["name"] == "shared"


async def test_telling_never_waits_and_what_does_not_fit_is_counted() -> None:
    teller = Teller()
    teller.world.gate = asyncio.Event()  # the API server hangs
    posting = asyncio.ensure_future(teller.events.run())
    for number in range(ROOM + 50):
        teller.clock.advance(1)  # no bucket ends this
        teller.emit(f"{number}")
        await asyncio.sleep(0)
    assert teller.dropped == 50 - 1  # one is under way
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)


async def test_an_outage_drops_events_and_ends_nothing() -> None:
    teller = Teller()
    posting = asyncio.ensure_future(teller.events.run())
    outage = teller.world.fail(times=None)
    teller.emit("lost")
    await breathe()
    outage.lift()
    teller.emit("heard")
    await breathe()
    assert teller.told == {"heard": 1}
    assert teller.dropped == 1
    assert not posting.done()
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)


async def test_not_even_a_bug_ends_it() -> None:
    teller = Teller()
    with structlog.testing.capture_logs() as logs:
        teller.emit("of a kind that has no events", key=Key("Unknown", "shop", "x"))
        teller.emit("fine")
        await teller.events.flush()
    assert teller.told == {"fine": 1}
    assert teller.dropped == 1
    assert "event_crashed" in [log["event"] for log in logs]


async def test_a_shutdown_does_not_wait_for_events_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PATIENCE", 0.01)
    teller = Teller()
    teller.emit("lost")
    teller.world.gate = asyncio.Event()  # the API server hangs
    await teller.events.flush()
    assert teller.told == {}


async def test_memory_of_what_was_told_is_bounded() -> None:
    teller = Teller()
    for number in range(REMEMBERED + 10):
        teller.clock.advance(1)
        teller.emit(f"{number}")
        if number % 500 == 0:
            await teller.events.flush()
    await teller.events.flush()
    assert len(teller.events._posted) == REMEMBERED
