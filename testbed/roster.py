"""Who runs: the process ids of one run, in a file, so that another process can end them later.

A process id alone is not a name, since the kernel gives it out again; with the time of birth it is. Nothing is ever
found or ended by its name or command line. Linux only (/proc).
"""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "processes.json"
PATIENCE = 10.0
_TICK = 0.02


@dataclass(frozen=True, slots=True)
class Being:
    """A process: its id and its time of birth in clock ticks since the machine's start (proc(5), stat, field 22)."""

    pid: int
    born: int

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        facts = _stat(self.pid)
        return facts is not None and facts[0] != "Z" and facts[2] == self.born

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the roster: a server, the signal that ends it in good order, and the seconds it may take."""

    name: str
    pid: int
    born: int
    ends_by: int = signal.SIGTERM
    patience: float = PATIENCE

    @property
    def being(self) -> Being:
        """The process itself."""
        return Being(self.pid, self.born)


def see(pid: int) -> Being:
    """Return the process that has this id now; its birth is 0, so never alive, when there is none."""
    facts = _stat(pid)
    return Being(pid, facts[2] if facts else 0)


def descendants(pid: int) -> list[Being]:
    """Return the children of a process and theirs, parents first."""
    children: dict[int, list[Being]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (facts := _stat(int(name))) is not None:
            children.setdefault(facts[1], []).append(Being(int(name), facts[2]))
    found: list[Being] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child.pid)
    return found


def end(entry: Entry) -> None:
    """End a server: its own signal first, SIGKILL after its patience; then whatever it left behind.

    SIGCONT follows, since a paused process does not see the first signal.
    """
    family = descendants(entry.pid) if entry.being.alive else []
    entry.being.send(signal.Signals(entry.ends_by))
    for being in (entry.being, *family):
        being.send(signal.SIGCONT)
    _wait_gone(entry.being, entry.patience)
    for being in (entry.being, *family):
        being.send(signal.SIGKILL)
    for being in (entry.being, *family):
        _wait_gone(being, PATIENCE)


def read(folder: Path) -> list[Entry]:
    """Return the roster of a run folder, in the order of starting; empty when there is none."""
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Entry(**line) for line in document["processes"]]


def write(folder: Path, entries: Sequence[Entry], *, scratch: Sequence[Path] = ()) -> None:
    """Write the roster of a run folder. `scratch` are folders elsewhere that go when the run ends."""
    document = {"processes": [asdict(entry) for entry in entries], "scratch": [str(path) for path in scratch]}
    part = folder / (FILE + ".part")
    part.write_text(json.dumps(document, indent=1), encoding="utf-8")
    part.replace(folder / FILE)


def end_all(folder: Path) -> list[Entry]:
    """End every server of a run folder, the last started first; return those that were alive."""
    entries = read(folder)
    alive = [entry for entry in reversed(entries) if entry.being.alive]
    for entry in alive:
        end(entry)
    with contextlib.suppress(FileNotFoundError):
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for path in document["scratch"]:
            _remove(Path(path))
        (folder / FILE).unlink()
    return alive


def _remove(path: Path) -> None:
    """Remove a folder. A control group's files cannot be deleted: its folders go, from below, once it is empty."""
    if not (path / "cgroup.procs").exists():
        shutil.rmtree(path, ignore_errors=True)
        return
    for _ in _ticks(PATIENCE):
        for folder, _folders, _files in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if not path.exists():
            return


def _wait_gone(being: Being, patience: float) -> None:
    for _ in _ticks(patience):
        if not being.alive:
            return


def _ticks(patience: float) -> Iterator[None]:
    limit = time.monotonic() + patience
    while True:
        yield
        if time.monotonic() >= limit:
            return
        time.sleep(_TICK)


def _stat(pid: int) -> tuple[str, int, int] | None:
    """Return state, parent id and birth of a process, or None when there is none (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold spaces and parentheses; fields are counted after its last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])
