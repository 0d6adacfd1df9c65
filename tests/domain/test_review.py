from dataclasses import replace

import pytest

from leasehold.api import parse
from leasehold.api.rollout import RolloutPolicy
from leasehold.api.status import RolloutStatus, WorkloadStatus
from leasehold.domain import restarts, rollout
from leasehold.domain.facts import Workload, WorkloadRef
from leasehold.domain.reasons import EventReason
from leasehold.domain.restarts import RESTARTED_AT, annotation_name
from leasehold.domain.review import ENTRIES, Surroundings, review
from leasehold.domain.rollout import State, moment, rfc3339
from leasehold.domain.values import SecretBytes

KEY = SecretBytes("fingerprint key")
NOW = 1_700_000_000.0
DONE = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
MOVING = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}


def secret(**wanted):
    spec = {"dataFrom": [{"extract": {"key": "x"}}], "target": {"name": "db"}, "rollout": wanted}
    return parse.external_secret({"metadata": {"name": "es", "namespace": "shop", "uid": "u-1"}, "spec": spec})


def pending():
    first = rollout.published(None, {"p": "1"}, policy=RolloutPolicy.AUTO, keyed_by="k", now=NOW - 900)
    return rollout.published(first, {"p": "2"}, policy=RolloutPolicy.AUTO, keyed_by="k", now=NOW)


def workload(name="web", kind="Deployment", status=None, key="p", **more):
    ref = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": key}}}
    return Workload(
        ref=WorkloadRef(kind, "shop", name),
        uid="u",
        resource_version="1",
        generation=1,
        pod_spec={"containers": [{"env": [ref]}]},
        pod_annotations={},
        status=DONE if status is None else status,
        **more,
    )


def patched(each, wanted, now=NOW):
    own = rollout.demand(wanted, pending())
    found = restarts.restart(each, [own], KEY, now=now)
    return replace(each, pod_annotations=dict(found.annotations))


class Story:
    """One ExternalSecret that is looked at again and again."""

    def __init__(self, **wanted):
        self.secret = secret(**wanted)
        self.status = pending()
        self.refusals = {}

    def look(self, *workloads, after=0.0):
        own = rollout.demand(self.secret, self.status)
        around = Surroundings(demands=[own], workloads=workloads, refusals=self.refusals, key=KEY)
        found = review(own, self.status, around, now=NOW + after)
        self.status = found.status
        return found

    def patch(self, each):
        return patched(each, self.secret)

    def publish(self, value, after=0.0):
        self.status = rollout.published(
            self.status, {"p": value}, policy=RolloutPolicy.AUTO, keyed_by="k", now=NOW + after
        )


def states(found):
    return {entry.name: entry.state for entry in found.status.workloads}


def reasons(found):
    return [notice.reason for notice in found.notices]


def test_nobody_to_restart_is_complete_and_not_worth_an_event():
    found = Story().look(workload(key="other"))
    assert (found.status.state, found.status.changed, found.status.workloads) == (State.COMPLETE, (), ())
    assert found.status.completed_at == moment(NOW)
    assert (found.notices, found.due, found.restarts) == ((), None, {})


def test_from_the_wish_to_the_end():
    story, web = Story(), workload()
    asked = story.look(web)
    assert asked.restarts == {web.ref: None}
    assert (asked.status.state, states(asked)) == (State.PENDING, {"web": State.PENDING})
    assert asked.status.workloads[0].wanted is None

    web = story.patch(web)
    moving = story.look(replace(web, status=MOVING), after=3)
    assert (moving.status.state, states(moving), moving.restarts) == (
        State.PROGRESSING,
        {"web": State.PROGRESSING},
        {},
    )
    assert moving.status.workloads[0].wanted == web.pod_annotations[annotation_name("db")]
    assert moving.due == 1.0

    done = story.look(web, after=9)
    assert (done.status.state, done.status.changed, done.due) == (State.COMPLETE, (), None)
    assert (done.status.workloads[0].wanted_at, done.status.workloads[0].completed_at) == (
        moment(NOW + 3),
        moment(NOW + 9),
    )
    assert reasons(done) == [EventReason.ROLLOUT_COMPLETE]
    assert done.notices[0].message == "Deployment web run with the present p of Secret db"
    assert done.ended == ("complete",)

    again = story.look(web, after=20) if story.status.changed else None
    assert again is None, "nothing is asked any more"


def test_the_same_look_again_changes_nothing():
    story, web = Story(), workload(status=MOVING)
    story.look(web)
    before = story.status
    assert story.look(web, after=10).status is before
    web = story.patch(web)
    story.look(web, after=11)
    before = story.status
    found = story.look(web, after=40)
    assert found.status is before
    assert (found.notices, found.ended) == ((), ())


def test_looks_grow_rarer_while_pods_are_replaced():
    story = Story()
    web = story.patch(workload(status=MOVING))
    story.look(web)
    assert [story.look(web, after=after).due for after in (2, 20, 40, 500)] == [1.0, 4.0, 8.0, 15.0]


