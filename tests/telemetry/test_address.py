"""Listen addresses: what Go programs take, we take."""

import pytest

from leasehold.telemetry import address
from leasehold.telemetry.address import Address


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (":8080", Address("", 8080)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("localhost:9000", Address("localhost", 9000)),
        ("[::1]:8080", Address("::1", 8080)),
        ("0", None),
        ("", None),
    ],
)
def test_parse(text: str, wanted: Address | None) -> None:
    assert address.parse(text) == wanted


@pytest.mark.parametrize("text", ["8080", "host", "host:", ":65536", ":-1", ":http", "::1:8080", ":٣"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"listen address|brackets"):
        address.parse(text)


@pytest.mark.parametrize("text", [":8080", "127.0.0.1:1", "[::]:8080"])
def test_shows_as_it_was_written(text: str) -> None:
    assert str(address.parse(text)) == text
