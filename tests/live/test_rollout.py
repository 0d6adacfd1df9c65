"""Rollouts on a real API server with its real controllers: who restarts, how often, and when it is over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from leasehold.api import parse
from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.status import RolloutStatus
from leasehold.cluster.access import from_kubeconfig
from leasehold.cluster.api import KubeApi
from leasehold.cluster.workloads import MANAGER, KubeWorkloads
from leasehold.domain.facts import Key
from leasehold.domain.restarts import RESTARTED_AT, annotation_name
from leasehold.domain.values import SecretBytes, fingerprint_each
from leasehold.flows import rollout
from leasehold.flows.house import House
from leasehold.schedule.agenda import Agenda
from leasehold.schedule.clock import SystemClock
from leasehold.schedule.runner import Runner
from testbed.controlplane import ControlPlane
from testbed.pods import Kwok

DB, API = annotation_name("db"), annotation_name("api")


class Desk:
    """The part of the operator that rolls out: real agenda, runner and client; ExternalSecrets in memory."""

    def __init__(self, api: KubeApi, clock: SystemClock, namespace: str) -> None:
        self.namespace, self.clock = namespace, clock
        self.secrets: dict[str, ExternalSecret] = {}
        self.events: list[tuple[str, str]] = []
        self.agenda = Agenda(clock)
        self.runner = Runner(self.agenda, self.look, workers=4, clock=clock)
        self.moved = asyncio.Event()
        self.house = House(
            view=self,
            secrets=None,
            objects=None,
            workloads=KubeWorkloads(api),
            records=None,
            events=self,
            registry=None,
            signals=self,
            clock=clock,
            fingerprint_key=SecretBytes("fingerprint key"),
            wake=lambda key, seconds: self.agenda.at(key, clock.now() + seconds),
            note_status=None,
            note_target=None,
        )

    async def look(self, key: Key) -> float | None:
        if key.kind != "ExternalSecret":
            return await rollout.restart(self.house, key)
        progress = await rollout.follow(self.house, self.secrets[key.name])
        self.note(key.name, dict(progress.status))
        return progress.again

    def note(self, name: str, status: dict[str, Any] | None) -> None:
        raw = self.secrets[name].to_wire()
        raw.setdefault("status", {})["rollout"] = status
        self.secrets[name] = parse.external_secret(raw)
        self.moved.set()

    def publish(self, name: str, value: str, **wanted: object) -> None:
        if name not in self.secrets:
            spec = {"dataFrom": [{"extract": {"key": "x"}}], "rollout": wanted}
            meta = {"name": name, "namespace": self.namespace, "uid": f"uid-{name}"}
            self.secrets[name] = parse.external_secret({"metadata": meta, "spec": spec})
        keys = fingerprint_each(self.house.fingerprint_key, {"password": SecretBytes(value)})
        self.note(name, rollout.published(self.house, self.secrets[name], keys))
        self.wake(name)

    def wake(self, name: str) -> None:
        self.agenda.wake(Key("ExternalSecret", self.namespace, name))

    def status(self, name: str) -> RolloutStatus:
        status = self.secrets[name].status.rollout
        assert status is not None
        return status

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; asked again whenever a status was noted."""
        async with asyncio.timeout(60):
            while not holds():
                self.moved.clear()
                await self.moved.wait()

    # View, Events, Signals

    def external_secrets(self, namespace: str) -> list[Key]:
        return [Key("ExternalSecret", namespace, name) for name in self.secrets]

    def external_secret(self, key: Key) -> ExternalSecret:
        return self.secrets[key.name]

    def emit(self, key: Key, *, uid: str, reason: str, message: str, warning: bool = False) -> None:
        self.events.append((key.name, str(reason)))

    def rollout_ended(self, result: str) -> None:
        pass


@asynccontextmanager
async def desk(plane: ControlPlane, namespace: str) -> AsyncIterator[Desk]:
    clock = SystemClock()
    api = KubeApi(from_kubeconfig(plane.kubeconfig(), clock.monotonic), clock)
    try:
        made = Desk(api, clock, namespace)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.runner.run())
            yield made
            await made.runner.drain(5.0)
            running.cancel()
    finally:
        await api.close()


