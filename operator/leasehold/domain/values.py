"""Secret values as a type, and keyed fingerprints of them.

A value leaves this type by ``reveal`` only, and a test lists the modules that may call it. Nothing else prints,
pickles, copies, hashes or serialises one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeAlias

_SHOWN = "[secret]"


class SecretBytes:
    """One secret value of arbitrary bytes.

    Constant ``repr``, ``str`` and ``format``; equality in constant time; unhashable; refuses pickle and copies.
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: bytes | str) -> None:
        """Take bytes, or text that is encoded as UTF-8."""
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves: the only door."""
        return self._value

    @property
    def size(self) -> int:
        """Length in bytes; known to anybody who sees the Secret's size."""
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _SHOWN

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a secret value is neither copied nor serialised")

    __reduce_ex__ = __reduce__ = __copy__ = __deepcopy__ = __getstate__ = _refuse


SecretMap: TypeAlias = Mapping[str, SecretBytes]
"""Key in the target Secret -> value."""


def fingerprint(key: SecretBytes, *parts: bytes) -> str:
    """Return a keyed fingerprint (HMAC-SHA256, 16 hex digits) of the parts, each framed by its length.

    Keyed, because a bare hash lets anybody who reads a status confirm a guessed weak value.
    """
    mac = hmac.new(key.reveal(), digestmod=hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.hexdigest()[:16]


def fingerprint_values(key: SecretBytes, values: SecretMap, names: Iterable[str] | None = None) -> str:
    """Return the keyed fingerprint of the named (default: all) values, independent of their order."""
    chosen = sorted(values if names is None else (name for name in names if name in values))
    return fingerprint(key, *(part for name in chosen for part in (name.encode(), values[name].reveal())))


def fingerprint_each(key: SecretBytes, values: SecretMap) -> dict[str, str]:
    """Return one keyed fingerprint per name, so that a change can be traced to its keys."""
    return {name: fingerprint(key, name.encode(), values[name].reveal()) for name in sorted(values)}
