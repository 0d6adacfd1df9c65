import heapq
from dataclasses import replace

import pytest

from leasehold.api import parse
from leasehold.api.parse import Invalid
from leasehold.domain.errors import Conflict, Denied, Unavailable
from leasehold.domain.facts import Key, Workload, WorkloadRef
from leasehold.domain.reasons import EventReason
from leasehold.domain.restarts import RESTARTED_AT, annotation_name
from leasehold.domain.values import SecretBytes, fingerprint_each
from leasehold.flows import rollout
from leasehold.flows.house import House

START = 1_700_000_000.0
DB, API = annotation_name("db"), annotation_name("api")
WEB = WorkloadRef("Deployment", "shop", "web")
STARTED, COMPLETE, FAILED = EventReason.ROLLOUT_STARTED, EventReason.ROLLOUT_COMPLETE, EventReason.ROLLOUT_FAILED


class World:
    """A namespace with ExternalSecrets and workloads, a clock that only runs when told, and the agenda."""

    def __init__(self):
        self.time = START
        self.secrets = {}
        self.broken = []
        self.workloads = {}
        self.calls = []
        self.patches = []
        self.failures = []
        self.events = []
        self.ended = []
        self.agenda = []
        self.statuses = 0
        self.house = self.start()

    def start(self):
        """Return the house of a new process: it knows nothing but what the cluster holds."""
        self.agenda.clear()
        self.house = House(
            view=self,
            secrets=None,
            objects=None,
            workloads=self,
            records=None,
            events=self,
            registry=None,
            signals=self,
            clock=self,
            fingerprint_key=SecretBytes("fingerprint key"),
            wake=self.wake,
            note_status=None,
            note_target=None,
        )
        return self.house

    # what the world is made of

    def add_secret(self, name, value="1", **wanted):
        spec = {"dataFrom": [{"extract": {"key": "x"}}], "rollout": wanted}
        meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
        self.secrets[name] = parse.external_secret({"metadata": meta, "spec": spec})
        self.publish(name, value)

    def edit(self, name, **wanted):
        raw = self.secrets[name].to_wire()
        raw["spec"]["rollout"] = wanted
        self.secrets[name] = parse.external_secret(raw)

    def add_workload(self, *secrets, ref=WEB, **more):
        refs = [{"name": s, "valueFrom": {"secretKeyRef": {"name": s, "key": "password"}}} for s in secrets]
        self.workloads[ref] = Workload(
            ref=ref,
            uid=f"uid-{ref.name}",
            resource_version="1",
            generation=1,
            pod_spec={"containers": [{"env": refs}]},
            pod_annotations={},
            status={"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
            **more,
        )

    def publish(self, name, value):
        keys = fingerprint_each(self.house.fingerprint_key, {"password": SecretBytes(value)})
        self.note(name, rollout.published(self.house, self.secrets[name], keys))
        self.wake(Key("ExternalSecret", "shop", name), 0.0)

    def note(self, name, status):
        raw = self.secrets[name].to_wire()
        if raw.get("status", {}).get("rollout") != status:
            raw.setdefault("status", {})["rollout"] = status
            self.secrets[name] = parse.external_secret(raw)
            self.statuses += 1

    def roll_out(self):
        """Let the controllers replace all pods."""
        for ref, each in self.workloads.items():
            status = {**each.status, "observedGeneration": each.generation}
            if each.spec.get("paused") and each.generation > 1:
                status["updatedReplicas"] = 0
            self.workloads[ref] = replace(each, status=status)

    async def run(self, seconds, *, pods=True):
        """Run everything that is due within the time, as the runner would."""
        end = self.time + seconds
        while self.agenda and self.agenda[0][0] <= end:
            due, key = heapq.heappop(self.agenda)
            self.time = max(self.time, due)
            if pods:
                self.roll_out()
            if key.kind == "ExternalSecret":
                progress = await rollout.follow(self.house, self.secrets[key.name])
                self.note(key.name, dict(progress.status))
                again = progress.again
            else:
                again = await rollout.restart(self.house, key)
            if again is not None:
                assert again > self.time, "a loop without a rest"
                self.wake(key, again - self.time)
        self.time = end

    def state(self, name):
        return self.secrets[name].status.rollout.state

    def entry(self, name):
        return self.secrets[name].status.rollout.workloads[0]

    def reasons(self):
        return [reason for _, reason, _ in self.events]

    # the ports

    def wake(self, key, seconds):
        earlier = [due for due, known in self.agenda if known == key]
        self.agenda = [each for each in self.agenda if each[1] != key]
        self.agenda.append((min([*earlier, self.time + seconds]), key))
        heapq.heapify(self.agenda)

    def now(self):
        return self.time

    def external_secrets(self, namespace):
        return [Key("ExternalSecret", namespace, name) for name in [*self.secrets, *self.broken]]

    def external_secret(self, key):
        if key.name in self.broken:
            raise Invalid("ExternalSecret", key.name, "spec", "is nonsense")
        return self.secrets[key.name]

    def emit(self, key, *, uid, reason, message, warning=False):
        assert warning == (reason is FAILED)
        assert uid == f"uid-{key.name}"
        self.events.append((key.name, reason, message))

    def rollout_ended(self, result):
        self.ended.append(result)

    async def list(self, namespace):
        self.answer("list")
        return list(self.workloads.values())

    async def get(self, ref):
        self.answer("get")
        return self.workloads.get(ref)

    async def annotate(self, workload, annotations):
        self.answer("patch")
        held = self.workloads[workload.ref]
        assert held.resource_version == workload.resource_version
        self.patches.append((workload.ref.name, round(self.time - START, 3), dict(annotations)))
        self.workloads[workload.ref] = replace(
            held,
            resource_version=str(int(held.resource_version) + 1),
            generation=held.generation + 1,
            pod_annotations={**held.pod_annotations, **annotations},
        )

    def answer(self, call):
        self.calls.append(call)
        if self.failures and self.failures[0][0] == call:
            raise self.failures.pop(0)[1]


@pytest.fixture
def world():
    return World()


async def test_a_changed_secret_restarts_its_consumer_once(world):
    world.add_secret("db")
    world.add_workload("db")
    await world.run(60)
    assert world.calls == [], "a first publication asks for nothing"

    world.publish("db", "2")
    await world.run(60)
    assert [(name, at) for name, at, _ in world.patches] == [("web", 62.0)]
    assert set(world.patches[0][2]) == {DB, RESTARTED_AT}
    assert world.state("db") == "Complete"
    assert world.events == [
        ("db", STARTED, "Deployment shop/web restarts: password of Secret db changed"),
        ("db", COMPLETE, "Deployment web run with the present password of Secret db"),
    ]
    assert world.ended == ["complete"]
    assert world.agenda == []


@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0])
async def test_two_secrets_within_a_second_are_one_restart(world, apart):
    world.add_secret("db")
    world.add_secret("api")
    world.add_workload("db", "api")
    world.publish("db", "2")
    await world.run(apart)
    world.publish("api", "2")
    await world.run(60)
    assert len(world.patches) == 1
    assert set(world.patches[0][2]) == {DB, API, RESTARTED_AT}
    assert (world.state("db"), world.state("api")) == ("Complete", "Complete")
    assert sorted(world.reasons()) == [COMPLETE, COMPLETE, STARTED, STARTED]


