"""Starts servers and ends them. A Yard is the folder of one run: logs, ports, and the roster of who lives there.

A yard that is `attached` ends its servers also when this very process is killed: a warden waits for that. The command
line's `up` is not attached; its servers stay until `down`.
"""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import readiness, roster
from testbed.errors import BedError
from testbed.ports import Port


class Process:
    """One server: a command that can be started, paused, ended, and started again.

    `ends_by` is the signal that ends it in good order; after `patience` seconds SIGKILL follows.
    """

    def __init__(self, yard: "Yard", name: str, *, ends_by: signal.Signals, patience: float) -> None:
        self.yard = yard
        self.name = name
        self.log = yard.logs / f"{name}.log"
        self._ends_by = ends_by
        self._patience = patience
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raises BedError when it does not run."""
        if self._popen is None or self._popen.poll() is not None:
            raise BedError(f"{self.name} does not run")
        return self._popen.pid

    def start(self, argv: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, account: str = "") -> None:
        """Start the command; its output is appended to `log`.

        `environ` is added to ours; `account` names the user to run as (root only). Raises BedError when it runs.
        """
        if self.alive:
            raise BedError(f"{self.name} runs already")
        person = pwd.getpwnam(account) if account else None
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
                cwd="/" if person else self.yard.folder,
                start_new_session=True,
                user=person.pw_uid if person else None,
                group=person.pw_gid if person else None,
                extra_groups=[] if person else None,
            )
        self.yard.note()

    def wait_until(self, ready: Callable[[], bool], what: str, *, patience: float = readiness.PATIENCE) -> None:
        """Wait until the server answers; see readiness.wait_until."""
        readiness.wait_until(ready, what, server=self, patience=patience)

    def stop(self) -> None:
        """End it in good order, by force when that takes too long. Does nothing when it does not run."""
        if self._popen is None:
            return
        if self._popen.poll() is None:
            roster.end(self.entry())
        self._popen.wait()
        self._popen = None
        self.yard.note()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; its children too."""
        if self.alive:
            family = roster.descendants(self.pid)
            os.kill(self.pid, signal.SIGKILL)
            for being in family:
                being.send(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()
            self._popen = None
            self.yard.note()

    def pause(self) -> None:
        """Stop it from answering, connections kept (SIGSTOP to it and its children): a server that hangs."""
        for being in (roster.see(self.pid), *roster.descendants(self.pid)):
            being.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`. Does nothing when it does not run."""
        if self.alive:
            for being in (roster.see(self.pid), *roster.descendants(self.pid)):
                being.send(signal.SIGCONT)

    def entry(self) -> roster.Entry:
        """Its line in the roster. Raises BedError when it does not run."""
        being = roster.see(self.pid)
        return roster.Entry(self.name, being.pid, being.born, ends_by=self._ends_by, patience=self._patience)

    def detach(self) -> None:
        """Let it run on when this process ends, and know it no longer."""
        if self._popen is not None:
            # Tells subprocess that nobody will wait for this child: init does, once we are gone.
            self._popen.returncode = 0
            self._popen = None


class Yard:
    """The folder of one run, its servers and what they hold. A context manager: leaving it ends them all."""

    def __init__(self, folder: Path, *, attached: bool = True) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._attached = attached
        self._processes: list[Process] = []
        self._ports: list[Port] = []
        self._scratch: list[Path] = []
        self._warden: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def process(
        self, name: str, *, ends_by: signal.Signals = signal.SIGTERM, patience: float = roster.PATIENCE
    ) -> Process:
        """Return a server of this yard, not started. The order of these calls is the order of ending, reversed."""
        process = Process(self, name, ends_by=ends_by, patience=patience)
        self._processes.append(process)
        return process

    def port(self) -> Port:
        """Return a port that is kept until the yard ends."""
        port = Port()
        self._ports.append(port)
        return port

    def scratch(self) -> Path:
        """Return a new folder in the system's place for temporary files, deleted when the yard ends."""
        path = Path(tempfile.mkdtemp(prefix="leasehold-testbed-"))
        self._scratch.append(path)
        self.note()
        return path

    def adopt(self, path: Path) -> None:
        """Have a folder removed when the yard ends: one that is made for this run and for nothing else."""
        if path not in self._scratch:
            self._scratch.append(path)
            self.note()

    def note(self) -> None:
        """Write the roster: who runs now."""
        with self._lock:
            if self._attached and self._warden is None:
                self._warden = _start_warden(self.folder)
            entries = [process.entry() for process in self._processes if process.alive]
            roster.write(self.folder, entries, scratch=self._scratch)

    def end(self) -> None:
        """End every server, the last made first; give back ports and folders. The logs stay."""
        for process in reversed(self._processes):
            process.stop()
        roster.end_all(self.folder)
        self._let_go()

    def detach(self) -> None:
        """Leave the servers running; `roster.end_all` of the folder ends them later."""
        for process in self._processes:
            process.detach()
        self._let_go()

    def _let_go(self) -> None:
        for port in self._ports:
            port.release()
        if self._warden is not None:
            assert self._warden.stdin is not None
            self._warden.stdin.close()
            self._warden.wait()
            self._warden = None


def _start_warden(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process that ends this folder's servers when we die; it notices by the end of its input."""
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.warden", str(folder)],
        stdin=subprocess.PIPE,
        cwd=root,
        start_new_session=True,
    )
