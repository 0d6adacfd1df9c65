"""One identifier per pass, from the log line to the request that a backend or the API server audits.

The runner opens a scope around each pass; log lines carry its identifier by themselves, and the HTTP clients, who may
not import this room, are handed `current` by `app`. It is drawn, never derived: it says nothing about the object.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

BACKEND_HEADER = "X-Correlation-Id"
"""Header of requests to a backend. Vault writes it to its audit log, by default in recent versions."""
KUBE_HEADER = "Audit-ID"
"""Header of requests to the API server, which takes it as the audit ID of the request."""

_current: ContextVar[str] = ContextVar("correlation", default="")


def current() -> str:
    """Return the identifier of the pass under way, "" outside of one."""
    return _current.get()


@contextmanager
def scope(identifier: str = "") -> Iterator[str]:
    """Give everything inside one identifier (16 hex digits are drawn without one) and yield it."""
    chosen = identifier or secrets.token_hex(8)
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)
