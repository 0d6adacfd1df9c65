"""The identifier of a pass: there inside a scope, and separate between tasks."""

import asyncio

from leasehold.telemetry import correlation


def test_nothing_outside_a_scope() -> None:
    assert correlation.current() == ""


def test_scope_draws_and_forgets() -> None:
    with correlation.scope() as first:
        assert correlation.current() == first
        assert len(first) == 16
        with correlation.scope("given") as inner:
            assert correlation.current() == inner == "given"
        assert correlation.current() == first
    with correlation.scope() as second:
        assert second != first
    assert correlation.current() == ""


async def test_tasks_do_not_share_it() -> None:
    async def look(started: asyncio.Event, proceed: asyncio.Event) -> tuple[str, str]:
        with correlation.scope() as drawn:
            started.set()
            await proceed.wait()
            return drawn, correlation.current()

    begun = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        one = group.create_task(look(begun[0], begun[1]))
        two = group.create_task(look(begun[1], begun[0]))
    assert one.result()[0] == one.result()[1] != two.result()[0] == two.result()[1]