async def test_who_does_not_take_the_key_is_left_alone(world):
    world.add_secret("db")
    world.add_workload("other")
    world.publish("db", "2")
    await world.run(60)
    assert (world.patches, world.events, world.state("db")) == ([], [], "Complete")


async def test_a_new_process_goes_on_where_the_old_one_died(world):
    world.add_secret("db")
    world.add_workload("db")
    world.publish("db", "2")
    await world.run(1)
    world.start()
    world.wake(Key("ExternalSecret", "shop", "db"), 0.0)
    await world.run(10, pods=False)
    assert (len(world.patches), world.state("db")) == (1, "Progressing")
    world.start()
    world.wake(Key("ExternalSecret", "shop", "db"), 0.0)
    await world.run(30)
    assert (len(world.patches), world.state("db")) == (1, "Complete")


async def test_a_new_value_while_pods_are_replaced_restarts_again(world):
    world.add_secret("db")
    world.add_workload("db")
    world.publish("db", "2")
    await world.run(10, pods=False)
    world.publish("db", "3")
    await world.run(60)
    assert len(world.patches) == 2
    assert len({annotations[DB] for _, _, annotations in world.patches}) == 2
    assert world.reasons().count(COMPLETE) == 1


async def test_min_interval_makes_one_of_many(world):
    world.add_secret("db", minInterval="10m")
    world.add_secret("api", minInterval="10m")
    world.add_workload("db", "api")
    for value in "23456":
        world.publish("db", value)
        await world.run(30)
        world.publish("api", value)
        await world.run(30)
    await world.run(900)
    assert [at for _, at, _ in world.patches] == [2.0, 602.0]
    assert (world.state("db"), world.state("api")) == ("Complete", "Complete")


async def test_a_patch_that_fails_is_tried_until_it_is_through(world):
    world.add_secret("db")
    world.add_workload("db")
    world.failures = [("patch", Unavailable("the API server cannot be reached"))] * 5
    world.publish("db", "2")
    await world.run(20)
    assert world.state("db") == "Pending"
    assert world.entry("db").message == "restart failed, tried again: the API server cannot be reached"
    await world.run(300)
    assert (len(world.patches), world.state("db"), world.reasons()) == (1, "Complete", [STARTED, COMPLETE])
    assert world.house.refusals == {}


