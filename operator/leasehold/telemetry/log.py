"""Log lines as events: a fixed name and fields, one JSON object per line, ours and those of the libraries alike.

A module logs by ``structlog.get_logger()`` and names what happened in snake_case; the object, numbers and words are
fields. Lines of the libraries arrive by way of ``logging`` and leave as the event ``library_message``. Everything
passes one redaction. No line carries a local variable, a foreign exception's text or a secret value.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from types import MappingProxyType
from typing import Any, Literal, TextIO

import orjson
import structlog

from leasehold.telemetry import correlation, redaction

LIBRARY_EVENT = "library_message"
_LEVELS = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
)
_QUIET = MappingProxyType(
    {
        # kopf says "handler succeeded" at INFO for every event of every object, and prints patches at DEBUG.
        "kopf": logging.INFO,
        "kopf.objects": logging.WARNING,
        "aiohttp.access": logging.CRITICAL,
        "asyncio": logging.WARNING,
        "hvac": logging.WARNING,
        "urllib3": logging.WARNING,
    }
)
"""Least level of libraries, whatever our own level is: their DEBUG lines may print what they send."""


def configure(*, level: str, form: Literal["json", "console"], stream: TextIO | None = None) -> None:
    """Send all logs, structlog's and logging's, to the stream (default: standard output).

    ``level`` is debug, info, warn or error.
    """
    out = stream if stream is not None else sys.stdout
    render = _render_json if form == "json" else _render_console(colors=out.isatty())
    processors: list[Callable[..., Any]] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_correlation,
        _tell_exception,
        _redact,
        render,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # a test that configures anew must reach every module's logger
    )
    _bridge(_LEVELS[level])


class Bridge(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record on. It must not fail: a library's bad format string is not our accident."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = record.msg if isinstance(record.msg, str) else "unreadable message"
        structlog.get_logger().log(
            record.levelno, LIBRARY_EVENT, logger=record.name, message=message, exc_info=record.exc_info or None
        )


def _bridge(level: int) -> None:
    root = logging.getLogger()
    for handler in [held for held in root.handlers if type(held) in (Bridge, logging.StreamHandler)]:
        root.removeHandler(handler)
    root.addHandler(Bridge())
    root.setLevel(max(level, logging.INFO))
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    logging.captureWarnings(capture=True)


def _add_correlation(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if identifier := correlation.current():
        event["correlation"] = identifier
    return event


def _tell_exception(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace exc_info (True, an exception, or logging's triple) by what may be told of it."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        event["exception"] = error
    return event


def _redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return redaction.fields(event)


def _render_console(*, colors: bool) -> Callable[..., Any]:
    """Return a renderer for human eyes; its exception is text, where ours is a type and frames."""
    render = structlog.dev.ConsoleRenderer(colors=colors)

    def console(logger: Any, name: str, event: MutableMapping[str, Any]) -> Any:
        if "exception" in event:
            event["exception"] = orjson.dumps(event["exception"], default=str).decode()
        return render(logger, name, event)

    return console


def _render_json(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    head = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return orjson.dumps({**head, **event}, option=orjson.OPT_NON_STR_KEYS).decode()
