"""The fake provider: values written in the store itself, for tests and demonstrations; no backend, no login."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from leasehold.api.stores.fake import FakeProvider
from leasehold.domain.errors import DomainError, Misconfigured, Missing
from leasehold.domain.ports import Document, Remote, Verdict
from leasehold.domain.values import SecretBytes, SecretMap
from leasehold.providers import properties

_READY, _UNKNOWN = 0, 1


class FakeStore:
    """Implements `Reader` and `Checker` of `domain.ports` over the values in a store."""

    def __init__(self, provider: FakeProvider) -> None:
        """Take the values; of two with the same key and version the later wins."""
        self._values = {(item.key, item.version or ""): item.value for item in provider.data}
        self._verdict = provider.validation_result or _READY

    async def read(self, remotes: Collection[Remote]) -> Mapping[Remote, Document | DomainError]:
        """Return the value of each remote; the version must be the one that is written, none included."""
        return {remote: self._read(remote) for remote in remotes}

    def _read(self, remote: Remote) -> Document | DomainError:
        value = self._values.get((remote.path, remote.version))
        if value is None:
            version = f" of version {remote.version}" if remote.version else ""
            return Missing(
                f"the fake store has no value{version}", path=remote.path, remedy="add it to provider.fake.data"
            )
        return FakeDocument(value, path=remote.path)

    async def check(self) -> Verdict:
        """Give the verdict that the store asks for.

        Raises:
            Misconfigured: it asks for an error, or a value has no key.
        """
        if any(not key for key, _ in self._values):
            raise Misconfigured("a value has no key", path="provider.fake.data", remedy="give it one")
        if self._verdict == _READY:
            return Verdict.VALID
        if self._verdict == _UNKNOWN:
            return Verdict.UNKNOWN
        raise Misconfigured(
            "the store asks to be invalid", path="provider.fake.validationResult", remedy="set it to 0, or remove it"
        )


class FakeDocument:
    """A `domain.ports.Document` of one text. Members keep the text that they have in it, spaces included."""

    __slots__ = ("_path", "_text")

    def __init__(self, text: str, *, path: str) -> None:
        """Take the text and the key that it stands under."""
        self._text, self._path = text, path

    def value(self, property_path: str) -> SecretBytes:
        """Return the text, or a member of the JSON object that it is.

        Raises:
            Missing: no such member, or the text is no JSON: as in ESO the deletion policy decides.
            Misconfigured: the property is a path.
        """
        if not property_path:
            return SecretBytes(self._text)
        found = self._members(self._text)
        if found is not None and property_path in found:
            return _bare(found[property_path])
        raise properties.absent(property_path, path=self._path, kind=Missing)

    def entries(self, property_path: str) -> SecretMap:
        """Return the members of the JSON object: strings bare, everything else as it is written.

        Raises:
            Misconfigured: it is no JSON object.
        """
        text = self.value(property_path).reveal().decode("utf-8", "replace")
        if text.strip() == "null":
            return {}
        found = self._members(text)
        if found is None:
            raise Misconfigured("the value is no JSON object", path=self._path, remedy="use data, or write an object")
        return {key: _bare(raw) for key, raw in found.items()}

    @staticmethod
    def _members(text: str) -> dict[str, str] | None:
        """Return each member's own text, None where the text is no JSON object."""
        try:
            if not isinstance(json.loads(text), dict):
                return None
            return _slices(text)
        except (ValueError, RecursionError):
            return None


def _slices(text: str) -> dict[str, str]:
    decoder = json.JSONDecoder()
    found: dict[str, str] = {}
    at = _next(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _next(text, _next(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        found[key] = text[start:end]
        at = _next(text, end)
        if text[at] == ",":
            at = _next(text, at + 1)
    return found


def _next(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _bare(raw: str) -> SecretBytes:
    """Return a member as a value: strings without quotes, null as nothing, the rest as it is written."""
    value: Any = json.loads(raw)
    if value is None:
        return SecretBytes(b"")
    return SecretBytes(value.encode("utf-8", "replace") if isinstance(value, str) else raw)
