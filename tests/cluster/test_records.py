"""Lease records: the contract, their text, and what becomes of lost answers."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.cluster import records
from leasehold.cluster.records import FIELD, VERSION, KubeRecords
from leasehold.domain.errors import Misconfigured, Unavailable
from leasehold.domain.lease import Intent, Lease, LeaseRecord, OldLease, SourceRecord
from leasehold.domain.values import SecretBytes
from tests.contracts.canary import assert_clean
from tests.contracts.cluster_records import RecordsContract
from tests.worlds import objects
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld, Crash


class TestRecordsInMemory(RecordsContract):
    """The contract, on the cluster in memory."""


# ----------------------------------------------------------------------------------------------------------------- text

NUMBERS = st.floats(min_value=0, max_value=4e9, allow_nan=False)
MAYBE = st.none() | NUMBERS
HIDDEN = st.binary(max_size=40).map(SecretBytes)
TEXT = st.text(max_size=20)
CONNECTIONS = st.dictionaries(TEXT, TEXT | st.dictionaries(TEXT, TEXT, max_size=2), max_size=3)
LEASES = st.builds(
    Lease,
    lease_id=HIDDEN,
    owner=HIDDEN,
    values=st.dictionaries(TEXT, HIDDEN, max_size=3),
    issued_at=NUMBERS,
    duration=NUMBERS,
    expires_at=NUMBERS,
    renewed_at=NUMBERS,
    renewable=st.booleans(),
    owner_expires_at=MAYBE,
    owner_period=NUMBERS,
    owner_renewed_at=NUMBERS,
    max_expires_at=MAYBE,
    kept=st.booleans(),
    connection=CONNECTIONS,
)
SOURCES = st.builds(
    SourceRecord,
    source_hash=TEXT,
    connection=CONNECTIONS,
    intent=st.none() | st.builds(Intent, HIDDEN, NUMBERS, NUMBERS),
    current=st.none() | LEASES,
    old=st.lists(st.builds(OldLease, LEASES, NUMBERS, MAYBE), max_size=2).map(tuple),
    lost=st.booleans(),
    life=MAYBE,
)
RECORDS = st.builds(
    LeaseRecord,
    uid=TEXT,
    namespace=TEXT,
    name=TEXT,
    sources=st.dictionaries(TEXT, SOURCES, max_size=2),
    on_delete=st.sampled_from(["Revoke", "Expire", "Keep"]),
    orphaned_at=MAYBE,
)


@given(record=RECORDS)
def test_a_record_survives_its_text(record: LeaseRecord) -> None:
    assert records.parse(records.render(record), where="x") == record


def changed(**more: Any) -> dict[str, SecretBytes]:
    """Return a record's data with parts of its text replaced."""
    plain = orjson.loads(records.render(objects.record())[FIELD].reveal())
    return {FIELD: SecretBytes(orjson.dumps({**plain, **more}))}


def test_a_record_of_a_later_operator_is_not_guessed_at() -> None:
    data = changed(version=VERSION + 1, sources="canary")
    with pytest.raises(Misconfigured, match=r"record version 2.*upgrade the operator") as caught:
        records.parse(data, where="Secret x/y")
    assert "Secret x/y" in str(caught.value)
    assert_clean(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"other": SecretBytes("canary")},
        {FIELD: SecretBytes("canary")},
        {FIELD: SecretBytes("[]")},
        {FIELD: SecretBytes('{"version":"canary"}')},
        {FIELD: SecretBytes('{"version":1}')},
        changed(sources={"s": "canary"}),
        changed(sources=["canary"]),
        changed(version=None),
    ],
)
def test_what_is_no_record_is_named_and_not_shown(data: dict[str, SecretBytes]) -> None:
    with pytest.raises(Misconfigured, match="no lease record") as caught:
        records.parse(data, where="Secret x/y")
    assert_clean(caught.value)
    assert caught.value.__context__ is None  # which would hold the text


def test_a_field_that_nobody_knows_is_not_dropped_in_silence() -> None:
    plain = orjson.loads(records.render(objects.record())[FIELD].reveal())
    plain["sources"]["dataFrom[0]"]["current"]["new"] = 1
    with pytest.raises(Misconfigured):
        records.parse({FIELD: SecretBytes(orjson.dumps(plain))}, where="x")


def test_names_tell_uids_apart_and_fit() -> None:
    names = {records.name(uid) for uid in ("a", "b", "x" * 500)}
    assert len(names) == 3
    assert max(map(len, names)) <= 63


# --------------------------------------------------------------------------------------------------------- lost answers


class Book:
    """Records on a cluster in memory."""

    def __init__(self) -> None:
        self.world = ClusterWorld(ManualClock())
        self.held = KubeRecords(self.world, SYSTEM)
        self.record = objects.record()

    async def read(self) -> LeaseRecord | None:
        """Return what the next life knows."""
        next_life = KubeRecords(self.world, SYSTEM)
        await next_life.load()
        return next_life.get(self.record.uid)


@pytest.mark.parametrize("written", [False, True])
async def test_memory_follows_the_server_and_not_the_wish(written: bool) -> None:
    book = Book()
    if written:
        await book.held.save(book.record)
    later = replace(book.record, orphaned_at=7.0)
    book.world.lose_answer("update" if written else "create", "secrets")
    with pytest.raises(Unavailable):
        await book.held.save(later)
    assert book.held.get(later.uid) == (book.record if written else None)
    assert await book.read() == later  # it was written all the same
    last = replace(later, on_delete="Keep")
    await book.held.save(last)  # and that is noticed, not fought
    assert book.held.get(later.uid) == last == await book.read()


async def test_a_refused_write_changes_nothing() -> None:
    book = Book()
    await book.held.save(book.record)
    book.world.fail(verb="update", resource="secrets")
    with pytest.raises(Unavailable):
        await book.held.save(replace(book.record, orphaned_at=7.0))
    assert book.held.get(book.record.uid) == book.record == await book.read()


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_leaves_the_old_or_the_new_record(after: bool) -> None:
    book = Book()
    await book.held.save(book.record)
    later = replace(book.record, orphaned_at=7.0)
    book.world.crash("update", "secrets", after=after)
    with pytest.raises(Crash):
        await book.held.save(later)
    assert await book.read() == (later if after else book.record)


async def test_a_lost_deletion_is_tried_again() -> None:
    book = Book()
    await book.held.save(book.record)
    book.world.lose_answer("delete", "secrets")
    with pytest.raises(Unavailable):
        await book.held.delete(book.record.uid)
    assert book.held.get(book.record.uid) is not None
    await book.held.delete(book.record.uid)
    assert book.held.get(book.record.uid) is None
    assert await book.read() is None


async def test_a_list_that_fails_leaves_what_was_known() -> None:
    book = Book()
    await book.held.save(book.record)
    book.world.put(
        {
            "kind": "Secret",
            "metadata": {"name": "odd", "namespace": SYSTEM, "labels": {records.LABEL: "lease"}},
            "data": {},
        }
    )
    with pytest.raises(Misconfigured, match=f"Secret {SYSTEM}/odd"):
        await book.held.load()
    assert book.held.get(book.record.uid) == book.record
