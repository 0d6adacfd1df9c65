import pytest

from leasehold.domain.facts import Workload, WorkloadRef
from leasehold.domain.progress import Standing, judge

D, S, A = "Deployment", "StatefulSet", "DaemonSet"


def workload(kind, spec, status, observed=2):
    return Workload(
        ref=WorkloadRef(kind, "shop", "web"),
        uid="u",
        resource_version="1",
        generation=2,
        pod_spec={},
        pod_annotations={},
        spec=spec,
        status={"observedGeneration": observed, **status},
    )


def counts(replicas=0, updated=0, available=0):
    return {"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}


def nodes(desired=0, updated=0, available=0):
    return {
        "desiredNumberScheduled": desired,
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
    }


ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


def partition(number, replicas=3):
    return {"replicas": replicas, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "standing", "says"),
    [
        (D, {"replicas": 3}, counts(3, 3, 3), Standing.DONE, ""),
        (D, {"replicas": 3}, counts(4, 2, 3), Standing.MOVING, "2 of 3 pods new, 3 available, 2 old"),
        (D, {"replicas": 3}, counts(4, 3, 3), Standing.MOVING, "1 old"),
        (D, {"replicas": 3}, counts(3, 3, 2), Standing.MOVING, "2 available"),
        (D, {"replicas": 3}, {}, Standing.MOVING, "0 of 3 pods new"),
        (D, {}, counts(1, 1, 1), Standing.DONE, ""),
        (D, {}, {}, Standing.MOVING, "0 of 1"),
        (D, {"replicas": 0}, {}, Standing.DONE, ""),
        (D, {"replicas": 0}, counts(1, 0, 1), Standing.MOVING, "1 old"),
        (D, {"replicas": 3, "paused": True}, counts(3, 0, 3), Standing.WAITING, "paused"),
        (D, {"replicas": 3, "paused": True}, counts(3, 3, 3), Standing.DONE, ""),
        (D, {"replicas": 0, "paused": True}, {}, Standing.DONE, ""),
        (S, {"replicas": 3}, counts(3, 3, 3), Standing.DONE, ""),
        (S, {"replicas": 3}, counts(3, 1, 3), Standing.MOVING, "1 of 3"),
        (S, {"replicas": 0}, {}, Standing.DONE, ""),
        (S, partition(0), counts(3, 3, 3), Standing.DONE, ""),
        (S, partition(2), counts(3, 1, 3), Standing.WAITING, "partition 2"),
        (S, partition(2), counts(3, 0, 3), Standing.MOVING, "0 of 3"),
        (S, partition(2), counts(3, 1, 2), Standing.MOVING, "2 available"),
        (S, partition(9), counts(3, 0, 3), Standing.WAITING, "partition 3"),
        (S, {"replicas": 3, **ON_DELETE}, counts(3, 1, 3), Standing.WAITING, "delete its old pods"),
        (S, {"replicas": 3, **ON_DELETE}, counts(3, 3, 2), Standing.MOVING, "2 available"),
        (S, {"replicas": 3, **ON_DELETE}, counts(3, 3, 3), Standing.DONE, ""),
        (A, {}, nodes(5, 5, 5), Standing.DONE, ""),
        (A, {}, nodes(5, 4, 5), Standing.MOVING, "4 of 5"),
        (A, {}, nodes(5, 5, 4), Standing.MOVING, "4 available"),
        (A, {}, {}, Standing.DONE, ""),
        (A, ON_DELETE, nodes(5, 1, 5), Standing.WAITING, "OnDelete"),
        (A, ON_DELETE, nodes(5, 5, 5), Standing.DONE, ""),
    ],
)
def test_counts(kind, spec, status, standing, says):
    found = judge(workload(kind, spec, status))
    assert found.standing is standing
    assert says in found.message


@pytest.mark.parametrize("kind", [D, S, A])
def test_counts_of_the_template_before_mean_nothing(kind):
    status = counts(1, 1, 1) | nodes(1, 1, 1)
    assert judge(workload(kind, {}, status)).standing is Standing.DONE
    assert judge(workload(kind, {}, status, observed=1)).standing is Standing.MOVING


def test_a_condition_of_an_earlier_failure_is_not_asked():
    stale = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
    assert judge(workload(D, {}, counts(1, 1, 1) | stale)).standing is Standing.DONE
