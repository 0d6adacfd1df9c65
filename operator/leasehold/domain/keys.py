"""Keys and values as a Secret can have them: key names converted, values decoded, to the letter of Go (eso.md 2.7)."""

from __future__ import annotations

import base64
import re

from leasehold.api.sources import ConversionStrategy, DecodingStrategy
from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes, SecretMap

MAX_KEY = 253
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_FOREIGN = re.compile(r"[^-._a-zA-Z0-9]")
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_BASE64_URL = re.compile(rb"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?")


def convert_keys(members: SecretMap, strategy: ConversionStrategy, *, where: str) -> dict[str, SecretBytes]:
    """Return the members with foreign characters of their keys replaced; empty keys are dropped.

    Raises:
        Misconfigured: two keys become one.
    """
    unicode = strategy is ConversionStrategy.UNICODE
    result: dict[str, SecretBytes] = {}
    for key, value in members.items():
        if not key:
            continue
        name = _FOREIGN.sub(_code_point if unicode else "_", key)
        if name in result:
            raise Misconfigured(
                f"two remote keys become {name}", path=where, remedy="set conversionStrategy to Unicode, or rename one"
            )
        result[name] = value
    return result


def _code_point(match: re.Match[str]) -> str:
    return f"_U{ord(match.group()):04x}_"


def check_key(key: str, *, where: str) -> None:
    """Raise Misconfigured for a key that no Secret can have."""
    if len(key) > MAX_KEY or _KEY.fullmatch(key) is None:
        raise Misconfigured(
            f"key {key[:64]!r} is no valid Secret key", path=where, remedy=f"use letters, digits, - . _ up to {MAX_KEY}"
        )


def decode(value: SecretBytes, strategy: DecodingStrategy, *, where: str, key: str) -> SecretBytes:
    """Return the value decoded; Auto tries base64, then its URL alphabet, and else keeps the value.

    Raises:
        Misconfigured: Base64 or Base64URL was asked for and the value is neither.
    """
    if strategy is DecodingStrategy.NONE:
        return value
    for alphabet in (DecodingStrategy.BASE64, DecodingStrategy.BASE64_URL):
        if strategy in (alphabet, DecodingStrategy.AUTO):
            decoded = _base64(value.reveal(), url=alphabet is DecodingStrategy.BASE64_URL)
            if decoded is not None:
                return SecretBytes(decoded)
    if strategy is DecodingStrategy.AUTO:
        return value
    raise Misconfigured(
        f"the value of key {key} is no {strategy.value}", path=where, remedy="set decodingStrategy to Auto or None"
    )


def _base64(raw: bytes, *, url: bool) -> bytes | None:
    # Go's decoder skips line ends, demands padding, refuses more of it, and takes odd bits at the end.
    text = raw.replace(b"\n", b"").replace(b"\r", b"")
    if (_BASE64_URL if url else _BASE64).fullmatch(text) is None:
        return None
    return base64.b64decode(text, altchars=b"-_" if url else None)
