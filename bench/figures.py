"""Where the figures come from: the kernel's accounts of a process, the API server's and Vault's audit logs."""

import json
import os
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return user and system CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process in MiB: now, and at its peak."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    figures = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(figures["VmRSS"]) / 1024, int(figures["VmHWM"]) / 1024


class Others:
    """How busy the machine is with what is not ours: figures of two runs compare only where this is alike."""

    def __init__(self) -> None:
        """Begin now."""
        self._began, self._busy, self._own = time.monotonic(), _machine(), _family()

    def cores(self) -> float:
        """Return the mean number of cores that other processes have used since the begin."""
        spent = (_machine() - self._busy) - (_family() - self._own)
        return max(spent / (time.monotonic() - self._began), 0.0)


def _machine() -> float:
    """Return the seconds that all cores have been busy with processes."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    return (int(fields[0]) + int(fields[1]) + int(fields[2])) / TICK


def _family() -> float:
    """Return the CPU seconds of this process and everything that it started, children that have ended included."""
    parents, seconds = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        parents[int(folder.name)] = int(fields[1])
        seconds[int(folder.name)] = sum(map(int, fields[11:15])) / TICK
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(seconds.get(pid, 0.0) for pid in ours)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a growing log, so that only what follows is counted."""

    path: Path
    offset: int

    @classmethod
    def end_of(cls, path: Path) -> "Mark":
        """Return the present end of a log (0 where it is not there yet)."""
        return cls(path, path.stat().st_size if path.exists() else 0)

    def lines(self) -> list[str]:
        """Return the whole lines written since."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read().decode("utf-8", "replace").splitlines()


class Tally:
    """Counts lines that hold all given words, reading on where it stopped: cheap enough to be asked ten times a second.

    A poll of the API server would cost it more than the work that is measured.
    """

    def __init__(self, mark: Mark, *words: str) -> None:
        """Start at a mark."""
        self._path, self._offset = mark.path, mark.offset
        self._words = [word.encode() for word in words]
        self._count = 0

    def count(self) -> int:
        """Return how many such lines were written since the mark; the last one may be half written and waits."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        self._offset += len(whole) + 1 if whole else 0
        self._count += sum(all(word in line for word in self._words) for line in whole.splitlines())
        return self._count


def api_requests(mark: Mark, user: str, namespaces: Collection[str] | None = None) -> Counter[tuple[str, str]]:
    """Count the API server's audited requests of one user since the mark, by verb and resource/subresource.

    With ``namespaces`` only those that are about objects in them.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for line in mark.lines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line may be half written
        if event.get("user", {}).get("username") == user and event.get("stage") in (
            "ResponseComplete",
            "ResponseStarted",
        ):
            if event["verb"] == "watch" and event["stage"] == "ResponseComplete":
                continue
            ref = event.get("objectRef", {})
            if namespaces is not None and ref.get("namespace") not in namespaces:
                continue
            name = ref.get("resource", event.get("requestURI", ""))
            counted[event["verb"], f"{name}/{ref['subresource']}" if "subresource" in ref else name] += 1
    return counted


def backend_requests(mark: Mark) -> Counter[tuple[str, str]]:
    """Count Vault's audited requests since the mark, by operation and path."""
    counted: Counter[tuple[str, str]] = Counter()
    for line in mark.lines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("type") == "request":
            counted[entry["request"]["operation"], entry["request"]["path"]] += 1
    return counted
