"""Docstrings of enum members are read from the source."""

from enum import Enum

from tools import docstrings


class Colour(Enum):
    """Not a member's."""

    RED = 1
    """Stops
    the traffic."""
    GREEN = 2
    BLUE = 3
    # A comment does not part them.
    """Of the sky."""

    def mix(self) -> None:
        """Not a member's either."""


def test_members() -> None:
    assert list(docstrings.members(Colour)) == [
        (Colour.RED, "Stops the traffic."),
        (Colour.GREEN, ""),
        (Colour.BLUE, "Of the sky."),
    ]
