"""What keeping lease records does, on any cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leasehold.cluster.records import ANNOTATION, FIELD, LABEL, TYPE, KubeRecords, name
from leasehold.domain.errors import Denied
from leasehold.domain.lease import Intent, LeaseRecord, OldLease
from leasehold.domain.values import SecretBytes
from tests.contracts.canary import assert_clean
from tests.contracts.cluster import ClusterBench
from tests.worlds import objects as made


def rich_record() -> LeaseRecord:
    """Return a record that uses every field."""
    old = OldLease(made.lease("canary-old", connection={"server": "http://old", "headers": {"a": "b"}}), 1.5, 2.5)
    full = made.source(
        made.lease("canary-now", max_expires_at=9.5, kept=False, values={"raw": SecretBytes(b"\x00\xffcanary")}),
        old=(old, replace(old, until=None)),
        intent=Intent(SecretBytes("canary-owner"), 3.5, 60.0),
        lost=True,
        life=7200.0,
    )
    return made.record({"dataFrom[0]": full, "data[1]": made.source()}, on_delete="Keep", orphaned_at=4.5)


class RecordsContract:
    """Subclasses give a fixture ``bench``."""

    async def loaded(self, bench: ClusterBench) -> KubeRecords:
        records = KubeRecords(bench.api, bench.namespace)
        await records.load()
        return records

    async def test_the_next_life_knows_everything(self, bench: ClusterBench) -> None:
        record = rich_record()
        records = await self.loaded(bench)
        await records.save(record)
        assert records.get(record.uid) == record
        again = await self.loaded(bench)
        assert list(again.all()) == [record]
        assert_clean(again.get(record.uid))

    async def test_the_secret_says_what_it_is(self, bench: ClusterBench) -> None:
        record = rich_record()
        await (await self.loaded(bench)).save(record)
        body = bench.find("Secret", name(record.uid))
        assert body is not None
        assert body["type"] == TYPE
        assert body["metadata"]["labels"][LABEL] == "lease"
        assert body["metadata"]["annotations"] == {ANNOTATION: "shop/db"}
        assert_clean(body["metadata"])
        assert set(body["data"]) == {FIELD}

    async def test_a_record_is_changed_in_place(self, bench: ClusterBench) -> None:
        record = rich_record()
        records = await self.loaded(bench)
        await records.save(record)
        for at in (5.0, 6.0):
            await records.save(replace(record, orphaned_at=at))
        assert len(bench.every("Secret")) == 1
        assert list((await self.loaded(bench)).all()) == [replace(record, orphaned_at=6.0)]

    async def test_a_note_is_kept_in_memory_alone(self, bench: ClusterBench) -> None:
        record = rich_record()
        records = await self.loaded(bench)
        await records.save(record)
        records.note(replace(record, orphaned_at=None))
        assert records.get(record.uid) == replace(record, orphaned_at=None)
        assert list((await self.loaded(bench)).all()) == [record]

    async def test_a_record_that_was_written_unknown_to_us_is_replaced(self, bench: ClusterBench) -> None:
        record = rich_record()
        ours, lost = await self.loaded(bench), await self.loaded(bench)
        await lost.save(record)
        await ours.save(replace(record, on_delete="Expire"))
        assert list((await self.loaded(bench)).all()) == [replace(record, on_delete="Expire")]

    async def test_a_record_that_somebody_deleted_is_written_again(self, bench: ClusterBench) -> None:
        record = rich_record()
        records = await self.loaded(bench)
        await records.save(record)
        bench.remove("Secret", name(record.uid))
        await records.save(record)
        assert list((await self.loaded(bench)).all()) == [record]

    async def test_the_end_of_a_record(self, bench: ClusterBench) -> None:
        record = rich_record()
        records = await self.loaded(bench)
        await records.save(record)
        await records.delete(record.uid)
        assert records.get(record.uid) is None
        assert bench.every("Secret") == []
        await records.delete(record.uid)
        await records.save(record)
        assert list((await self.loaded(bench)).all()) == [record]

    async def test_a_refused_write_is_not_taken_for_done(self, bench: ClusterBench) -> None:
        records = KubeRecords(bench.stranger, bench.namespace)
        with pytest.raises(Denied, match="create secrets") as caught:
            await records.save(rich_record())
        assert_clean(caught.value)
        assert records.get(rich_record().uid) is None
