"""The end of the process at any of its requests, and the life after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.stories.town import Town
from tests.worlds.cluster import Crash, Fault

KINDS = ("before kube", "after kube", "before vault", "after vault")
"""Where the process ends: before or after a request arrives, at the API server or at Vault."""


def set_fault(town: Town, kind: str, nth: int) -> Callable[[], bool]:
    """Let the process end at the nth request; return what tells whether that request came."""
    if "vault" in kind:
        name = f"crash_{kind.split(maxsplit=1)[0]}"
        setattr(town, name, nth)
        return lambda: getattr(town, name) is None
    fault = town.cluster.inject(Fault(skip=nth, crash=True, after=kind == "after kube"))
    return lambda: fault.times == 0


async def crash_at(town: Town, kind: str, nth: int, act: Callable[[], Awaitable[None]]) -> bool:
    """Run until the nth request ends the process, then start it again; return whether so many requests came."""
    came = set_fault(town, kind, nth)
    try:
        await act()
    except Crash:
        town.clock.advance(3.0)
        town.crash_before = town.crash_after = None
        await town.start()
        return True
    reached = came()
    town.crash_before = town.crash_after = None
    town.cluster.faults.clear()
    return reached