ENV = {
    "env": [{"name": "DB", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
    "envFrom": [{"secretRef": {"name": "api"}}],
}
FILES = {"volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("db", "api")]}
VOLUMES = [{"name": name, "secret": {"secretName": name}} for name in ("db", "api")]


def workload(kind: str, name: str, container: dict[str, Any], marks: dict[str, str] | None = None, **spec: Any) -> Any:
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "none", **container}], "volumes": VOLUMES}
    replicas = {} if kind == "DaemonSet" else {"replicas": 2}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            **replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": marks or {}}, "spec": pod},
            **({"serviceName": name} if kind == "StatefulSet" else {}),
            **spec,
        },
    }


class Cluster:
    """What is asked of the real one."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.kubectl, self.namespace = plane.kubectl, namespace

    def apply(self, *documents: Any) -> None:
        self.kubectl.apply(*documents, namespace=self.namespace)
        for document in documents:
            if not document["spec"].get("paused"):
                name = f"{document['kind'].lower()}/{document['metadata']['name']}"
                self.run("rollout", "status", name, "--timeout=60s")

    def run(self, *arguments: str) -> str:
        return self.kubectl.run(*arguments, "-n", self.namespace)

    def get(self, kind: str, name: str) -> Any:
        return self.kubectl.get(kind, name, "-n", self.namespace)

    def pods(self, name: str) -> list[Any]:
        return self.kubectl.get("pods", "-l", f"app={name}", "-n", self.namespace)["items"]

    def generations(self, *workloads: tuple[str, str]) -> dict[tuple[str, str], int]:
        return {each: self.get(*each)["metadata"]["generation"] for each in workloads}


def annotations(document: Any) -> dict[str, str]:
    found: dict[str, str] = document["spec"]["template"]["metadata"].get("annotations", {})
    return found


async def test_two_secrets_within_a_second_restart_their_consumers_once(
    control_plane: ControlPlane, pods: Kwok, namespace: str
) -> None:
    cluster = Cluster(control_plane, namespace)
    restarted = [("Deployment", "web"), ("StatefulSet", "queue"), ("DaemonSet", "agent")]
    cluster.apply(
        *(workload(kind, name, ENV, marks={"example.org/theirs": "1"}) for kind, name in restarted),
        workload("Deployment", "files", FILES),
    )
    before = cluster.generations(*restarted, ("Deployment", "files"))

    async with desk(control_plane, namespace) as made:
        for name in ("db", "api"):
            made.publish(name, "1")
        made.publish("db", "2")
        await made.until(lambda: len(made.status("db").workloads) == 3)
        made.publish("api", "2")
        await made.until(lambda: all(made.status(name).state == "Complete" for name in ("db", "api")))
        events = list(made.events)

    after = cluster.generations(*before)
    assert {each: after[each] - before[each] for each in before} == {
        ("Deployment", "web"): 1,
        ("StatefulSet", "queue"): 1,
        ("DaemonSet", "agent"): 1,
        ("Deployment", "files"): 0,
    }
    for kind, name in restarted:
        document = cluster.get(kind, name)
        assert set(annotations(document)) == {"example.org/theirs", DB, API, RESTARTED_AT}
        ready = [pod for pod in cluster.pods(name) if "deletionTimestamp" not in pod["metadata"]]
        assert {pod["metadata"]["annotations"][DB] for pod in ready} == {annotations(document)[DB]}
    assert sorted(events) == sorted(
        [(name, "RolloutStarted") for name in ("db", "api") for _ in restarted]
        + [(name, "RolloutComplete") for name in ("db", "api")]
    )


async def test_our_fields_are_ours_and_a_second_rotation_keeps_the_other_annotation(
    control_plane: ControlPlane, pods: Kwok, namespace: str
) -> None:
    cluster = Cluster(control_plane, namespace)
    cluster.apply(workload("Deployment", "web", ENV))
    seen = []
    async with desk(control_plane, namespace) as made:
        made.publish("db", "1")
        made.publish("api", "1")
        for name, value in (("db", "2"), ("api", "2"), ("db", "3")):
            made.publish(name, value)
            await made.until(lambda name=name: made.status(name).state == "Complete")
            seen.append(annotations(cluster.get("Deployment", "web")))
        # the same value, looked at by a new process: nothing is patched
        generation = cluster.get("Deployment", "web")["metadata"]["generation"]
        assert await rollout.restart(made.house, Key("Workload/Deployment", namespace, "web")) is None

    document = cluster.kubectl.get("Deployment", "web", "-n", namespace, "--show-managed-fields")
    assert document["metadata"]["generation"] == generation == 4
    assert set(seen[0]) == {DB, RESTARTED_AT}
    assert set(seen[1]) == set(seen[2]) == {DB, API, RESTARTED_AT}
    assert seen[0][DB] == seen[1][DB] != seen[2][DB]
    (ours,) = [entry for entry in document["metadata"]["managedFields"] if entry["manager"] == MANAGER]
    owned = ours["fieldsV1"]["f:spec"]["f:template"]["f:metadata"]["f:annotations"]
    assert set(owned) == {f"f:{name}" for name in (DB, API, RESTARTED_AT)}
    assert set(ours["fieldsV1"]) == {"f:spec"}


async def test_pods_that_fail_are_a_failed_rollout_and_an_undo_is_not_fought(
    control_plane: ControlPlane, pods: Kwok, namespace: str
) -> None:
    cluster = Cluster(control_plane, namespace)
    cluster.apply(workload("Deployment", "web", ENV, marks={"testbed.leasehold.dev/fail-with": DB}))
    async with desk(control_plane, namespace) as made:
        made.publish("db", "1", deadline="3s")
        made.publish("db", "2")
        await made.until(lambda: made.status("db").state == "Failed")
        assert "not complete 3s after it began" in (made.status("db").workloads[0].message or "")
        assert made.events == [("db", "RolloutStarted"), ("db", "RolloutFailed")]

        cluster.run("rollout", "undo", "deployment/web")
        cluster.run("rollout", "status", "deployment/web", "--timeout=60s")
        generation = cluster.get("Deployment", "web")["metadata"]["generation"]
        made.wake("db")
        await made.until(lambda: made.status("db").state == "Complete")

    document = cluster.get("Deployment", "web")
    assert document["metadata"]["generation"] == generation
    assert DB not in annotations(document)


async def test_what_waits_for_hands_is_patched_and_pending(
    control_plane: ControlPlane, pods: Kwok, namespace: str
) -> None:
    cluster = Cluster(control_plane, namespace)
    cluster.apply(workload("Deployment", "web", ENV))
    cluster.run("rollout", "pause", "deployment/web")
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    cluster.kubectl.apply(workload("StatefulSet", "queue", ENV, **on_delete), namespace=namespace)
    cluster.run("wait", "pod", "-l", "app=queue", "--for=create", "--timeout=60s")
    cluster.run("wait", "pod/queue-0", "pod/queue-1", "--for=condition=Ready", "--timeout=60s")

    async with desk(control_plane, namespace) as made:
        made.publish("db", "1", deadline="1s")
        made.publish("db", "2")
        await made.until(lambda: sum("finish" in (each.message or "") for each in made.status("db").workloads) == 2)
        paused, waiting = made.status("db").workloads
        assert (made.status("db").state, paused.state, waiting.state) == ("Pending", "Pending", "Pending")
        assert "resume it to finish" in (paused.message or "")
        assert "delete its old pods to finish" in (waiting.message or "")
        document = cluster.get("Deployment", "web")
        assert document["spec"]["paused"] is True
        assert DB in annotations(document)

        cluster.run("rollout", "resume", "deployment/web")
        cluster.run("delete", "pod", "-l", "app=queue")
        cluster.run("rollout", "status", "deployment/web", "--timeout=60s")
        cluster.run("wait", "statefulset/queue", "--for=jsonpath={.status.updatedReplicas}=2", "--timeout=60s")
        cluster.run("wait", "statefulset/queue", "--for=jsonpath={.status.availableReplicas}=2", "--timeout=60s")
        made.wake("db")
        await made.until(lambda: made.status("db").state == "Complete")
