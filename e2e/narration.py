"""What a person reads while the demo runs: steps, what was seen in each and how long it took, and how it ended.

Values of secrets are shown as dots and a keyed fingerprint whose key dies with the process; names of users are no
secrets. Nothing here looks at a server.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from e2e.expectations import Unmet
from leasehold.domain.values import SecretBytes, fingerprint

WIDTH = 120
"""Columns where the output is no terminal."""
TAIL = 15
"""Lines of a log that are shown when something fails."""


class Narrator:
    """Writes the story of one run and counts what was seen to be true."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to a console of rich; without one, to standard output."""
        self.console = console or open_console()
        self.checks = 0
        self._start = time.monotonic()
        self._key = SecretBytes(secrets.token_bytes(32))
        self._step = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def step(self, title: str) -> None:
        """Open a step."""
        self._step += 1
        self.console.print()
        self.console.print(Rule(f"[bold]{self._step}  {escape(title)}[/bold]", align="left", style="cyan"))

    def tell(self, text: str) -> None:
        """Say what happens or why; no check."""
        self._line(" ", escape(text), style="dim")

    def command(self, text: str, output: str = "") -> None:
        """Show a command, and what it printed."""
        self._line("$", f"[bold]{escape(text)}[/bold]")
        for line in output.rstrip().splitlines():
            self.console.print(f"            {line}", markup=False, highlight=False, soft_wrap=True)

    def seen(self, text: str, took: str = "") -> None:
        """Say what was seen to be true, and how long it took."""
        self.checks += 1
        tail = f"  [bold cyan]{escape(took)}[/bold cyan]" if took else ""
        self._line("[green]✓[/green]", escape(text) + tail)

    def mask(self, value: SecretBytes) -> str:
        """Return what may be shown of a value: its length and a fingerprint that is good for this run only."""
        return f"•••••• ({value.size} bytes, fingerprint {fingerprint(self._key, value.reveal())[:8]})"

    def failed(self, error: Unmet, logs: Mapping[str, Path]) -> None:
        """Say what was expected and what was seen instead, and show the ends of logs with their places."""
        self.console.print()
        self._line("[red]✗[/red]", f"[bold]expected[/bold]  {escape(error.expected)}")
        self._line(" ", f"[bold]seen[/bold]      {escape(error.seen)}")
        for name, path in logs.items():
            self.console.print(f"\nthe end of the log of {name}, {path}", markup=False, highlight=False, soft_wrap=True)
            for line in _tail(path):
                self.console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)

    def end(self, title: str, lines: Sequence[str] = (), *, style: str = "green") -> None:
        """Close the story."""
        self.console.print()
        self.console.print(Rule(f"[bold]{escape(title)}[/bold]", align="left", style=style))
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _line(self, mark: str, text: str, *, style: str = "") -> None:
        self.console.print(f"[dim]{self.elapsed:6.1f} s[/dim]  {mark} {text}", style=style or None, highlight=False)


def open_console() -> Console:
    """Return a console on standard output; where that is no terminal, of a fixed width."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def show(seconds: float) -> str:
    """Return a span as a person would say it: 85 ms, 2.3 s."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _tail(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    except FileNotFoundError:
        return ["(there is none)"]
