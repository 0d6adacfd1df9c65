"""What every `Reader` does, whatever backend is behind it."""

from __future__ import annotations

from typing import ClassVar, Protocol

import pytest

from leasehold.domain.errors import DomainError, Misconfigured, Missing
from leasehold.domain.ports import Document, Reader, Remote
from tests.contracts.canary import assert_clean


class ReaderBench(Protocol):
    """A backend with known content, and a reader of it."""

    @property
    def reader(self) -> Reader:
        """Who reads it now."""
        ...

    def put(self, path: str, text: str) -> None:
        """Write a secret whose JSON text is this."""
        ...


def document(answer: Document | DomainError) -> Document:
    """Return the document, or raise the error that stands in its place."""
    if isinstance(answer, DomainError):
        raise answer
    return answer


class ReaderContract:
    """Subclasses give a fixture ``bench``."""

    absent_property: ClassVar[type[DomainError]] = Missing
    """What a property that is not there raises: ESO's providers differ in whether a deletion policy may act."""

    async def test_reads_a_member(self, bench: ReaderBench) -> None:
        bench.put("app", '{"user":"canary-user","port":5432}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        assert found.value("user").reveal() == b"canary-user"
        assert found.value("port").reveal() == b"5432"
        assert_clean(found, found.value("user"), found.entries(""))

    async def test_reads_the_whole(self, bench: ReaderBench) -> None:
        bench.put("app", '{"a":"1","b":[true,null]}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        assert found.value("").reveal() == b'{"a":"1","b":[true,null]}'

    async def test_extracts_members(self, bench: ReaderBench) -> None:
        bench.put("app", '{"text":"t","number":12,"yes":true,"none":null,"deep":{"x":1}}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        shown = {key: value.reveal() for key, value in found.entries("").items()}
        assert shown == {"text": b"t", "number": b"12", "yes": b"true", "none": b"", "deep": b'{"x":1}'}

    async def test_extracts_members_of_a_member(self, bench: ReaderBench) -> None:
        bench.put("app", '{"deep":{"x":"1"},"text":"{\\"y\\":\\"2\\"}"}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        assert {key: value.reveal() for key, value in found.entries("deep").items()} == {"x": b"1"}
        assert {key: value.reveal() for key, value in found.entries("text").items()} == {"y": b"2"}

    async def test_digits_survive(self, bench: ReaderBench) -> None:
        bench.put("app", '{"id":9007199254740993}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        assert found.value("id").reveal() == b"9007199254740993"
        assert found.entries("")["id"].reveal() == b"9007199254740993"

    async def test_missing_is_named_and_hides_nothing(self, bench: ReaderBench) -> None:
        bench.put("app", '{"a":"canary"}')
        answers = await bench.reader.read([Remote("gone"), Remote("app"), Remote("app")])
        assert set(answers) == {Remote("gone"), Remote("app")}
        missing = answers[Remote("gone")]
        assert isinstance(missing, Missing)
        assert "gone" in str(missing)
        assert missing.remedy
        assert document(answers[Remote("app")]).value("a").reveal() == b"canary"

    async def test_missing_version(self, bench: ReaderBench) -> None:
        bench.put("app", '{"a":"1"}')
        remote = Remote("app", version="7")
        assert isinstance((await bench.reader.read([remote]))[remote], Missing)

    async def test_absent_property(self, bench: ReaderBench) -> None:
        bench.put("app", '{"a":"canary"}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        with pytest.raises(self.absent_property, match="property b") as caught:
            found.value("b")
        assert_clean(caught.value)

    async def test_paths_are_refused_and_dotted_keys_are_not(self, bench: ReaderBench) -> None:
        bench.put("app", '{"tls.crt":"c","tls":{"crt":"other"}}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        assert found.value("tls.crt").reveal() == b"c"
        with pytest.raises(Misconfigured, match="not supported"):
            found.value("tls.key")

    async def test_a_text_has_no_members(self, bench: ReaderBench) -> None:
        bench.put("app", '{"a":"canary"}')
        found = document((await bench.reader.read([Remote("app")]))[Remote("app")])
        with pytest.raises(Misconfigured, match="no JSON object") as caught:
            found.entries("a")
        assert_clean(caught.value)
