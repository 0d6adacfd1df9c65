"""One line per step, with the time."""

import io

import pytest

from testbed.progress import Console, clock


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (9.99, "0:09"), (65.2, "1:05"), (3600.0, "60:00")])
def test_time_is_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_line_names_the_family() -> None:
    stream = io.StringIO()

    Console(stream).say("etcd", "built")

    assert stream.getvalue() == "[  0:00] etcd         built\n"
