import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.api import duration

YEARS_292 = 2**63 / 1e9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1h0m0s", 3600),
        ("90s", 90),
        ("1.5h", 5400),
        ("-1s", -1),
        ("+5s", 5),
        ("1m30s", 90),
        ("30s1m", 90),
        ("1h1h", 7200),
        ("5.s", 5),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("12us", 12e-6),
        ("12µs", 12e-6),
        ("12μs", 12e-6),
        ("7ns", 7e-9),
        ("1h15m30.918273645s", 4530.918273645),
        ("0.3333333333333333333h", 1200),
        ("0.100000000000000000000h", 360),
        ("0.9223372036854775807h", 3320.413933267),
        ("9223372036854775807ns", YEARS_292),
        ("-9223372036854775808ns", -YEARS_292),
    ],
)
def test_reads_what_go_reads(text, seconds):
    assert duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+",
        "1",
        "60",
        "s",
        ".",
        ".s",
        "1.5",
        "--1s",
        "+-1s",
        " 1s",
        "1s ",
        "1h 30m",
        "1s\n",
        "1d",
        "1w",
        "1H",
        "1e3s",
        "1,5h",
        "٣s",
        "soon",
        "@every 1h",
    ],
)
def test_refuses_what_go_refuses(text):
    with pytest.raises(ValueError, match="is not a duration; write numbers with units"):
        duration.parse(text)


@pytest.mark.parametrize("text", ["3000000h", "9223372036854775808ns", "-9223372036854775809ns", "1000000000000s"])
def test_refuses_what_is_longer_than_go_can_count(text):
    with pytest.raises(ValueError, match="out of range"):
        duration.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-0.0, "0s"),
        (1e-10, "0s"),
        (1e-9, "1ns"),
        (1.1e-6, "1.1µs"),
        (2.2e-3, "2.2ms"),
        (0.25, "250ms"),
        (3.3, "3.3s"),
        (60, "1m0s"),
        (245, "4m5s"),
        (245.001, "4m5.001s"),
        (3600, "1h0m0s"),
        (18367.001, "5h6m7.001s"),
        (-1, "-1s"),
        (-5400.5, "-1h30m0.5s"),
        (360000, "100h0m0s"),
    ],
)
def test_writes_as_go_writes(seconds, text):
    assert duration.render(seconds) == text


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), float("nan"), 1e10, YEARS_292])
def test_writes_nothing_that_go_cannot_count(seconds):
    with pytest.raises(ValueError, match="out of range"):
        duration.render(seconds)


@settings(deadline=None)
@given(st.integers(min_value=-(2**53), max_value=2**53))
def test_whole_nanoseconds_survive_the_round_trip(nanoseconds):
    seconds = nanoseconds / 1e9
    assert duration.parse(duration.render(seconds)) == seconds


@settings(deadline=None)
@given(st.floats(min_value=-9e9, max_value=9e9))
def test_rendered_text_is_settled(seconds):
    text = duration.render(seconds)
    assert duration.render(duration.parse(text)) == text


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_number_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert abs(duration.parse(text)) <= YEARS_292


def test_complaints_do_not_quote_the_text():
    with pytest.raises(ValueError, match="is not a duration") as raised:
        duration.parse("hunter2")
    assert "hunter2" not in str(raised.value)
