from __future__ import annotations

import asyncio

import pytest

from leasehold.domain.errors import Denied, DomainError, Unavailable
from leasehold.providers.circuit import LONGEST_ORDER, LONGEST_PAUSE, Circuit, Down, Health, Judgement, again
from tests.worlds.clock import ManualClock


class Broken(Exception):
    pass


class Backend:
    """Answers, or fails in the way that a test wants; counts who got through."""

    def __init__(self, clock: ManualClock, *, limit: int = 10) -> None:
        self.circuit = Circuit(clock=clock, limit=limit, lanes=("read", "mint"))
        self.down: Judgement = Health.ANSWERED
        self.calls = self.running = self.most = 0
        self.hold: asyncio.Event | None = None

    async def _send(self) -> str:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hold is not None:
                await self.hold.wait()
            else:
                await asyncio.sleep(0)
            if self.down is not Health.ANSWERED:
                raise Broken
            return "answer"
        finally:
            self.running -= 1

    def _judge(self, result: str | Exception) -> Judgement:
        return Health.ANSWERED if isinstance(result, str) else self.down

    async def call(self, lane: str = "read") -> str:
        return await self.circuit.run(self._send, judge=self._judge, lane=lane)

    def break_down(self, *, retry_after: float | None = None, throttled: bool = False) -> None:
        self.down = Down(Unavailable("it is down", remedy="wait", retry_after=retry_after), throttled=throttled)

    async def fail(self) -> None:
        with pytest.raises(Broken):
            await self.call()

    async def refused(self) -> Unavailable:
        with pytest.raises(Unavailable) as caught:
            await self.call()
        return caught.value


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend(clock: ManualClock) -> Backend:
    return Backend(clock)


async def test_one_failure_is_enough_for_all(backend: Backend) -> None:
    backend.break_down()
    await backend.fail()
    refusals = [await backend.refused() for _ in range(5)]
    assert backend.calls == 1
    assert {str(refusal) for refusal in refusals} == {"it is down; wait"}
    assert refusals[0].retry_after == 1.0


async def test_probes_come_one_at_a_time_and_ever_rarer(backend: Backend, clock: ManualClock) -> None:
    backend.break_down()
    await backend.fail()
    for pause in (1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE):
        clock.advance(pause - 0.01)
        await backend.refused()
        clock.advance(0.01)
        await backend.fail()
    assert backend.calls == 8


async def test_while_one_probes_others_are_refused(backend: Backend, clock: ManualClock) -> None:
    backend.break_down()
    await backend.fail()
    clock.advance(1)
    backend.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        probe = group.create_task(backend.call())
        await asyncio.sleep(0)
        assert (await backend.refused()).retry_after == 1.0
        backend.down = Health.ANSWERED
        backend.hold.set()
    assert probe.result() == "answer"
    backend.hold = None
    assert await backend.call() == "answer"
    assert backend.calls == 3


async def test_a_cancelled_probe_leaves_the_next_to_another(backend: Backend, clock: ManualClock) -> None:
    backend.break_down()
    await backend.fail()
    clock.advance(1)
    backend.hold = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await backend.call()
    backend.hold, backend.down = None, Health.ANSWERED
    assert await backend.call() == "answer"


async def test_recovery_forgets(backend: Backend, clock: ManualClock) -> None:
    backend.break_down()
    await backend.fail()
    clock.advance(1)
    await backend.fail()
    clock.advance(2)
    backend.down = Health.ANSWERED
    await backend.call()
    backend.break_down()
    await backend.fail()
    assert (await backend.refused()).retry_after == 1.0


async def test_those_under_way_fail_as_one(backend: Backend) -> None:
    backend.break_down()
    backend.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(backend.fail())
        await asyncio.sleep(0)
        backend.hold.set()
    assert (await backend.refused()).retry_after == 1.0


async def test_those_who_wait_for_a_slot_learn_of_the_failure(clock: ManualClock) -> None:
    backend = Backend(clock, limit=1)
    backend.break_down()
    results = await asyncio.gather(*(backend.call() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Broken] + [Unavailable] * 4
    assert backend.calls == 1


@pytest.mark.parametrize(("asked", "wait"), [(None, 1.0), (10.0, 10.0), (0.0, 1.0), (9999.0, LONGEST_ORDER)])
async def test_an_order_to_wait_is_heeded_within_reason(backend: Backend, asked: float | None, wait: float) -> None:
    backend.break_down(retry_after=asked, throttled=True)
    await backend.fail()
    assert (await backend.refused()).retry_after == wait


async def test_throttling_does_not_grow(backend: Backend, clock: ManualClock) -> None:
    backend.break_down(throttled=True)
    for _ in range(5):
        await backend.fail()
        assert (await backend.refused()).retry_after == 1.0
        clock.advance(1)


async def test_a_failure_of_the_call_itself_closes_nothing(backend: Backend) -> None:
    backend.down = Health.UNKNOWN
    await backend.fail()
    await backend.fail()
    assert backend.calls == 2


async def test_an_unknown_failure_opens_nothing_either(backend: Backend, clock: ManualClock) -> None:
    backend.break_down()
    await backend.fail()
    clock.advance(1)
    backend.down = Health.UNKNOWN
    await backend.fail()
    await backend.fail()  # the gate is due: each call probes
    backend.break_down()
    await backend.fail()
    assert (await backend.refused()).retry_after == 2.0


async def test_lanes_do_not_starve_each_other(clock: ManualClock) -> None:
    backend = Backend(clock, limit=2)
    backend.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(backend.call("mint"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert backend.running == 2
        held, backend.hold = backend.hold, None
        assert await backend.call("read") == "answer"
        held.set()
    assert backend.most == 3


@pytest.mark.parametrize("kind", [Unavailable, Denied])
def test_an_error_is_repeated_as_an_equal(kind: type[DomainError]) -> None:
    first = kind("cause", path="p", remedy="r", retry_after=3.0)
    second = again(first)
    assert second is not first
    assert (str(second), second.retry_after, type(second)) == (str(first), 3.0, kind)
    assert again(first, retry_after=1.0).retry_after == 1.0
