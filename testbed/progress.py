"""What a person sees while the test bed works: one line per step, with the time since the start. Goes to stderr."""

import sys
import threading
import time
from typing import TextIO


class Console:
    """Writes whole lines, from any thread, each with the time since this object was made."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, what: str, text: str) -> None:
        """Write one line: `[ 1:05] kubernetes   compiling`."""
        with self._lock:
            print(f"[{clock(self.elapsed):>6}] {what:<12} {text}", file=self._stream, flush=True)


def clock(seconds: float) -> str:
    """Return seconds as minutes and seconds: 65.2 gives `1:05`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