async def test_a_patch_that_is_forbidden_is_tried_slowly_and_said_once(world):
    world.add_secret("db", deadline="2m")
    world.add_workload("db")
    world.failures = [("patch", Denied("patch of deployments.apps is forbidden", remedy="grant it"))] * 1000
    world.publish("db", "2")
    before = world.statuses
    await world.run(600)
    assert world.calls.count("patch") == 10
    assert world.statuses - before <= 4
    assert (world.state("db"), world.reasons()) == ("Failed", [FAILED])
    assert "patch of deployments.apps is forbidden; grant it" in world.events[0][2]
    world.failures = []
    await world.run(120)
    assert (world.state("db"), world.reasons()) == ("Complete", [FAILED, STARTED, COMPLETE])


async def test_a_workload_that_moved_is_looked_at_again_at_once(world):
    world.add_secret("db")
    world.add_workload("db")
    world.failures = [("patch", Conflict("the Deployment has moved"))]
    world.publish("db", "2")
    await world.run(5)
    assert [at for _, at, _ in world.patches] == [2.2]
    assert all(entry.message != "the Deployment has moved" for entry in world.secrets["db"].status.rollout.workloads)


async def test_retry_after_is_honoured(world):
    world.add_secret("db")
    world.add_workload("db")
    world.failures = [("get", Unavailable("throttled", retry_after=40.0))]
    world.publish("db", "2")
    await world.run(41)
    assert (world.calls.count("get"), world.patches) == (1, [])
    await world.run(2)
    assert [at for _, at, _ in world.patches] == [42.0]


async def test_workloads_that_may_not_be_listed_are_said_and_the_secret_is_no_worse_for_it(world):
    world.add_secret("db")
    world.add_workload("db")
    world.failures = [("list", Denied("list of deployments.apps is forbidden", remedy="grant it"))] * 3
    world.publish("db", "2")
    await world.run(100)
    assert world.secrets["db"].status.rollout.message == "list of deployments.apps is forbidden; grant it"
    assert world.state("db") == "Pending"
    await world.run(300)
    assert (world.state("db"), world.secrets["db"].status.rollout.message) == ("Complete", None)


async def test_an_outage_is_waited_out_without_a_word(world):
    world.add_secret("db")
    world.add_workload("db")
    world.publish("db", "2")
    world.failures = [("list", Unavailable("the API server cannot be reached"))] * 3
    before = world.statuses
    await world.run(14)
    assert world.statuses == before
    await world.run(60)
    assert world.state("db") == "Complete"


async def test_a_bad_duration_is_said_in_the_rollout(world):
    world.add_secret("db")
    world.add_workload("db")
    world.publish("db", "2")
    world.edit("db", minInterval="soon")
    await world.run(30)
    assert "spec.rollout.minInterval" in world.secrets["db"].status.rollout.message
    assert world.patches == []


async def test_what_cannot_be_read_does_not_keep_others_from_a_restart(world):
    world.add_secret("db")
    world.add_secret("api")
    world.add_workload("db", "api")
    world.publish("db", "2")
    world.publish("api", "2")
    world.edit("api", deadline="soon")
    world.broken.append("broken")
    await world.run(30)
    assert [set(annotations) for _, _, annotations in world.patches] == [{DB, RESTARTED_AT}]


async def test_never_ends_what_is_under_way(world):
    world.add_secret("db")
    world.add_workload("db")
    world.publish("db", "2")
    await world.run(1)
    world.edit("db", policy="Never")
    await world.run(60)
    assert (world.state("db"), world.patches, world.agenda) == ("Disabled", [], [])


async def test_nobody_asks_so_nothing_is_read(world):
    world.add_secret("db")
    world.add_workload("db")
    assert await rollout.restart(world.house, Key("Workload/Deployment", "shop", "web")) is None
    assert (await rollout.follow(world.house, world.secrets["db"])).again is None
    assert world.calls == []


async def test_a_workload_that_is_gone_is_nothing(world):
    world.add_secret("db")
    world.add_workload("db")
    world.publish("db", "2")
    await world.run(1)
    world.workloads.clear()
    await world.run(60)
    assert (world.patches, world.state("db"), world.reasons()) == ([], "Complete", [])


async def test_without_a_rollout_nothing_is_published(world):
    world.add_secret("db")
    raw = world.secrets["db"].to_wire()
    del raw["spec"]["rollout"]
    assert rollout.published(world.house, parse.external_secret(raw), {"a": "1"}) is None


async def test_paused_is_patched_once_and_reported(world):
    world.add_secret("db", deadline="1m")
    world.add_workload("db", spec={"paused": True})
    world.publish("db", "2")
    await world.run(600)
    assert (len(world.patches), world.state("db")) == (1, "Pending")
    assert "resume it to finish" in world.entry("db").message
    assert world.workloads[WEB].spec == {"paused": True}
