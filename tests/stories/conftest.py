"""A town per story, and a canary for every one of them: no story passes while a secret shows where none belongs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from leasehold.domain.errors import DomainError
from leasehold.telemetry import log
from tests.stories.town import Town


@pytest.fixture
def town() -> Town:
    """A cluster, a Vault and their users; the operator is started by the story."""
    return Town()


@pytest.fixture(autouse=True)
def canary(town: Town, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write logs as the process does, remember every domain error, and search all that can be read when it is over."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in log._QUIET}
    log.configure(level="debug", form="json", stream=town.logs)
    made = DomainError.__init__

    def remember(self: DomainError, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        town.errors.append(f"{self} {vars(self)}")

    monkeypatch.setattr(DomainError, "__init__", remember)
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)
    town.close()
