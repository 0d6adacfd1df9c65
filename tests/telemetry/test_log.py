"""Every line is one JSON object with a fixed event name; libraries' lines pass the same net."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from leasehold.domain.errors import Unavailable
from leasehold.domain.values import SecretBytes
from leasehold.telemetry import correlation, log

CANARY = "canary-7f3a9c"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logging as a process has it, put back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in log._QUIET}
    yield io.StringIO()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_object_per_line_with_the_pass_named(stream: io.StringIO) -> None:
    log.configure(level="info", form="json", stream=stream)
    logger = structlog.get_logger().bind(namespace="a", name="b")
    with correlation.scope("c0ffee"):
        logger.info("secret_written", keys=["user"])
    logger.debug("unheard")
    (line,) = _lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "secret_written",
        "namespace": "a",
        "name": "b",
        "keys": ["user"],
        "correlation": "c0ffee",
    }
    assert stream.getvalue().index('"event"') < stream.getvalue().index('"namespace"')


def test_values_never_show(stream: io.StringIO) -> None:
    log.configure(level="debug", form="json", stream=stream)
    logger = structlog.get_logger()
    logger.info("x", value=CANARY, anything=SecretBytes(CANARY), token=CANARY, deep={"password": CANARY})
    try:
        raise Unavailable("Vault is sealed") from ValueError(CANARY)
    except Unavailable:
        logger.exception("pass_failed")
    logging.getLogger("kopf").warning("answer was %s", {"Authorization": "Bearer " + CANARY})
    try:
        {}[CANARY]
    except KeyError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    assert CANARY not in stream.getvalue()
    assert [line["event"] for line in _lines(stream)] == ["x", "pass_failed", log.LIBRARY_EVENT, log.LIBRARY_EVENT]
    assert _lines(stream)[1]["exception"]["message"] == "Vault is sealed"
    assert _lines(stream)[3]["exception"] == {"type": "builtins.KeyError"}


def test_libraries_keep_their_place(stream: io.StringIO) -> None:
    log.configure(level="debug", form="json", stream=stream)
    logging.getLogger("kopf.objects").info("Handler 'x' succeeded.")
    logging.getLogger("kopf._core").debug("Patching with: {}")
    logging.getLogger("aiohttp.access").error("GET /")
    logging.getLogger("kopf.objects").warning("seen %d", 1)
    (line,) = _lines(stream)
    assert (line["logger"], line["message"], line["level"]) == ("kopf.objects", "seen 1", "warning")


def test_a_record_that_cannot_be_formatted_is_told_raw(stream: io.StringIO) -> None:
    log.configure(level="info", form="json", stream=stream)
    log.Bridge().handle(logging.LogRecord("some.library", logging.WARNING, "x.py", 1, "%d items", ("none",), None))
    assert _lines(stream)[0]["message"] == "%d items"


def test_level_holds_for_libraries_too(stream: io.StringIO) -> None:
    log.configure(level="error", form="json", stream=stream)
    logging.getLogger("kopf").warning("unheard")
    structlog.get_logger().warning("unheard")
    structlog.get_logger().error("heard")
    assert [line["event"] for line in _lines(stream)] == ["heard"]


def test_configured_twice_speaks_once(stream: io.StringIO) -> None:
    log.configure(level="info", form="json", stream=stream)
    log.configure(level="info", form="json", stream=stream)
    logging.getLogger("kopf").warning("once")
    assert len(_lines(stream)) == 1


def test_warnings_become_lines(stream: io.StringIO) -> None:
    log.configure(level="info", form="json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert _lines(stream)[0]["logger"] == "py.warnings"


def test_console_is_for_eyes(stream: io.StringIO) -> None:
    log.configure(level="info", form="console", stream=stream)
    structlog.get_logger().info("secret_written", namespace="a", token=CANARY)
    text = stream.getvalue()
    assert "secret_written" in text
    assert "namespace=a" in text
    assert CANARY not in text
