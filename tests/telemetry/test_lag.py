"""Loop lag by a clock that says how late it wakes."""

import asyncio

import pytest

from leasehold.telemetry.lag import PERIOD, STUCK, LoopLag


class LateClock:
    """Wakes each sleeper late by the next figure, and ends the run after the last."""

    def __init__(self, *late: float) -> None:
        self._late = list(late)
        self.at = 100.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        if not self._late:
            raise asyncio.CancelledError
        self.at += seconds + self._late.pop(0)


async def _run(clock: LateClock) -> tuple[LoopLag, list[float]]:
    seen: list[float] = []
    lag = LoopLag(clock, report=seen.append)
    with pytest.raises(asyncio.CancelledError):
        await lag.run()
    return lag, seen


async def test_reports_each_figure_and_never_a_negative_one() -> None:
    _, seen = await _run(LateClock(0.0, 0.25, -0.1))
    assert seen == pytest.approx([0.0, 0.25, 0.0])


async def test_a_late_loop_is_a_problem_until_it_has_caught_up() -> None:
    assert (await _run(LateClock(STUCK)))[0].problem() == f"the event loop is {STUCK:.1f} s late"
    assert (await _run(LateClock(STUCK, 0.0)))[0].problem() == ""


async def test_a_sleeper_that_never_wakes_is_a_problem_too() -> None:
    clock = LateClock(0.0)
    lag, _ = await _run(clock)
    assert lag.problem() == ""
    clock.at += PERIOD + STUCK
    assert lag.problem() != ""
