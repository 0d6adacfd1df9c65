"""Leased credentials over their whole life: minted once, renewed, replaced in time, and ended with their object."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.operator import Operator
from tests.live.operator import records
from tests.live.operator.cluster import Body, Spot, eventually
from tests.live.operator.lender import TERMS, Lender
from tests.live.operator.tenant import generated, keyed
from tests.live.operator.traces import metric


def test_a_whole_life(lender: Lender, operator: Operator) -> None:
    lender.lend(ttl="4s", most="18s")
    spot = lender.want()
    first = lender.values()
    assert lender.admits(first)
    old = lender.only_lease()
    lender.until_renewed(old)
    assert lender.values() == first
    # the successor comes before the end, and both let their clients in
    second = lender.until_replaced(first)
    assert lender.admits(first)
    assert lender.admits(second)
    lender.until_users({second["username"]})
    assert not lender.admits(first)
    assert lender.admits(second)
    assert lender.leases() - {old} == lender.leases()
    assert lender.mints() == 2
    for reason in ("LeaseMinted", "LeaseRotated", "LeaseRetired"):
        lender.user.until_told("app", reason, "dataFrom[0]: ")
    status = lender.until_states("Active")["status"]
    assert [entry["why"] for entry in status["history"]] == ["FirstSync", "LeaseRotation"]
    assert old not in json.dumps(status)
    ends = metric(operator, "leasehold_lease_expiry_timestamp_seconds", namespace=spot.namespace, name="app")
    assert ends is not None
    assert (metric(operator, "leasehold_renewals_total", result="ok") or 0) >= 1
    assert (metric(operator, "leasehold_mints_total", reason="LeaseRotation") or 0) >= 1


@pytest.mark.usefixtures("operator")
def test_a_store_read_that_is_leased(lender: Lender) -> None:
    user = lender.user
    user.store("database", path="database", version="v1", auth=user.login(role=lender.name))
    data = keyed("username", "password", key=f"creds/{lender.name}")
    user.want(secretStoreRef={"name": "database"}, data=data, refreshInterval="1s", lease=dict(TERMS))
    values = lender.values()
    assert lender.admits(values)
    assert lender.mints() == 1
    user.want("whole", secretStoreRef={"name": "database"}, dataFrom=[{"extract": {"key": f"creds/{lender.name}"}}])
    other = lender.values("whole")
    assert lender.admits(other)
    assert other["username"] != values["username"]
    # a refresh is no reason to mint
    user.store()
    user.mount.put("app", {"n": "1"})
    user.want("follower", refreshInterval="1s")
    user.until_ready("follower")
    for number in ("2", "3"):
        user.mount.put("app", {"n": number})
        user.until_values({"n": number}, "follower")
    assert lender.values() == values
    assert lender.mints() == 2


@pytest.mark.usefixtures("operator")
def test_nothing_but_its_source_makes_another_credential(lender: Lender) -> None:
    user = lender.user
    spot = lender.want()
    values = lender.values()
    # a Secret deleted or edited by hand gets the same credential back
    user.cluster.remove(user.spot("app", "Secret"))
    user.until_values(values)
    user.cluster.patch(user.spot("app", "Secret"), {"stringData": {"password": "by hand"}})
    user.until_values(values)
    # labels, annotations, a forced refresh, another target
    user.cluster.patch(spot, {"metadata": {"labels": {"team": "a"}}})
    user.until_ready()
    user.cluster.patch(spot, {"metadata": {"annotations": {"external-secrets.io/force-sync": "1"}}})
    user.until_ready()
    user.cluster.patch(spot, {"spec": {"target": {"name": "moved"}}})
    user.until_ready()
    user.until_values(values, "moved")
    # how the server is reached is no part of the source either
    lender.generator(retrySettings={"maxRetries": 3})
    user.cluster.patch(spot, {"spec": {"lease": {"renewAt": "50%"}}})
    user.until_ready()
    assert user.values("moved") == values
    assert lender.mints() == 1
    assert len(lender.leases()) == 1


@pytest.mark.usefixtures("operator")
def test_another_source_makes_another_credential_and_the_old_one_ends(lender: Lender) -> None:
    lender.want()
    first = lender.values()
    lender.generator(getParameters={"any": ["thing"]})
    second = lender.until_replaced(first)
    lender.until_users({second["username"]})
    assert lender.admits(second)
    assert lender.mints() == 2
    assert len(lender.leases()) == 1


@pytest.mark.usefixtures("operator")
def test_a_source_that_is_no_longer_used_ends(lender: Lender) -> None:
    user = lender.user
    user.mount.put("app", {"n": "1"})
    user.store()
    lender.want()
    lender.values()
    user.want(lease=dict(TERMS))
    user.until_values({"n": "1"})
    lender.until_gone()


@pytest.mark.usefixtures("operator")
def test_two_objects_of_one_generator_have_a_credential_each(lender: Lender) -> None:
    spots = [lender.want(name) for name in ("one", "two")]
    one, two = lender.values("one"), lender.values("two")
    assert one["username"] != two["username"]
    lender.user.cluster.remove(spots[0])
    lender.until_users({two["username"]})
    assert lender.admits(two)


# ------------------------------------------------------------------------------------------------------------- the end


def test_the_end_of_the_object_ends_the_credential(lender: Lender, operator: Operator) -> None:
    spot = lender.want()
    values = lender.values()
    lender.user.cluster.remove(spot)
    lender.until_gone()
    assert not lender.admits(values)
    eventually(lambda: records.find(lender.user.cluster, operator, spot) is None, "without a record")


def test_the_end_of_the_namespace_ends_the_credential_and_is_not_held_up(lender: Lender, operator: Operator) -> None:
    spot = lender.want()
    lender.values()
    cluster = lender.user.cluster
    cluster.remove(Spot("Namespace", "", spot.namespace))
    lender.until_gone()
    cluster.until(Spot("Namespace", "", spot.namespace), lambda body: body is None, "gone")
    assert records.find(cluster, operator, spot) is None
    cluster.plane.create_namespace(spot.namespace)  # for the fixture, which removes it


@pytest.mark.parametrize("policy", ["Expire", "Keep"])
def test_a_credential_may_outlive_its_object(lender: Lender, operator: Operator, policy: str) -> None:
    spot = lender.want(lease={**TERMS, "onDelete": policy})
    values = lender.values()
    lender.user.cluster.remove(spot)
    eventually(lambda: records.find(lender.user.cluster, operator, spot) is None, "without a record")
    assert lender.admits(values)
    assert len(lender.leases()) == 1


# -------------------------------------------------------------------------------------------- ended behind our back


@pytest.mark.usefixtures("operator")
def test_a_lease_that_was_revoked_by_others_is_replaced(lender: Lender) -> None:
    lender.lend(ttl="4s")
    lender.want()
    first = lender.values()
    lender.vault.api("PUT", "sys/leases/revoke", {"lease_id": lender.only_lease()})
    second = lender.until_replaced(first)
    assert lender.admits(second)
    lender.user.until_told("app", "LeaseLost", "dataFrom[0]: ")
    lender.until_users({second["username"]})


@pytest.mark.usefixtures("operator")
def test_a_user_that_was_dropped_by_others_is_replaced(lender: Lender) -> None:
    lender.lend(ttl="4s")
    lender.want()
    first = lender.values()
    lender.postgres.query(f'DROP ROLE "{first["username"]}"')
    second = lender.until_replaced(first)
    assert lender.admits(second)
    assert lender.mints() == 2


# ---------------------------------------------------------------------------------------------- who uses the credential


def workload(place: str, container: Body) -> Body:
    kind, name = place.split("/")
    pod = {
        "containers": [{"name": "main", "image": "none", **container}],
        "volumes": [{"name": "db", "secret": {"secretName": "app"}}],
    }
    labels = {"app": name}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.usefixtures("operator", "pods")
def test_who_cannot_see_the_change_is_restarted_before_the_old_credential_ends(lender: Lender) -> None:
    user = lender.user
    env = {"env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "app", "key": "password"}}}]}
    files = {"volumeMounts": [{"name": "db", "mountPath": "/db"}]}
    restarted = ("Deployment/web", "StatefulSet/queue", "DaemonSet/agent")
    documents = [workload(each, env) for each in restarted] + [workload("Deployment/files", files)]
    user.cluster.plane.kubectl.apply(*documents, namespace=user.namespace)
    lender.want(rollout={"minInterval": "0s"})
    first = lender.values()
    kubectl = user.cluster.plane.kubectl
    for each in (*restarted, "Deployment/files"):
        kubectl.run("rollout", "status", each, "-n", user.namespace, "--timeout=60s")
    lender.generator(getParameters={"any": ["thing"]})
    second = lender.until_replaced(first)
    assert lender.admits(first)
    lender.until_users({second["username"]}, patience=60.0)

    def is_complete(body: Body | None) -> bool:
        return bool(((body or {}).get("status") or {}).get("rollout", {}).get("state") == "Complete")

    body = user.cluster.until(user.spot(), is_complete, "rolled out")
    assert body is not None
    told = {f"{each['kind']}/{each['name']}" for each in body["status"]["rollout"]["workloads"]}
    assert told == set(restarted)
    generations = {
        each: kubectl.get(each, "-n", user.namespace)["metadata"]["generation"]
        for each in (*restarted, "Deployment/files")
    }
    assert generations == {**dict.fromkeys(restarted, 2), "Deployment/files": 1}
    user.until_told("app", "RolloutStarted", "web")
    user.until_told("app", "RolloutComplete")


@pytest.mark.usefixtures("operator")
def test_the_generator_s_other_results(lender: Lender) -> None:
    user = lender.user
    rules = 'path "auth/token/create" { capabilities = ["update"] }'
    user.vault.write_policy(lender.name, rules)
    body = {"policies": [lender.name], "ttl": "1h"}
    lender.generator(path="auth/token/create", method="POST", parameters=body, resultType="Auth")
    user.want(secretStoreRef=None, dataFrom=generated("db"))
    values = lender.values()
    assert values["client_token"].startswith("hvs.")
    assert lender.name in json.loads(values["policies"])
