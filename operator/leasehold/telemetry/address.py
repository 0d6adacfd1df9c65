"""Listen addresses as Go programs write them: ":8080", "127.0.0.1:9000", "[::]:8080".

Pure text to value and back, so that settings can check an address without loading a server.
"""

from __future__ import annotations

from typing import NamedTuple

OFF = ("", "0")
"""What controller-runtime takes for "do not listen at all"."""
_PROBLEM = "is not a listen address; write host:port or :port, such as :8080, or 0 to turn it off"


class Address(NamedTuple):
    """Where to listen. An empty host is every interface; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address | None:
    """Return the address, or None where the text turns listening off ("0" or "").

    Raises ValueError, a clause without subject, if it is no address.
    """
    if text in OFF:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(_PROBLEM)
    if host.startswith("[") and host.endswith("]"):
        return Address(host[1:-1], int(port))
    if ":" in host:
        raise ValueError("has an IPv6 host without brackets; write it as [::1]:8080")
    return Address(host, int(port))
