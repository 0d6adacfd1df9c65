"""Errors by consequence: what the caller should do, not which library failed.

    DomainError
    ├── Misconfigured   wait for a change of the object or of what it names
    ├── Denied          try again slowly: rights may be granted meanwhile
    ├── Missing         the backend has no such secret: the deletion policy decides
    ├── Unavailable     the backend or API server cannot answer now; honours retry_after
    ├── Conflict        somebody else wrote first: look again at once
    └── Bug             ours; reported loudly, tried again slowly

A message names the object or path and the remedy. It never carries foreign text: templates, databases and URLs put
values into theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class Pace(Enum):
    """How soon another try makes sense."""

    NOW = "now"
    """At once: the state we acted upon was old."""
    BACKOFF = "backoff"
    """Exponentially, from one second: the fault may pass by itself."""
    SLOW = "slow"
    """After minutes: somebody has to grant or repair something elsewhere."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again: the pace, and the least seconds to wait where the other side named them."""

    pace: Pace
    after: float | None = None


class DomainError(Exception):
    """Base of everything that a pass may end with, apart from success."""

    retry_pace: ClassVar[Pace] = Pace.BACKOFF

    def __init__(self, cause: str, *, path: str = "", remedy: str = "", retry_after: float | None = None) -> None:
        """Take the cause (a clause without value or foreign text), the path it concerns and what helps."""
        super().__init__(cause)
        self.cause, self.path, self.remedy, self.retry_after = cause, path, remedy, retry_after

    @property
    def retry(self) -> Retry:
        """When another try makes sense."""
        return Retry(self.retry_pace, self.retry_after)

    def __str__(self) -> str:
        text = f"{self.cause} ({self.path})" if self.path else self.cause
        return f"{text}; {self.remedy}" if self.remedy else text


class Misconfigured(DomainError):
    """The object, or one that it names, asks for something impossible; only a change helps."""

    retry_pace = Pace.SLOW


class Denied(DomainError):
    """We are known and refused, or not known: policy, role, RBAC."""

    retry_pace = Pace.SLOW


class Missing(DomainError):
    """The backend answers and has no such secret, version or property."""

    retry_pace = Pace.BACKOFF


class Unavailable(DomainError):
    """Unreachable, sealed, throttled, timed out, or a failure of its own (5xx)."""

    retry_pace = Pace.BACKOFF


class Conflict(DomainError):
    """The object changed between our look and our write."""

    retry_pace = Pace.NOW


class Bug(DomainError):
    """An error of ours: an unexpected exception, named by its type only."""

    retry_pace = Pace.SLOW