def test_late_is_failed_once_and_may_heal():
    story = Story(deadline="5m")
    web = story.patch(workload(status=MOVING))
    story.look(web)
    assert story.look(web, after=299).status.state == State.PROGRESSING
    late = story.look(web, after=300)
    assert (late.status.state, reasons(late), late.ended, late.due) == (
        State.FAILED,
        [EventReason.ROLLOUT_FAILED],
        ("failed",),
        60.0,
    )
    assert late.notices[0].warning
    assert (
        "Deployment shop/web: not complete 5m0s after it began: 1 of 1 pods new, 1 available, 1 old"
        in late.notices[0].message
    )
    before = story.status
    worse = replace(web, status={**MOVING, "availableReplicas": 0})
    assert story.look(worse, after=400).status is before
    assert story.look(worse, after=460).notices == ()
    healed = story.look(replace(web, status=DONE), after=500)
    assert (healed.status.state, reasons(healed), healed.ended) == (
        State.COMPLETE,
        [EventReason.ROLLOUT_COMPLETE],
        ("complete",),
    )


def test_one_that_was_complete_stays_so_while_others_go_on():
    story = Story()
    web, api = story.patch(workload()), story.patch(workload("api", status=MOVING))
    assert states(story.look(web, api)) == {"api": State.PROGRESSING, "web": State.COMPLETE}
    crashed = replace(web, status={**DONE, "availableReplicas": 0})
    assert states(story.look(crashed, api, after=30)) == {"api": State.PROGRESSING, "web": State.COMPLETE}


def test_a_newer_value_starts_over():
    story = Story()
    web = story.patch(workload())
    assert story.look(web).status.state == State.COMPLETE
    story.publish("3", after=100)
    asked = story.look(web, after=101)
    assert (asked.status.state, asked.restarts, asked.status.workloads[0].wanted_at) == (
        State.PENDING,
        {web.ref: None},
        moment(NOW + 101),
    )


def test_a_newer_value_after_a_failure_has_its_own_deadline():
    story = Story()
    web = story.patch(workload(status=MOVING))
    story.look(web)
    assert story.look(web, after=600).status.state == State.FAILED
    story.publish("3", after=700)
    assert story.look(web, after=701).status.state == State.PENDING
    web = replace(
        web,
        pod_annotations=restarts.restart(web, [rollout.demand(story.secret, story.status)], KEY, now=NOW).annotations,
    )
    assert story.look(web, after=704).status.state == State.PROGRESSING
    assert story.look(web, after=1303).status.state == State.PROGRESSING
    assert reasons(story.look(web, after=1304)) == [EventReason.ROLLOUT_FAILED]


def test_paused_is_pending_for_ever_and_its_deadline_begins_when_it_is_resumed():
    story = Story(deadline="1m")
    web = story.patch(workload(status={**MOVING, "updatedReplicas": 0}, spec={"paused": True}))
    first = story.look(web)
    assert (first.status.state, first.due, first.restarts) == (State.PENDING, 30.0, {})
    assert "paused" in first.status.workloads[0].message
    before = story.status
    assert story.look(web, after=3600).status is before
    resumed = replace(web, spec={})
    assert story.look(resumed, after=3601).status.state == State.PROGRESSING
    assert story.look(resumed, after=3660).status.state == State.PROGRESSING
    assert story.look(resumed, after=3661).status.state == State.FAILED


def test_what_was_put_back_while_paused_is_asked_again():
    story = Story()
    before = workload(status={**MOVING, "updatedReplicas": 0}, spec={"paused": True})
    story.look(story.patch(before))
    assert story.look(before, after=10).restarts == {before.ref: None}


def test_what_was_put_back_after_pods_were_replaced_is_not_fought():
    story = Story()
    before = workload(status=MOVING)
    story.look(story.patch(before))
    undone = story.look(before, after=10)
    assert (undone.restarts, undone.status.state) == ({}, State.PROGRESSING)
    assert story.look(replace(before, status=DONE), after=20).status.state == State.COMPLETE


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_on_delete_waits_for_hands(kind):
    story = Story()
    status = {**MOVING, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}
    queue = story.patch(workload(kind=kind, status=status, spec={"updateStrategy": {"type": "OnDelete"}}))
    if kind == "StatefulSet":
        queue = replace(queue, spec={**queue.spec, "replicas": 2})
    found = story.look(queue)
    assert (found.status.state, found.due) == (State.PENDING, 30.0)
    assert "delete its old pods" in found.status.workloads[0].message
    assert story.look(queue, after=7200).status.state == State.PENDING


def test_zero_replicas_are_patched_and_complete():
    story = Story()
    web = workload(status={"observedGeneration": 1}, spec={"replicas": 0})
    assert story.look(web).restarts == {web.ref: None}
    assert story.look(story.patch(web), after=3).status.state == State.COMPLETE


