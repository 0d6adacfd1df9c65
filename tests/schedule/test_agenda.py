"""The due-queue: what comes when, in which order, and never twice at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leasehold.domain.facts import Key
from leasehold.schedule.agenda import LONGEST_NAP, SPARE, TURNS, Agenda, Lane
from tests.worlds.clock import ManualClock, VirtualClock, breathe


def key(name: str) -> Key:
    return Key("ExternalSecret", "shop", name)


A, B, C = key("a"), key("b"), key("c")


def drained(agenda: Agenda) -> list[str]:
    """Take everything that is due, ending each look without another."""
    taken = []
    while (one := agenda.take_now()) is not None:
        agenda.done(one, None)
        taken.append(one.name)
    return taken


def test_what_is_due_is_taken_and_nothing_else() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    agenda.at(A, clock.now() + 5)
    agenda.wake(B)
    assert drained(agenda) == ["b"]
    clock.advance(4.9)
    assert drained(agenda) == []
    clock.advance(0.1)
    assert drained(agenda) == ["a"]


def test_an_earlier_time_moves_the_entry_and_a_later_one_does_not() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    agenda.at(A, clock.now() + 60)
    agenda.at(A, clock.now() + 5)
    agenda.at(A, clock.now() + 30)
    assert agenda.due(A) == agenda.next_due() == clock.now() + 5
    clock.advance(5)
    assert drained(agenda) == ["a"]
    clock.advance(100)
    assert drained(agenda) == []
    assert agenda.next_due() is None


def test_a_key_that_waits_is_queued_once() -> None:
    agenda = Agenda(ManualClock())
    agenda.wake(A)
    agenda.wake(A)
    assert drained(agenda) == ["a"]


def test_a_key_that_runs_is_looked_at_once_more() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    agenda.wake(A)
    assert agenda.take_now() == A
    agenda.wake(A)
    agenda.wake(A)
    assert agenda.take_now() is None  # never twice at once
    agenda.done(A, clock.now() + 60)
    assert agenda.take_now() == A
    agenda.done(A, clock.now() + 60)
    assert agenda.take_now() is None
    assert agenda.due(A) == clock.now() + 60


def test_the_wish_of_a_running_key_is_the_earliest_one() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    agenda.wake(A)
    agenda.take_now()
    agenda.at(A, clock.now() + 9)
    agenda.at(A, clock.now() + 3)
    agenda.at(A, clock.now() + 6)
    agenda.done(A, clock.now() + 60)
    assert agenda.due(A) == clock.now() + 3


def test_users_go_before_drift_before_routine() -> None:
    agenda = Agenda(ManualClock())
    agenda.wake(C, Lane.REFRESH)
    agenda.wake(B, Lane.DRIFT)
    agenda.wake(A, Lane.USER)
    assert drained(agenda) == ["a", "b", "c"]


def test_a_key_that_waits_changes_to_the_faster_lane_only() -> None:
    agenda = Agenda(ManualClock())
    agenda.wake(A, Lane.REFRESH)
    agenda.wake(B, Lane.DRIFT)
    agenda.wake(A, Lane.USER)
    agenda.wake(A, Lane.REFRESH)
    assert agenda.depths() == {Lane.USER: 1, Lane.DRIFT: 1, Lane.REFRESH: 0}
    assert drained(agenda) == ["a", "b"]


def test_a_plan_does_not_change_what_waits_already() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    agenda.wake(A, Lane.REFRESH)
    agenda.at(A, clock.now() + 60, Lane.USER)
    assert agenda.depths()[Lane.REFRESH] == 1
    assert drained(agenda) == ["a"]
    assert agenda.due(A) is None


def test_a_flood_of_changes_does_not_hold_up_renewals() -> None:
    agenda = Agenda(ManualClock())
    for number in range(100):
        agenda.wake(key(f"user-{number}"), Lane.USER)
        agenda.wake(key(f"drift-{number}"), Lane.DRIFT)
    agenda.wake(C, Lane.REFRESH)
    assert drained(agenda).index("c") < len(TURNS)


def test_a_lane_is_served_in_order() -> None:
    agenda = Agenda(ManualClock())
    for name in "cab":
        agenda.wake(key(name))
    assert drained(agenda) == ["c", "a", "b"]


def test_a_later_life_of_a_key_is_not_woken_by_an_entry_of_the_earlier() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    agenda.at(A, clock.now() + 10)
    agenda.wake(A)
    assert drained(agenda) == ["a"]  # forgotten; its first entry is still in the heap
    agenda.at(A, clock.now() + 60)
    assert agenda.next_due() == clock.now() + 60
    clock.advance(10)
    assert drained(agenda) == []


def test_the_heap_does_not_grow_with_wakes() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    for _ in range(1000):
        agenda.wake(A)
        agenda.take_now()
        agenda.done(A, clock.now() + 3600)
    assert len(agenda._heap) <= SPARE + 2
    assert agenda.next_due() == clock.now() + 3600


def test_lag_is_the_time_of_the_longest_waiting_key() -> None:
    clock = ManualClock()
    agenda = Agenda(clock)
    assert agenda.lag() == 0.0
    agenda.wake(A, Lane.REFRESH)
    clock.advance(3)
    agenda.wake(B, Lane.USER)
    clock.advance(1)
    assert agenda.lag() == 4.0
    assert drained(agenda) == ["b", "a"]
    assert agenda.lag() == 0.0


# ----------------------------------------------------------------------------------------------------------- waiting


@asynccontextmanager
async def ticking(agenda: Agenda) -> AsyncIterator[None]:
    task = asyncio.ensure_future(agenda.run())
    await breathe()
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_worker_waits_for_its_time() -> None:
    clock = VirtualClock()
    agenda = Agenda(clock)
    async with ticking(agenda):
        agenda.at(A, clock.now() + 3600)
        taken = asyncio.ensure_future(agenda.take())
        await clock.pass_time(3599)
        assert not taken.done()
        await clock.pass_time(1)
        assert taken.result() == A


async def test_an_earlier_entry_ends_the_nap() -> None:
    clock = VirtualClock()
    agenda = Agenda(clock)
    async with ticking(agenda):
        agenda.at(A, clock.now() + 20)
        await breathe()
        agenda.at(B, clock.now() + 2)
        taken = asyncio.ensure_future(agenda.take())
        await clock.pass_time(2)
        assert taken.result() == B


async def test_a_wall_clock_that_was_set_is_noticed_soon() -> None:
    clock = VirtualClock()
    agenda = Agenda(clock)
    async with ticking(agenda):
        agenda.at(A, clock.now() + 3600)
        taken = asyncio.ensure_future(agenda.take())
        await breathe()
        clock._now += 7200  # the machine slept, or was given the right time
        await clock.pass_time(LONGEST_NAP)
        assert taken.result() == A


class Counted(Agenda):
    """Counts how often the loop of `run` turns."""

    turns = 0

    def next_due(self) -> float | None:
        Counted.turns += 1
        return super().next_due()


async def test_an_idle_agenda_does_nothing() -> None:
    clock = VirtualClock()
    agenda = Counted(clock)
    async with ticking(agenda):
        agenda.at(A, clock.now() + 3600)
        await breathe()
        Counted.turns = 0
        await clock.pass_time(600)
        assert Counted.turns <= 600 / LONGEST_NAP + 1
        agenda.wake(A)
        assert agenda.take_now() == A
        await clock.pass_time(LONGEST_NAP)  # the nap for the entry that was overtaken
        Counted.turns = 0
        await clock.pass_time(86_400)
        assert Counted.turns == 0


async def test_each_key_goes_to_one_worker() -> None:
    agenda = Agenda(ManualClock())
    takers = [asyncio.ensure_future(agenda.take()) for _ in range(3)]
    await breathe()
    agenda.wake(A)
    agenda.wake(B)
    await breathe()
    assert [taker.result().name for taker in takers if taker.done()] == ["a", "b"]
    agenda.wake(C)
    await breathe()
    assert takers[2].result() == C


async def test_a_call_to_a_cancelled_worker_reaches_another() -> None:
    agenda = Agenda(ManualClock())
    first, second = (asyncio.ensure_future(agenda.take()) for _ in range(2))
    await breathe()
    agenda.wake(A)  # calls the first
    first.cancel()  # before it could act
    await breathe()
    assert second.result() == A
    assert first.cancelled()


async def test_a_cancelled_worker_is_not_called() -> None:
    agenda = Agenda(ManualClock())
    first, second = (asyncio.ensure_future(agenda.take()) for _ in range(2))
    await breathe()
    first.cancel()
    await breathe()
    agenda.wake(A)
    await breathe()
    assert second.result() == A


# --------------------------------------------------------------------------------------------- against a simple model

NAMES = st.sampled_from([A, B, C])
WAITS = st.integers(min_value=-5, max_value=50)


class Model(RuleBasedStateMachine):
    """The agenda against what it promises: for each key the earliest wished time, one look at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.agenda = Agenda(self.clock)
        self.wished: dict[Key, float] = {}
        self.running: dict[Key, float | None] = {}

    @rule(key=NAMES, wait=WAITS, lane=st.sampled_from(list(Lane)))
    def plan(self, key: Key, wait: int, lane: Lane) -> None:
        """Somebody wants a look."""
        due = self.clock.now() + wait
        self.agenda.at(key, due, lane)
        held = self.running if key in self.running else self.wished
        earlier = held.get(key)
        held[key] = due if earlier is None else min(earlier, due)

    @rule(seconds=st.integers(min_value=0, max_value=30))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule()
    def take(self) -> None:
        """A worker takes what is due, if anything is."""
        now = self.clock.now()
        ripe = {key for key, due in self.wished.items() if due <= now}
        taken = self.agenda.take_now()
        assert (taken in ripe) if ripe else taken is None
        if taken is not None:
            del self.wished[taken]
            self.running[taken] = None

    @precondition(lambda self: self.running)
    @rule(data=st.data(), wait=st.one_of(st.none(), WAITS))
    def finish(self, data: st.DataObject, wait: int | None) -> None:
        """A look ends, with or without a wish for another."""
        key = data.draw(st.sampled_from(sorted(self.running)))
        due = None if wait is None else self.clock.now() + wait
        self.agenda.done(key, due)
        wishes = [one for one in (due, self.running.pop(key)) if one is not None]
        if wishes:
            self.wished[key] = min(wishes)

    @invariant()
    def agrees(self) -> None:
        """What is planned is what was wished."""
        now = self.clock.now()
        assert self.agenda.running == len(self.running)
        future = [due for due in self.wished.values() if due > now]
        next_due = self.agenda.next_due()
        if next_due is not None and next_due > now:
            assert next_due == min(future)
        elif next_due is None:
            assert not future
        for key in self.running:
            assert self.agenda.due(key) is None


Model.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
