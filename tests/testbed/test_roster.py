"""Processes are told apart by id and birth, and end with their families."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import roster
from testbed.roster import Being, Entry

FAMILY = (
    "import subprocess, sys; c = subprocess.Popen(['cat'], stdin=subprocess.PIPE); print('up', flush=True); c.wait()"
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


class Child:
    """A Python process that says `up` when it is."""

    def __init__(self, program: str) -> None:
        self.popen = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == b"up\n"

    def entry(self, *, patience: float = 5.0) -> Entry:
        being = roster.see(self.popen.pid)
        return Entry("child", being.pid, being.born, patience=patience)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture
def family() -> Iterator[Child]:
    child = Child(FAMILY)
    yield child
    child.close()


@pytest.fixture
def stubborn() -> Iterator[Child]:
    child = Child(STUBBORN)
    yield child
    child.close()


def test_the_id_alone_is_not_the_process(family: Child) -> None:
    being = roster.see(family.popen.pid)

    assert being.alive
    assert not Being(being.pid, being.born + 1).alive


def test_a_process_that_ended_is_not_alive(family: Child) -> None:
    being = roster.see(family.popen.pid)

    family.popen.kill()
    family.popen.wait()

    assert not being.alive
    assert not roster.see(being.pid).alive


def test_a_family_ends_together(family: Child) -> None:
    (grandchild,) = roster.descendants(family.popen.pid)
    assert grandchild.alive

    roster.end(family.entry())

    assert family.popen.wait() == -signal.SIGTERM
    assert not grandchild.alive


def test_a_paused_process_ends_too(family: Child) -> None:
    roster.see(family.popen.pid).send(signal.SIGSTOP)

    roster.end(family.entry())

    assert family.popen.wait() == -signal.SIGTERM


def test_a_stubborn_process_is_killed(stubborn: Child) -> None:
    roster.end(stubborn.entry(patience=0.1))

    assert stubborn.popen.wait() == -signal.SIGKILL


def test_the_roster_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = [Entry("a", 1, 2), Entry("b", 3, 4, ends_by=signal.SIGINT, patience=1.0)]

    roster.write(tmp_path, entries)

    assert roster.read(tmp_path) == entries
    assert roster.read(tmp_path / "nowhere") == []


def test_ending_all_takes_the_last_first_and_what_they_left(family: Child, stubborn: Child, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    first, last = family.entry(), stubborn.entry(patience=0.1)
    dead = Entry("dead", first.pid, first.born + 1)
    roster.write(tmp_path, [first, dead, last], scratch=[scratch])

    assert roster.end_all(tmp_path) == [last, first]

    assert not scratch.exists()
    assert not (tmp_path / roster.FILE).exists()
    assert roster.end_all(tmp_path) == []
