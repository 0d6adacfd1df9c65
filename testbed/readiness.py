"""Waits until a server answers, by asking it. Nothing here, or above, sleeps for a guessed time."""

import collections
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from testbed.errors import BedError

PATIENCE = 60.0
_TICK = 0.03


class Awaited(Protocol):
    """What is waited for: a server that may die instead of becoming ready."""

    name: str
    log: Path

    @property
    def alive(self) -> bool: ...


def wait_until(ready: Callable[[], bool], what: str, *, server: Awaited, patience: float = PATIENCE) -> None:
    """Ask `ready` until it says yes. Raises BedError when the server dies first, or after `patience` seconds."""
    limit = time.monotonic() + patience
    while not ready():
        if not server.alive:
            raise BedError(
                f"{server.name} ended before {what}; its last lines:\n{tail(server.log)}", remedy=f"see {server.log}"
            )
        if time.monotonic() >= limit:
            raise BedError(
                f"{server.name}: not {what} after {patience:.0f} s; its last lines:\n{tail(server.log)}",
                remedy=f"see {server.log}",
            )
        time.sleep(_TICK)


def tail(log: Path, *, lines: int = 12) -> str:
    """Return the last lines of a log, indented; empty when there is none."""
    try:
        with log.open(encoding="utf-8", errors="replace") as handle:
            return "".join(f"    {line}" for line in collections.deque(handle, maxlen=lines)).rstrip()
    except FileNotFoundError:
        return ""
