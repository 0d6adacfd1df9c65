"""What a KV read gave, and the bytes that ESO makes of it: pure.

The text form is Go's: keys sorted, ``<>&`` and U+2028/9 escaped, numbers as they were written. One deliberate
difference: ESO passes extracted numbers through a float and loses digits, here they stay exact.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes, SecretMap
from leasehold.providers import properties

_ESCAPED = re.compile('[\\x00-\\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def go_json(value: Any) -> str:
    """Return the text that Go's encoding/json writes for decoded JSON (numbers as `Number`)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, (int, float)):
        return json.dumps(value)
    if isinstance(value, str):
        return f'"{_ESCAPED.sub(_escape, value)}"'
    if isinstance(value, Mapping):
        members = (f"{go_json(str(key))}:{go_json(value[key])}" for key in sorted(value))
        return "{" + ",".join(members) + "}"
    return "[" + ",".join(go_json(item) for item in value) + "]"


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    if char in _SHORT:
        return _SHORT[char]
    if "\ud800" <= char <= "\udfff":
        return "\ufffd"  # half a pair: Go has replaced it when it read the document
    return f"\\u{ord(char):04x}"


def go_bytes(value: Any) -> SecretBytes:
    """Return a member as a value of a Secret: strings bare, null as nothing, the rest as JSON."""
    if value is None:
        return SecretBytes(b"")
    if isinstance(value, str):
        return SecretBytes(value.encode("utf-8", "replace") if isinstance(value, Number) else _clean(value))
    return SecretBytes(go_json(value))


def _clean(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text).encode()


def go_float(number: Number, *, plain: bool) -> Number:
    """Return a number as it looks after a way through Go's float64, or as it is where that would change its value.

    ``plain`` never uses an exponent (strconv 'f'); otherwise the rule of encoding/json holds.
    """
    try:
        value = float(number)
        if not math.isfinite(value) or Decimal(repr(value)) != Decimal(number):
            return number
    except (ValueError, ArithmeticError):
        return number
    digits = Decimal(repr(value))
    size = abs(value)
    if plain or size == 0 or 1e-6 <= size < 1e21:
        text = format(digits, "f")
        return Number(text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa, _, exponent = format(digits.normalize(), "e").partition("e")
    return Number(f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}")


def loosen(value: Any, *, plain: bool = False) -> Any:
    """Return decoded JSON with every number as ESO's extract shows it, exact where ESO would lose digits."""
    if isinstance(value, Number):
        return go_float(value, plain=plain)
    if isinstance(value, Mapping):
        return {key: loosen(member) for key, member in value.items()}
    if isinstance(value, list):
        return [loosen(item) for item in value]
    return value


def extract(members: Mapping[str, Any]) -> SecretMap:
    """Return each member as a value of a Secret, as dataFrom.extract does."""
    return {key: go_bytes(loosen(value, plain=True)) for key, value in members.items()}


def parse_object(text: bytes, *, path: str) -> Mapping[str, Any]:
    """Return the JSON object in a value.

    Raises:
        Misconfigured: it is none.
    """
    try:
        found = json.loads(text, parse_int=Number, parse_float=Number)
    except (ValueError, RecursionError):
        found = ()
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Misconfigured("the value is no JSON object", path=path, remedy="use data, or extract an object")
    return found


class KvDocument:
    """A `domain.ports.Document` of the members of a KV secret."""

    __slots__ = ("_members", "_path")

    def __init__(self, members: Mapping[str, Any], *, path: str) -> None:
        """Take the decoded members and the path that was read."""
        self._members, self._path = members, path

    def value(self, property_path: str) -> SecretBytes:
        """Return a member, or the whole secret as JSON for "".

        Raises:
            Misconfigured: there is no such member. As in ESO this never lets a deletion policy act: the secret exists.
        """
        if not property_path:
            return SecretBytes(go_json(self._members))
        if property_path in self._members:
            return go_bytes(self._members[property_path])
        raise properties.absent(property_path, path=self._path, kind=Misconfigured)

    def entries(self, property_path: str) -> SecretMap:
        """Return the members of the secret, or of the JSON object in one of them."""
        if not property_path:
            return extract(self._members)
        return extract(parse_object(self.value(property_path).reveal(), path=self._path))