def test_min_interval_holds_and_is_said():
    story = Story(minInterval="10m", deadline="1m")
    web = workload()
    web = replace(web, pod_annotations={RESTARTED_AT: rfc3339(NOW - 60)})
    found = story.look(web)
    assert found.restarts == {web.ref: NOW + 540}
    assert found.status.workloads[0].message == f"minInterval allows its next restart at {rfc3339(NOW + 540)}"
    assert found.due == 540 + 3
    before = story.status
    assert story.look(web, after=300).status is before
    free = story.look(web, after=541)
    assert (free.restarts, free.status.state) == ({web.ref: None}, State.PENDING)
    assert story.look(web, after=599).status.state == State.PENDING, "its deadline begins when it may be restarted"
    assert story.look(web, after=600).status.state == State.FAILED


def test_a_restart_that_is_refused_is_said_and_fails_and_is_still_tried():
    story, web = Story(deadline="2m"), workload()
    story.look(web)
    story.refusals[web.ref] = "patch of deployments.apps is forbidden"
    told = story.look(web, after=5)
    assert told.status.workloads[0].message == "restart failed, tried again: patch of deployments.apps is forbidden"
    late = story.look(web, after=120)
    assert (late.status.state, reasons(late), late.restarts) == (
        State.FAILED,
        [EventReason.ROLLOUT_FAILED],
        {web.ref: None},
    )
    assert story.look(web, after=180).notices == ()
    story.refusals.clear()
    assert story.look(story.patch(web), after=200).status.state == State.COMPLETE


def test_a_key_that_pods_cannot_start_without_is_waited_for():
    story, web = Story(), workload()
    story.status = rollout.published(story.status, {"q": "1"}, policy=RolloutPolicy.AUTO, keyed_by="k", now=NOW)
    found = story.look(web)
    assert (found.restarts, found.status.state) == ({}, State.PENDING)
    assert "its pods need p, which Secret db no longer has" in found.status.workloads[0].message
    assert found.due == 30.0


def test_named_targets_that_are_not_there_hold_nothing_up():
    story = Story(targets=[{"kind": "Deployment", "name": "gone"}, {"kind": "Deployment", "name": "web"}])
    found = story.look(story.patch(workload()))
    assert states(found) == {"web": State.COMPLETE, "gone": State.NOT_FOUND}
    assert found.status.state == State.COMPLETE


def test_what_cannot_be_restarted_is_never_vouched_for():
    story = Story(targets=[{"kind": "Rollout", "name": "api"}])
    found = story.look()
    assert (found.status.state, reasons(found), found.due) == (State.FAILED, [EventReason.ROLLOUT_FAILED], 60.0)
    assert story.look(after=60).notices == ()


def test_a_deleted_workload_holds_nothing_up():
    story = Story()
    story.look(workload(status=MOVING))
    assert story.look(after=10).status.state == State.COMPLETE


def test_the_worst_state_counts():
    story = Story(deadline="1m")
    paused = {"paused": True}
    crowd = [
        story.patch(workload("a", status=MOVING)),
        story.patch(workload("b")),
        story.patch(workload("c", status=MOVING, spec=paused)),
    ]
    assert story.look(*crowd).status.state == State.PROGRESSING
    assert story.look(*crowd, after=60).status.state == State.FAILED
    assert states(story.look(*crowd, after=61)) == {"a": State.FAILED, "b": State.COMPLETE, "c": State.PENDING}


def test_of_too_many_workloads_the_unfinished_are_shown():
    story = Story()
    crowd = [story.patch(workload(f"w{number:03}")) for number in range(ENTRIES + 40)]
    crowd[-1] = replace(crowd[-1], status=MOVING)
    found = story.look(*crowd)
    assert len(found.status.workloads) == ENTRIES
    assert found.status.state == State.PROGRESSING
    assert found.status.workloads[0].name == crowd[-1].ref.name
    RolloutStatus.model_validate(found.status.to_wire())


def test_events_name_a_few_and_count_the_rest():
    story = Story()
    found = story.look(*(story.patch(workload(f"w{number}")) for number in range(7)))
    assert found.notices[0].message.startswith(
        "Deployment w0, Deployment w1, Deployment w2, Deployment w3, Deployment w4 and 2 more run"
    )


def test_another_object_of_the_same_secret_is_followed_by_its_own_status():
    own = rollout.demand(secret(), pending())
    peer = replace(own, key=own.key._replace(name="peer"), keys={"q": "2"}, changed=frozenset({"q"}))
    around = Surroundings(demands=[own, peer], workloads=[workload(key="q")], refusals={}, key=KEY)
    assert review(own, pending(), around, now=NOW).status.workloads == ()
    assert review(peer, pending(), around, now=NOW).restarts


def test_an_entry_of_an_older_version_is_read():
    story = Story()
    story.status = story.status.model_copy(update={"workloads": (WorkloadStatus(kind="Deployment", name="web"),)})
    assert story.look(workload()).status.state == State.PENDING
