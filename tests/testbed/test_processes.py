"""A yard starts servers, knows them, and takes them with it when it goes, however it goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import readiness, roster
from testbed.errors import BedError
from testbed.processes import Process, Yard

ROOT = Path(__file__).resolve().parents[2]
ECHO = "import signal, sys; print('up', *sys.argv[1:], flush=True); signal.pause()"


def start(process: Process, *arguments: str) -> None:
    """Start a server that writes `up ARGUMENTS` to its log and waits for ever; wait for that line."""
    process.start([sys.executable, "-c", ECHO, *arguments])
    process.wait_until(lambda: f"up {' '.join(arguments)}".strip() in process.log.read_text(), "up")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_server_starts_stops_and_starts_again(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        server = yard.process("server")
        assert not server.alive

        start(server, "one")
        first = server.pid
        with pytest.raises(BedError, match="runs already"):
            server.start(["true"])
        server.stop()
        assert not server.alive
        start(server, "two")

        assert server.pid != first
        assert server.log.read_text().split() == ["up", "one", "up", "two"]


def test_the_roster_holds_who_runs(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        one, two = yard.process("one"), yard.process("two")
        start(two)
        start(one)
        assert [entry.name for entry in roster.read(tmp_path)] == ["one", "two"]

        two.kill()
        assert [entry.name for entry in roster.read(tmp_path)] == ["one"]

    assert roster.read(tmp_path) == []


def test_a_paused_server_is_stopped_by_the_kernel_and_goes_on(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        server = yard.process("server")
        start(server)

        server.pause()
        server.wait_until(lambda: state_of(server.pid) == "T", "paused")
        server.resume()
        server.wait_until(lambda: state_of(server.pid) != "T", "going on")


def test_a_server_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        server = yard.process("server")
        server.start([sys.executable, "-c", "raise SystemExit('no such flag: --frob')"])

        with pytest.raises(BedError, match=r"server ended before ready(?s:.*)no such flag: --frob"):
            server.wait_until(lambda: False, "ready")


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        server = yard.process("server")
        start(server)

        with pytest.raises(BedError, match="server: not ready after 0 s"):
            server.wait_until(lambda: False, "ready", patience=0.0)


def test_leaving_the_yard_ends_all_and_removes_scratch_but_keeps_logs(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        server = yard.process("server")
        start(server)
        being = roster.see(server.pid)
        scratch = yard.scratch()

    assert not being.alive
    assert not scratch.exists()
    assert server.log.read_text() == "up\n"


def test_servers_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from testbed.processes import Yard
yard = Yard(Path({str(tmp_path)!r}))
yard.process("server").start([sys.executable, "-c", {ECHO!r}])
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL

    class Warden:
        name, log, alive = "warden", tmp_path / "none", True

    readiness.wait_until(lambda: not (tmp_path / roster.FILE).exists(), "done", server=Warden(), patience=20.0)


def test_detached_servers_stay_until_they_are_ended(tmp_path: Path) -> None:
    yard = Yard(tmp_path, attached=False)
    server = yard.process("server")
    start(server)
    pid = server.pid
    yard.detach()

    (entry,) = roster.read(tmp_path)
    assert (entry.pid, entry.being.alive) == (pid, True)

    roster.end_all(tmp_path)

    assert not entry.being.alive
    os.waitpid(pid, 0)
