"""What writing status, restarting workloads, telling events and making the fingerprint key does, on any cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from leasehold.cluster import keys
from leasehold.cluster.events import KubeEvents
from leasehold.cluster.objects import KubeObjects
from leasehold.cluster.secrets import decode
from leasehold.cluster.workloads import MANAGER, KubeWorkloads
from leasehold.domain.errors import Conflict, Denied, Misconfigured, Missing
from leasehold.domain.facts import Key, Workload, WorkloadRef
from leasehold.domain.reasons import EventReason
from tests.contracts.canary import assert_clean
from tests.contracts.cluster import ClusterBench, external_secret, managers, secret, workload


def condition(kind: str) -> dict[str, str]:
    """Return a condition."""
    at = {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"type": kind, "status": "True", "reason": "SecretSynced", "message": "secret synced", **at}


class StatusContract:
    """Subclasses give a fixture ``bench``."""

    async def test_a_status_is_merged_and_nothing_else_is(self, bench: ClusterBench) -> None:
        before = bench.put(external_secret())
        key = Key("ExternalSecret", bench.namespace, "db")
        objects = KubeObjects(bench.api)
        await objects.patch_status(key, {"refreshTime": "2026-01-01T00:00:00Z", "syncedResourceVersion": "1-a"})
        await objects.patch_status(key, {"refreshTime": None, "binding": {"name": "db"}})
        after = bench.find("ExternalSecret", "db")
        assert after is not None
        assert after["status"] == {"syncedResourceVersion": "1-a", "binding": {"name": "db"}}
        assert after["spec"] == before["spec"]
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        assert ("leasehold", "Update", "status") in managers(after)

    async def test_conditions_are_replaced_as_a_whole(self, bench: ClusterBench) -> None:
        bench.put(external_secret())
        key, objects = Key("ExternalSecret", bench.namespace, "db"), KubeObjects(bench.api)
        await objects.patch_status(key, {"conditions": [condition("Ready"), condition("Deleted")]})
        await objects.patch_status(key, {"conditions": [condition("Ready")]})
        before = bench.find("ExternalSecret", "db")
        assert before is not None
        assert before["status"]["conditions"] == [condition("Ready")]
        await objects.patch_status(key, {"conditions": [condition("Ready")]})
        assert bench.find("ExternalSecret", "db") == before

    async def test_what_is_gone_needs_no_status(self, bench: ClusterBench) -> None:
        await KubeObjects(bench.api).patch_status(Key("ExternalSecret", bench.namespace, "gone"), {"refreshTime": None})

    async def test_a_refusal_names_the_subresource(self, bench: ClusterBench) -> None:
        bench.put(external_secret())
        with pytest.raises(Denied, match=f"patch externalsecrets/status .*{bench.namespace}/db"):
            await KubeObjects(bench.stranger).patch_status(Key("ExternalSecret", bench.namespace, "db"), {})


class WorkloadsContract:
    """Subclasses give a fixture ``bench``."""

    @pytest.fixture
    def workloads(self, bench: ClusterBench) -> KubeWorkloads:
        return KubeWorkloads(bench.api)

    async def test_all_three_kinds_are_listed(self, bench: ClusterBench, workloads: KubeWorkloads) -> None:
        assert list(await workloads.list(bench.namespace)) == []
        for kind in ("Deployment", "StatefulSet", "DaemonSet"):
            bench.put(workload(kind, kind.lower(), note="kept"))
        found = {one.ref.kind: one for one in await workloads.list(bench.namespace)}
        assert set(found) == {"Deployment", "StatefulSet", "DaemonSet"}
        one = found["Deployment"]
        assert one.ref == WorkloadRef("Deployment", bench.namespace, "deployment")
        assert one.pod_spec["containers"][0]["name"] == "app"
        assert one.pod_annotations == {"note": "kept"}
        assert one.spec["replicas"] == 0
        assert "template" not in one.spec
        assert one.generation == 1
        assert one.created_at > 1_600_000_000
        assert one == replace(
            await self.get(workloads, one.ref), status=one.status, resource_version=one.resource_version
        )

    async def get(self, workloads: KubeWorkloads, ref: WorkloadRef) -> Workload:
        found = await workloads.get(ref)
        assert found is not None
        return found

    async def annotate(self, workloads: KubeWorkloads, ref: WorkloadRef, annotations: Mapping[str, str]) -> Workload:
        """Annotate as the flow does, which looks again after a conflict: controllers write the status meanwhile."""
        for _ in range(20):
            with contextlib.suppress(Conflict):
                await workloads.annotate(await self.get(workloads, ref), annotations)
                return await self.get(workloads, ref)
        pytest.fail("conflicts without end")

    async def test_what_is_not_there_is_none(self, bench: ClusterBench, workloads: KubeWorkloads) -> None:
        assert await workloads.get(WorkloadRef("Deployment", bench.namespace, "gone")) is None

    async def test_ours_are_all_ours_and_others_stay(self, bench: ClusterBench, workloads: KubeWorkloads) -> None:
        bench.put(workload("StatefulSet", "app", note="theirs"))
        ref = WorkloadRef("StatefulSet", bench.namespace, "app")
        first = await self.annotate(workloads, ref, {"leasehold.dev/a": "1", "leasehold.dev/b": "1"})
        assert first.pod_annotations == {"note": "theirs", "leasehold.dev/a": "1", "leasehold.dev/b": "1"}
        second = await self.annotate(workloads, ref, {"leasehold.dev/a": "2"})
        assert second.pod_annotations == {"note": "theirs", "leasehold.dev/a": "2"}
        assert second.generation == first.generation + 1
        body = bench.find("StatefulSet", "app")
        assert body is not None
        owned = managers(body)[MANAGER, "Apply", ""]["f:spec"]["f:template"]["f:metadata"]["f:annotations"]
        assert set(owned) == {"f:leasehold.dev/a"}

    async def test_the_same_again_restarts_nothing(self, bench: ClusterBench, workloads: KubeWorkloads) -> None:
        bench.put(workload("DaemonSet", "app"))
        ref = WorkloadRef("DaemonSet", bench.namespace, "app")
        first = await self.annotate(workloads, ref, {"leasehold.dev/a": "1"})
        again = await self.annotate(workloads, ref, {"leasehold.dev/a": "1"})
        assert again.generation == first.generation

    async def test_a_workload_that_moved_is_looked_at_again(
        self, bench: ClusterBench, workloads: KubeWorkloads
    ) -> None:
        bench.put(workload("StatefulSet", "app"))
        seen = await self.get(workloads, WorkloadRef("StatefulSet", bench.namespace, "app"))
        bench.edit("StatefulSet", "app", lambda body: body["metadata"].setdefault("labels", {}).update(moved="yes"))
        with pytest.raises(Conflict):
            await workloads.annotate(seen, {"leasehold.dev/a": "1"})

    async def test_a_workload_that_is_gone_is_not_made_again(
        self, bench: ClusterBench, workloads: KubeWorkloads
    ) -> None:
        bench.put(workload("DaemonSet", "app"))
        seen = await self.get(workloads, WorkloadRef("DaemonSet", bench.namespace, "app"))
        bench.remove("DaemonSet", "app")
        with pytest.raises((Conflict, Missing)):
            await workloads.annotate(seen, {"leasehold.dev/a": "1"})
        assert bench.find("DaemonSet", "app") is None

    async def test_refusals_name_the_kind(self, bench: ClusterBench) -> None:
        with pytest.raises(Denied, match="may not list"):
            await KubeWorkloads(bench.stranger).list(bench.namespace)


class EventsContract:
    """Subclasses give a fixture ``bench``."""

    async def test_an_event_tells_of_its_object(self, bench: ClusterBench) -> None:
        body = bench.put(external_secret())
        events = KubeEvents(bench.api, bench.clock, dropped=_never)
        key = Key("ExternalSecret", bench.namespace, "db")
        events.emit(key, uid=body["metadata"]["uid"], reason=EventReason.UPDATE_FAILED, message="no", warning=True)
        await events.flush()
        (told,) = bench.every("Event")
        assert (told["type"], told["reason"], told["message"], told["count"]) == ("Warning", "UpdateFailed", "no", 1)
        assert told["involvedObject"] == {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "namespace": bench.namespace,
            "name": "db",
            "uid": body["metadata"]["uid"],
        }

    async def test_what_comes_again_is_counted(self, bench: ClusterBench) -> None:
        events = KubeEvents(bench.api, bench.clock, dropped=_never)
        key = Key("ExternalSecret", bench.namespace, "db")
        for message in ("no", "no", "yes", "no"):
            events.emit(key, uid="u", reason=EventReason.UPDATED, message=message)
        await events.flush()
        assert {told["message"]: told["count"] for told in bench.every("Event")} == {"no": 3, "yes": 1}

    async def test_an_event_that_has_aged_away_is_told_anew(self, bench: ClusterBench) -> None:
        events = KubeEvents(bench.api, bench.clock, dropped=_never)
        key = Key("ExternalSecret", bench.namespace, "db")
        events.emit(key, uid="u", reason=EventReason.UPDATED, message="no")
        await events.flush()
        bench.remove("Event", bench.every("Event")[0]["metadata"]["name"])
        events.emit(key, uid="u", reason=EventReason.UPDATED, message="no")
        await events.flush()
        assert [told["count"] for told in bench.every("Event")] == [1]

    async def test_long_names_and_messages_fit(self, bench: ClusterBench) -> None:
        events = KubeEvents(bench.api, bench.clock, dropped=_never)
        key = Key("ExternalSecret", bench.namespace, "a" * 229 + "-" + "b" * 23)
        events.emit(key, uid="u", reason=EventReason.UPDATED, message="m" * 5000)
        await events.flush()
        assert [len(told["message"]) for told in bench.every("Event")] == [1024]

    async def test_an_event_that_is_refused_is_counted_and_forgotten(self, bench: ClusterBench) -> None:
        dropped: list[None] = []
        events = KubeEvents(bench.stranger, bench.clock, dropped=lambda: dropped.append(None))
        key = Key("ExternalSecret", bench.namespace, "db")
        events.emit(key, uid="u", reason=EventReason.UPDATED, message="no")
        await events.flush()
        assert len(dropped) == 1

    async def test_routine_is_bounded_and_does_not_crowd_out_the_rest(self, bench: ClusterBench) -> None:
        dropped: list[None] = []
        events = KubeEvents(bench.api, bench.clock, dropped=lambda: dropped.append(None))
        for number in range(100):
            key = Key("ExternalSecret", bench.namespace, f"db-{number}")
            events.emit(key, uid="u", reason=EventReason.CREATED, message="made")
        assert dropped
        told = len(dropped)
        events.emit(key, uid="u", reason=EventReason.REPAIRED, message="put right")
        await events.flush()
        assert len(dropped) == told
        assert "Repaired" in [event["reason"] for event in bench.every("Event")]


def _never() -> None:
    pytest.fail("an event was dropped")


class KeysContract:
    """Subclasses give a fixture ``bench``."""

    async def test_the_key_is_made_once(self, bench: ClusterBench) -> None:
        first = await keys.fingerprint_key(bench.api, bench.namespace)
        assert first.size == keys.LENGTH
        assert await keys.fingerprint_key(bench.api, bench.namespace) == first
        body = bench.find("Secret", keys.NAME)
        assert body is not None
        assert decode(body["data"]) == {keys.FIELD: first}

    async def test_two_that_start_at_once_get_the_same(self, bench: ClusterBench) -> None:
        made = await asyncio.gather(*(keys.fingerprint_key(bench.api, bench.namespace) for _ in range(5)))
        assert all(key == made[0] for key in made)

    async def test_a_spoilt_key_is_not_replaced_in_silence(self, bench: ClusterBench) -> None:
        bench.put(secret(keys.NAME, {}, **{keys.FIELD: "Y2FuYXJ5"}))
        with pytest.raises(Misconfigured, match=keys.NAME) as caught:
            await keys.fingerprint_key(bench.api, bench.namespace)
        assert caught.value.remedy
        assert_clean(caught.value)

    async def test_a_refusal_is_told(self, bench: ClusterBench) -> None:
        with pytest.raises(Denied, match="get secrets"):
            await keys.fingerprint_key(bench.stranger, bench.namespace)
