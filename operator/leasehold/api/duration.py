"""Durations as Go writes them ("1h0m0s", "90s", "1.5h"), since that is what Kubernetes manifests carry.

Models keep durations as text: the CRD type is a plain string, and a bad one must become a clear condition of one
object and never a crash. Whoever needs the number calls `parse` and handles its ValueError.
"""

import re
from fractions import Fraction
from functools import lru_cache

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter: Go takes both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_SECOND = _UNITS["s"]
_LIMIT = 2**63  # Go counts nanoseconds in an int64
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_PROBLEM = "is not a duration; write numbers with units, such as 1h0m0s, 90s or 250ms"

NONNEGATIVE = r"^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$"
"""What a CRD may demand of a duration that cannot be negative (RE2 syntax)."""


@lru_cache(maxsize=256)  # thousands of objects share a few texts, and each pass asks several times
def parse(text: str) -> float:
    """Return the seconds that a Go duration means, exact to the nanosecond where a float can say it.

    Follows Go's `time.ParseDuration`: an optional sign, then numbers with units; "0" needs no unit.
    Raises ValueError, without quoting the text, if it is no duration or is out of Go's range (about 292 years).
    """
    if not text:
        raise ValueError(_PROBLEM)
    negative = text[0] == "-"
    rest = text[1:] if text[0] in "+-" else text
    if rest == "0":
        return 0.0
    nanoseconds = _sum_parts(rest)
    if nanoseconds >= _LIMIT + negative:
        raise ValueError("is a duration out of range (about 292 years)")
    return (-nanoseconds if negative else nanoseconds) / _SECOND


def render(seconds: float) -> str:
    """Return the text Go's `Duration.String` gives for so many seconds: "1h0m0s", "1.5s", "250ms", "0s".

    Rounded to the nanosecond. Raises ValueError if it is not finite or out of Go's range.
    """
    if not -(_LIMIT / _SECOND) <= seconds < _LIMIT / _SECOND:
        raise ValueError("is a duration out of range (about 292 years)")
    nanoseconds = round(Fraction(seconds) * _SECOND)
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    if rest == 0:
        return "0s"
    if rest < _SECOND:
        return sign + _render_small(rest)
    minutes, rest = divmod(rest, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest, _SECOND) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _sum_parts(text: str) -> int:
    total, at = 0, 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(_PROBLEM)
        whole, _, fraction = found[1].partition(".")
        unit = _UNITS[found[2]]
        total += int(whole or 0) * unit
        total += _fraction(fraction, unit)
        at = found.end()
    if not text:
        raise ValueError(_PROBLEM)
    return total


def _fraction(digits: str, unit: int) -> int:
    """Return the nanoseconds of a decimal fraction of a unit, with Go's rounding: digits past an int64 are dropped."""
    count, scale = 0, 1
    for digit in digits:
        longer = count * 10 + int(digit)
        if longer > _LIMIT:
            break
        count, scale = longer, scale * 10
    return int(count * (unit / scale))


def _render_small(nanoseconds: int) -> str:
    for name in ("ms", "µs"):
        if nanoseconds >= _UNITS[name]:
            return _decimal(nanoseconds, _UNITS[name]) + name
    return f"{nanoseconds}ns"


def _decimal(count: int, unit: int) -> str:
    whole, rest = divmod(count, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
