"""What the audience reads: numbered steps, facts with real times, and the verdict. Never a secret value."""

from __future__ import annotations

import time

from rich.console import Console


class Failed(Exception):
    """A step was not seen to be true: what was expected, and what was seen instead."""

    def __init__(self, expected: str, seen: str) -> None:
        """Take both."""
        super().__init__(f"expected: {expected}; seen: {seen}")
        self.expected, self.seen = expected, seen


class Narrator:
    """Tells the story on the terminal, each line with the seconds since the start."""

    def __init__(self, console: Console | None = None) -> None:
        """Take where to print (default: standard output)."""
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._steps = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def step(self, title: str) -> None:
        """Begin a step."""
        self._steps += 1
        self._console.print(f"\n[bold cyan]{self._steps:>2}. {title}[/]")

    def fact(self, text: str) -> None:
        """Tell one thing."""
        self._console.print(f"    [dim]{self.elapsed:6.1f}s[/]  {text}")

    def seen(self, text: str) -> None:
        """Tell one thing that was checked and found true."""
        self._console.print(f"    [dim]{self.elapsed:6.1f}s[/]  [green]✔[/] {text}")

    def quote(self, command: str, output: str) -> None:
        """Show a command and what it prints."""
        self._console.print(f"\n    [bold]$ {command}[/]")
        for line in output.rstrip().splitlines():
            self._console.print(f"      {line}", markup=False)

    def failed(self, error: Failed, tail: str, log: object) -> None:
        """Tell what went wrong."""
        self._console.print("\n[bold red]✘ expected:[/]", end=" ")
        self._console.print(error.expected, markup=False)
        self._console.print("[bold red]  seen:[/]", end=" ")
        self._console.print(error.seen, markup=False)
        self._console.print(f"\nlast lines of the operator's log ({log}):", style="dim")
        self._console.print(tail, markup=False, style="dim")

    def say(self, text: str = "") -> None:
        """Tell something outside of the steps."""
        self._console.print(text)
