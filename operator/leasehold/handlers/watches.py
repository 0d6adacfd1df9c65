"""Whether the API server answers kopf's lists and watches: seen on its session, since kopf itself does not say.

kopf reconnects by itself and for ever; nothing here heals anything. A watch that cannot be had makes the operator
unready after a while, and the log of the middleware's failures says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

FAILING = 30.0
"""Seconds for which a watch may fail before it counts as lost: an API server that restarts takes less."""
SILENT = 730.0
"""Seconds without a new watch after which it counts as lost: the server ends each after 600, kopf a silent one after
70."""


@dataclass(slots=True)
class _Watch:
    answered: float | None = None
    failing: float | None = None
    """Since when."""
    start: str = ""
    """resourceVersion that the first watch may go on from, "" once it has."""


class Watches:
    """The watches by the plurals of their resources. Times are monotonic seconds."""

    def __init__(
        self, kinds: Mapping[str, str], monotonic: Callable[[], float], *, listed: Callable[[str], None]
    ) -> None:
        """Take what is watched (plural -> kind), a clock, and whom to tell of the kind that is being listed."""
        self._kinds, self._monotonic, self._listed = kinds, monotonic, listed
        self._watches = {plural: _Watch() for plural in kinds}

    def go_on(self, plural: str, version: str) -> None:
        """Take it that everything up to that resourceVersion has been heard: the first list need not tell it again."""
        self._watches[plural].start = version

    def take_start(self, plural: str) -> str:
        """Return the resourceVersion that the first watch may go on from, "" at every later list."""
        watch = self._watches.get(plural)
        if watch is None:
            return ""
        version, watch.start = watch.start, ""
        return version

    def listing(self, plural: str) -> None:
        """Take it that the API server answers with the first chunk of a list."""
        if kind := self._kinds.get(plural):
            self._listed(kind)

    def watching(self, plural: str) -> None:
        """Take it that the API server began to answer a watch."""
        if watch := self._watches.get(plural):
            watch.answered, watch.failing = self._monotonic(), None

    def failed(self, plural: str) -> None:
        """Take it that a list or a watch was refused, or not answered."""
        watch = self._watches.get(plural)
        if watch is not None and watch.failing is None:
            watch.failing = self._monotonic()

    def problem(self) -> str:
        """Return what is wrong, "" while all is well."""
        now = self._monotonic()
        problems = [text for plural, watch in self._watches.items() if (text := _problem(plural, watch, now))]
        return "; ".join(problems)


def _problem(plural: str, watch: _Watch, now: float) -> str:
    if watch.answered is None:
        return f"{plural} are not watched yet"
    if watch.failing is not None and now - watch.failing > FAILING:
        return f"the watch of {plural} has failed for {now - watch.failing:.0f}s"
    if now - watch.answered > SILENT:
        return f"{plural} have not been watched for {now - watch.answered:.0f}s"
    return ""
