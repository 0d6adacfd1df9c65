from __future__ import annotations

from types import SimpleNamespace

import pytest

from leasehold.api.stores.fake import FakeData, FakeProvider
from leasehold.domain.errors import DomainError, Misconfigured, Missing
from leasehold.domain.ports import Checker, Leaser, Reader, Remote, Verdict
from leasehold.providers.fake import FakeStore
from tests.contracts.checker import CheckerContract
from tests.contracts.reader import ReaderContract, document


class FakeBench:
    def __init__(self) -> None:
        self._data: list[FakeData] = []
        self.reader = FakeStore(FakeProvider(data=()))

    def put(self, path: str, text: str) -> None:
        self._data.append(FakeData(key=path, value=text))
        self.reader = FakeStore(FakeProvider(data=tuple(self._data)))


class TestReader(ReaderContract):
    absent_property = Missing

    @pytest.fixture
    def bench(self) -> FakeBench:
        return FakeBench()


class TestChecker(CheckerContract):
    @pytest.fixture
    def bench(self) -> SimpleNamespace:
        return SimpleNamespace(
            good=FakeStore(FakeProvider(data=())), bad=FakeStore(FakeProvider(data=(), validation_result=2))
        )


def store(*items: tuple[str, str, str | None], verdict: int | None = None) -> FakeStore:
    data = tuple(FakeData(key=key, value=value, version=version) for key, value, version in items)
    return FakeStore(FakeProvider(data=data, validation_result=verdict))


def test_capabilities() -> None:
    backend = store()
    assert isinstance(backend, Reader)
    assert isinstance(backend, Checker)
    assert not isinstance(backend, Leaser)


@pytest.mark.parametrize(
    ("asked", "given"), [("v1", b"old"), ("v2", b"new"), ("", None), ("v", None)], ids=["v1", "v2", "none", "part"]
)
async def test_the_version_must_be_exact(asked: str, given: bytes | None) -> None:
    remote = Remote("key", version=asked)
    answer = (await store(("key", "old", "v1"), ("key", "new", "v2")).read([remote]))[remote]
    if given is None:
        assert isinstance(answer, Missing)
    else:
        assert document(answer).value("").reveal() == given


async def test_of_equal_keys_the_later_wins() -> None:
    answer = (await store(("key", "a", None), ("key", "b", None)).read([Remote("key")]))[Remote("key")]
    assert document(answer).value("").reveal() == b"b"


async def test_members_keep_their_own_text() -> None:
    text = ' { "a" : { "x" :  1.50 } , "b":[1, 2] ,"c\\u0041":"\\u00e9", "n":null}'
    answer = (await store(("key", text, None)).read([Remote("key")]))[Remote("key")]
    shown = {key: value.reveal() for key, value in document(answer).entries("").items()}
    assert shown == {"a": b'{ "x" :  1.50 }', "b": b"[1, 2]", "cA": "é".encode(), "n": b""}


@pytest.mark.parametrize(
    ("text", "wanted", "error"),
    [("plain", "a", Missing), ("[1]", "a", Missing), ("plain", "a.b", Misconfigured), ('{"a":1}', "", None)],
)
async def test_a_property_of_what_is_no_object(text: str, wanted: str, error: type[DomainError] | None) -> None:
    found = document((await store(("key", text, None)).read([Remote("key")]))[Remote("key")])
    if error is None:
        assert found.value(wanted).reveal() == text.encode()
    else:
        with pytest.raises(error):
            found.value(wanted)


@pytest.mark.parametrize("text", ["plain", "[1]", '"text"', "12", "{", ""])
async def test_only_an_object_can_be_extracted(text: str) -> None:
    found = document((await store(("key", text, None)).read([Remote("key")]))[Remote("key")])
    with pytest.raises(Misconfigured, match="no JSON object"):
        found.entries("")


async def test_null_has_no_members() -> None:
    found = document((await store(("key", "null", None)).read([Remote("key")]))[Remote("key")])
    assert found.entries("") == {}


async def test_the_verdict_is_the_one_asked_for() -> None:
    assert await store(verdict=0).check() is Verdict.VALID
    assert await store(verdict=1).check() is Verdict.UNKNOWN
    with pytest.raises(Misconfigured, match="invalid"):
        await store(verdict=2).check()
    with pytest.raises(Misconfigured, match="no key"):
        await store(("", "v", None)).check()
