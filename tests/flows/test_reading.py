import asyncio

import pytest

from leasehold.domain.errors import Bug, Missing, Unavailable
from leasehold.domain.ports import Remote
from leasehold.flows.reading import WINDOW, SharedReads

A, B = Remote("a"), Remote("b")


class Shelf:
    """A reader that counts, and answers when it is let go."""

    def __init__(self, answers):
        self.answers, self.asked, self.go = answers, [], asyncio.Event()
        self.go.set()

    async def read(self, remotes):
        self.asked.append(tuple(remotes))
        await self.go.wait()
        if isinstance(self.answers, Exception):
            raise self.answers
        return {remote: self.answers[remote] for remote in remotes if remote in self.answers}


async def read(reads, shelf, *remotes, scope="store", max_age=WINDOW, now=0.0):
    return await reads.read(shelf, scope, remotes, max_age=max_age, now=now)


async def test_many_readers_of_one_document_cost_one_read():
    reads, shelf = SharedReads(), Shelf({A: "doc"})
    shelf.go.clear()
    waiting = [asyncio.ensure_future(read(reads, shelf, A)) for _ in range(10)]
    await asyncio.wait(waiting, timeout=0)
    shelf.go.set()
    assert [await one for one in waiting] == [{A: "doc"}] * 10
    assert shelf.asked == [(A,)]


@pytest.mark.parametrize(
    ("later", "max_age", "reads_made"),
    [(WINDOW - 0.1, WINDOW, 1), (WINDOW, WINDOW, 2), (0.0, 0.0, 2)],
)
async def test_a_document_serves_others_within_the_window_only(later, max_age, reads_made):
    reads, shelf = SharedReads(), Shelf({A: "doc"})
    await read(reads, shelf, A)
    await read(reads, shelf, A, max_age=max_age, now=later)
    assert len(shelf.asked) == reads_made


async def test_nothing_is_shared_over_scopes():
    reads, shelf = SharedReads(), Shelf({A: "doc"})
    await read(reads, shelf, A, scope="one identity")
    await read(reads, shelf, A, scope="another identity")
    assert len(shelf.asked) == 2


async def test_an_error_is_told_to_those_who_wait_and_kept_for_nobody():
    reads, shelf = SharedReads(), Shelf({A: Missing("gone"), B: "doc"})
    first = await read(reads, shelf, A, B)
    assert isinstance(first[A], Missing)
    shelf.answers[A] = "back"
    assert await read(reads, shelf, A, B, now=1.0) == {A: "back", B: "doc"}
    assert shelf.asked == [(A, B), (A,)]


async def test_a_read_that_fails_as_a_whole_fails_for_each():
    found = await read(SharedReads(), Shelf(Unavailable("down")), A, B)
    assert all(isinstance(answer, Unavailable) for answer in found.values())


async def test_a_document_that_was_not_answered_is_a_bug():
    assert isinstance((await read(SharedReads(), Shelf({}), A))[A], Bug)


async def test_a_reader_that_is_cancelled_leaves_nobody_waiting():
    reads, shelf = SharedReads(), Shelf({A: "doc"})
    shelf.go.clear()
    first = asyncio.ensure_future(read(reads, shelf, A))
    second = asyncio.ensure_future(read(reads, shelf, A))
    await asyncio.wait([first, second], timeout=0)
    first.cancel()
    assert isinstance((await second)[A], Unavailable)
    with pytest.raises(asyncio.CancelledError):
        await first
