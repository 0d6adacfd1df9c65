"""Bounded workers: one key's trouble is its own, and an end is an end."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import structlog

from leasehold.domain.errors import Unavailable
from leasehold.domain.facts import Key
from leasehold.schedule.agenda import Agenda
from leasehold.schedule.runner import FIRST_BACKOFF, LAST_BACKOFF, MOST_AT_ONCE, Runner
from tests.worlds.clock import VirtualClock, breathe


def key(name: str) -> Key:
    return Key("ExternalSecret", "shop", name)


A, B = key("a"), key("b")


class Shop:
    """An agenda, a runner, and looks that a test scripts."""

    def __init__(self, *, workers: int = 2) -> None:
        self.clock = VirtualClock()
        self.agenda = Agenda(self.clock)
        self.runner = Runner(self.agenda, self._look, workers=workers, clock=self.clock)
        self.looks: list[tuple[str, float]] = []
        self.under_way = self.most = 0
        self.act: Callable[[Key], Awaitable[float | None]] = self._nothing
        self._begin = self.clock.now()

    async def _nothing(self, _: Key) -> float | None:
        return None

    async def _look(self, key: Key) -> float | None:
        self.looks.append((key.name, self.clock.now() - self._begin))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self.act(key)
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def open(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run until the end of the block."""
        task = asyncio.ensure_future(self.runner.run())
        await breathe()
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_no_more_workers_than_asked_for() -> None:
    shop, gate = Shop(workers=3), asyncio.Event()

    async def wait(_: Key) -> None:
        await gate.wait()

    shop.act = wait
    async with shop.open():
        for number in range(10):
            shop.agenda.wake(key(str(number)))
        await breathe()
        assert shop.under_way == 3
        gate.set()
        await breathe(100)
    assert len(shop.looks) == 10
    assert shop.most == 3


async def test_the_next_look_comes_when_the_last_one_said() -> None:
    shop = Shop()

    async def hourly(_: Key) -> float:
        return shop.clock.now() + 3600

    shop.act = hourly
    async with shop.open():
        shop.agenda.wake(A)
        await shop.clock.pass_time(7200)
    assert shop.looks == [("a", 0), ("a", 3600), ("a", 7200)]


async def test_a_crash_of_one_key_does_not_stop_the_others() -> None:
    shop = Shop(workers=1)

    async def crash(key: Key) -> float | None:
        if key == A:
            raise ZeroDivisionError("canary")
        return None

    shop.act = crash
    with structlog.testing.capture_logs() as logs:
        async with shop.open() as task:
            shop.agenda.wake(A)
            shop.agenda.wake(B)
            await breathe()
            assert not task.done()
    assert shop.looks == [("a", 0), ("b", 0)]
    crashed = next(log for log in logs if log["event"] == "pass_crashed")
    assert crashed["object"] == "ExternalSecret shop/a"


async def test_backoff_doubles_to_its_end_and_success_resets_it() -> None:
    shop, failing = Shop(), True

    async def fail(_: Key) -> None:
        if failing:
            raise Unavailable("it does not answer", path="x", remedy="wait")

    shop.act = fail
    async with shop.open():
        shop.agenda.wake(A)
        await shop.clock.pass_time(1000)
        times = [at for _, at in shop.looks]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        for number, gap in enumerate(gaps):
            whole = min(FIRST_BACKOFF * 2**number, LAST_BACKOFF)
            assert 0.8 * whole <= gap <= whole
        assert gaps[-1] > LAST_BACKOFF / 2
        failing = False
        await shop.clock.pass_time(LAST_BACKOFF)
        failing = True
        shop.looks.clear()
        shop.agenda.wake(A)
        await shop.clock.pass_time(FIRST_BACKOFF)
        assert len(shop.looks) == 2


async def test_the_other_side_may_ask_for_more_patience() -> None:
    shop = Shop()

    async def fail(_: Key) -> None:
        raise Unavailable("it is busy", path="x", remedy="wait", retry_after=60.0)

    shop.act = fail
    async with shop.open():
        shop.agenda.wake(A)
        await shop.clock.pass_time(59)
        assert len(shop.looks) == 1
        await shop.clock.pass_time(1)
        assert len(shop.looks) == 2


async def test_a_key_that_never_rests_is_slowed_down() -> None:
    shop = Shop()

    async def at_once(_: Key) -> float:
        return shop.clock.now()

    shop.act = at_once
    with structlog.testing.capture_logs() as logs:
        async with shop.open():
            shop.agenda.wake(A)
            await shop.clock.pass_time(0)
            for _ in range(MOST_AT_ONCE):
                await breathe()
            assert len(shop.looks) == MOST_AT_ONCE
            await shop.clock.pass_time(60)
    assert len(shop.looks) < MOST_AT_ONCE + 10
    assert any(log["event"] == "pass_restless" for log in logs)


async def test_drain_waits_for_what_runs_and_starts_nothing() -> None:
    shop, gate = Shop(), asyncio.Event()

    async def wait(_: Key) -> float:
        await gate.wait()
        return shop.clock.now()  # asks for more: that is for the next life

    shop.act = wait
    async with shop.open() as task:
        shop.agenda.wake(A)
        await breathe()
        drained = asyncio.ensure_future(shop.runner.drain(10.0))
        await breathe()
        shop.agenda.wake(B)  # another worker waits for exactly this
        await breathe()
        assert not drained.done()
        gate.set()
        await shop.clock.pass_time(1)
        assert drained.result() == 0
        await breathe()
        assert task.done()
        assert task.exception() is None
    assert [name for name, _ in shop.looks] == ["a"]


async def test_drain_gives_up_at_its_deadline() -> None:
    shop = Shop()
    ended: list[str] = []

    async def hang(key: Key) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(key.name)
            raise

    shop.act = hang
    async with shop.open() as task:
        shop.agenda.wake(A)
        await breathe()
        drained = asyncio.ensure_future(shop.runner.drain(10.0))
        await shop.clock.pass_time(11)
        assert drained.result() == 1
        assert not task.done()
    assert ended == ["a"]  # cancelled with the runner, not left behind


async def test_drain_of_a_runner_that_never_ran_returns() -> None:
    shop = Shop()
    shop.agenda.wake(A)
    assert await shop.runner.drain(10.0) == 0


async def test_cancellation_ends_all_workers() -> None:
    shop = Shop(workers=5)
    async with shop.open() as task:
        pass
    assert task.cancelled()
    shop.agenda.wake(A)
    await breathe()
    assert not shop.looks


async def test_a_base_exception_is_not_caught() -> None:
    class Crash(BaseException):
        pass

    shop = Shop()

    async def crash(_: Key) -> None:
        raise Crash

    shop.act = crash
    shop.agenda.wake(A)
    assert shop.agenda.take_now() == A
    with pytest.raises(Crash):
        await shop.runner.look_at(A)
    assert shop.agenda.running == 0
