"""The end of the process at any of its requests, and the life after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from leasehold.cluster.api import Request
from tests.stories.town import Town
from tests.worlds.cluster import Crash, Fault

KINDS = ("before kube", "after kube", "before vault", "after vault")
"""Where the process ends: before or after a write arrives at the API server, or any request at Vault."""


class AtWrite(Fault):
    """A fault that lets reads pass: an end before a read leaves the same world as one after the write before it."""

    def hits(self, request: Request) -> bool:
        """Tell whether the fault strikes now."""
        return request.verb not in ("get", "list") and super().hits(request)


def set_fault(town: Town, kind: str, nth: int) -> Callable[[], bool]:
    """Let the process end at the nth request; return what tells whether that request came."""
    if "vault" in kind:
        name = f"crash_{kind.split(maxsplit=1)[0]}"
        setattr(town, name, nth)
        return lambda: getattr(town, name) is None
    fault = town.cluster.inject(AtWrite(skip=nth, crash=True, after=kind == "after kube"))
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
