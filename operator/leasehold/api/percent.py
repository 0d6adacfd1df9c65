"""Shares of a whole as users write them: "66%"."""

import re

PATTERN = r"^[1-9][0-9]?(\.[0-9]{1,3})?%$"
"""From 1% to 99.999%: renewing at 0% would never stop, and at 100% would come too late (RE2 syntax)."""

_FORM = re.compile(PATTERN, re.ASCII)


def share(text: str) -> float:
    """Return the share a percentage means: 0.66 for "66%".

    Raises ValueError, without quoting the text, unless it is a percentage of at least 1% and below 100%.
    """
    # fullmatch, because a dollar sign in Python also stops before a last line feed
    if not _FORM.fullmatch(text):
        raise ValueError("is not a percentage from 1% to below 100%, such as 66%")
    return float(text[:-1]) / 100
