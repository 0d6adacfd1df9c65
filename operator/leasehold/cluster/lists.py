"""Which lists were heard, and which objects they did not name: a watch gap loses deletions, a later list shows them.

kopf lists again after a gap and tells of what is there, never of what is not. So each list is marked from its begin,
and what was known before and is not named by it is doubtful, until the API server is asked about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from leasehold.domain.facts import Key

QUIET = 10.0
"""Seconds without a listed object after which a list counts as heard to its end."""


@dataclass(slots=True)
class _Listing:
    ended: bool = False
    """The first list was heard to its end."""
    under_way: bool = False
    last: float = 0.0
    seen: set[Key] = field(default_factory=set)


class Lists:
    """The lists of each kind. Times are monotonic seconds."""

    def __init__(self, kinds: Iterable[str]) -> None:
        """Start with nothing heard."""
        self._listings = {kind: _Listing() for kind in kinds}
        self._doubtful: dict[Key, None] = {}

    def begin(self, kind: str, *, now: float) -> None:
        """Take it that a list of the kind begins: also one that will name nothing."""
        listing = self._listings[kind]
        listing.under_way, listing.last, listing.seen = True, now, set()

    def named(self, key: Key, *, now: float, listed: bool) -> None:
        """Take it that a list (or, with ``listed`` False, an event beside it) named an object."""
        self._doubtful.pop(key, None)
        listing = self._listings[key.kind]
        if listed:
            if not listing.under_way:
                self.begin(key.kind, now=now)
            listing.last = now
        if listing.under_way:
            listing.seen.add(key)

    def end(self, kind: str) -> None:
        """Take it that the first list of the kind was heard, also where it named nothing."""
        self._listings[kind].ended = True

    def ended(self, kind: str) -> bool:
        """Tell whether the first list of the kind was heard to its end."""
        return self._listings[kind].ended

    def settle(self, known: Callable[[str], Iterable[Key]], *, now: float) -> tuple[Key, ...]:
        """Close lists that have been quiet; return every key that is in doubt, of earlier lists too."""
        for kind, listing in self._listings.items():
            if not listing.under_way or now - listing.last < QUIET:
                continue
            if listing.ended:
                self._doubtful |= {key: None for key in known(kind) if key not in listing.seen}
            listing.under_way, listing.ended, listing.seen = False, True, set()
        return tuple(self._doubtful)

    def doubts(self, key: Key) -> bool:
        """Tell whether nothing was heard of the object since it became doubtful."""
        return key in self._doubtful

    def confirm(self, key: Key) -> None:
        """Take it that the object is there, or that its end is known."""
        self._doubtful.pop(key, None)
