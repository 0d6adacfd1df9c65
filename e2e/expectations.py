"""What must be seen, by when: every step of the demo is made of these, and each can fail.

A look returns what it saw, or raises NotYet with what it saw instead. Nothing here knows what is looked at.
"""

import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")
TICK = 0.02
"""Seconds between two looks."""


class NotYet(Exception):
    """A look that did not see what it looked for; the text says what it saw, and never holds a secret value."""


class Unmet(Exception):
    """An expectation that was not met: what was expected, what was seen."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected: {expected}; seen: {seen}")
        self.expected, self.seen = expected, seen


def fail(expected: str, seen: str) -> NoReturn:
    """Raise Unmet."""
    raise Unmet(expected, seen)


def until(expected: str, look: Callable[[], T], *, within: float, alive: Callable[[], str] = lambda: "") -> T:
    """Look again and again; return the first result. Raises Unmet after `within` seconds.

    `alive` says what has died meanwhile (empty: nothing), since waiting for the dead is in vain.
    """
    limit = time.monotonic() + within
    while True:
        try:
            return look()
        except NotYet as error:
            seen = str(error)
        if dead := alive():
            fail(expected, f"{dead}; before that, {seen}")
        if time.monotonic() >= limit:
            fail(expected, f"{seen}, after {within:.0f} s")
        time.sleep(TICK)
