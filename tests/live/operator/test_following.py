"""What changes is followed as the policy says, and what others do to a Secret is put right at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.operator.cluster import Spot
from tests.live.operator.tenant import Tenant, distinct, keyed, values_of

pytestmark = pytest.mark.usefixtures("operator")
MANAGED = "reconcile.external-secrets.io/managed"


@pytest.fixture
def synced(tenant: Tenant) -> Tenant:
    """A user whose ExternalSecret `app` is synced and would rest for an hour."""
    tenant.want()
    tenant.until_ready()
    return tenant


def change(tenant: Tenant) -> dict[str, str]:
    """Write another value to Vault and return what a Secret should hold then."""
    values = {"password": distinct()}
    tenant.mount.put("app", values)
    return values


def edit(tenant: Tenant, change: dict[str, Any], name: str = "app") -> None:
    tenant.cluster.patch(tenant.spot(name, "Secret"), change)


# ------------------------------------------------------------------------------------------------------- when it reads


def test_a_change_in_vault_is_followed_within_the_interval(tenant: Tenant) -> None:
    tenant.want(refreshInterval="1s")
    tenant.until_ready()
    for _ in range(2):
        tenant.until_values(change(tenant))


@pytest.mark.parametrize(
    ("still", "follows_spec"),
    [
        ({"refreshPolicy": "OnChange", "refreshInterval": "1s"}, True),
        ({"refreshPolicy": "CreatedOnce", "refreshInterval": "1s"}, False),
        ({"refreshInterval": "0"}, False),
    ],
    ids=["OnChange", "CreatedOnce", "interval 0"],
)
def test_policies_that_do_not_follow(tenant: Tenant, still: dict[str, Any], follows_spec: bool) -> None:
    first = tenant.mount.get("app")
    tenant.want("still", **still)
    tenant.want("follower", refreshInterval="1s")
    tenant.until_ready("still")
    second = change(tenant)
    tenant.until_values(second, "follower")
    third = change(tenant)
    tenant.until_values(third, "follower")  # so a whole interval has passed
    assert tenant.values("still") == first
    data = [{"secretKey": "renamed", "remoteRef": {"key": "app", "property": "password"}}]
    tenant.want("still", data=data, **still)
    if follows_spec:
        tenant.until_values({"renamed": third["password"]}, "still")
        return
    tenant.until_values(change(tenant), "follower")
    assert tenant.values("still") == first
    # drift is repaired all the same, from the sources of today
    tenant.cluster.remove(tenant.spot("still", "Secret"))
    tenant.until_values({"renamed": tenant.mount.get("app")["password"]}, "still")


def test_an_annotation_forces_a_refresh(synced: Tenant) -> None:
    values = change(synced)
    synced.cluster.patch(synced.spot(), {"metadata": {"annotations": {"external-secrets.io/force-sync": "1"}}})
    synced.until_values(values)
    secret = synced.secret()
    assert secret is not None
    assert secret["metadata"]["annotations"]["external-secrets.io/force-sync"] == "1"


def test_a_changed_spec_is_followed(synced: Tenant) -> None:
    synced.mount.put("app", {"password": "p", "user": "u"})
    synced.want(data=keyed("user"))
    synced.until_values({"user": "u"})


def test_a_changed_store_is_used_at_the_next_refresh(synced: Tenant) -> None:
    other = {"password": distinct()}
    synced.vault.api("POST", f"secret/data/{synced.namespace}", {"data": other})
    rules = f'path "secret/data/{synced.namespace}" {{ capabilities = ["read"] }}'
    synced.vault.write_policy(synced.mount.policy, rules)
    synced.want(dataFrom=[{"extract": {"key": synced.namespace}}], refreshInterval="2s")
    synced.store(path="secret")
    synced.until_values(other)


# ------------------------------------------------------------------------------------------------ what others have done


def test_an_edit_by_hand_is_put_right(synced: Tenant) -> None:
    values = synced.values()
    assert values is not None
    edit(synced, {"stringData": {"password": "by hand", "more": "by hand"}})
    synced.until_values(values)
    synced.until_told("app", "Repaired", "Secret app")


def test_a_deletion_by_hand_is_put_right(synced: Tenant) -> None:
    values = synced.values()
    assert values is not None
    synced.cluster.remove(synced.spot("app", "Secret"))
    synced.until_values(values)
    synced.until_told("app", "Repaired", "Secret app")


@pytest.mark.parametrize("label", [None, "false"], ids=["removed", "changed"])
def test_the_label_is_put_back(synced: Tenant, label: str | None) -> None:
    edit(synced, {"metadata": {"labels": {MANAGED: label}}})
    synced.cluster.until(
        synced.spot("app", "Secret"),
        lambda body: body is not None and body["metadata"]["labels"].get(MANAGED) == "true",
        "labelled again",
    )


def test_a_removed_owner_and_hash_are_put_back(synced: Tenant) -> None:
    before = synced.secret()
    assert before is not None
    edit(synced, {"metadata": {"ownerReferences": None, "annotations": None}})
    synced.cluster.until(
        synced.spot("app", "Secret"),
        lambda body: (
            body is not None
            and body["metadata"].get("annotations") == before["metadata"]["annotations"]
            and body["metadata"].get("ownerReferences") == before["metadata"]["ownerReferences"]
        ),
        "whole again",
    )


def test_orphan_tolerates_an_edit_until_the_next_refresh(tenant: Tenant) -> None:
    target = {"creationPolicy": "Orphan"}
    tenant.want(target=target)
    tenant.want("watched")
    tenant.until_ready()
    tenant.until_ready("watched")
    edit(tenant, {"stringData": {"password": "by hand"}})
    edit(tenant, {"stringData": {"password": "by hand"}}, "watched")
    tenant.until_values(tenant.mount.get("app"), "watched")
    assert tenant.values() == {"password": "by hand"}
    tenant.want(target=target, refreshInterval="1s")
    tenant.until_values(tenant.mount.get("app"))
    # gone altogether it is made again
    tenant.cluster.remove(tenant.spot("app", "Secret"))
    tenant.until_values(tenant.mount.get("app"))


def test_a_merged_key_is_put_right_and_theirs_is_not(tenant: Tenant) -> None:
    tenant.put_secret("app", {"theirs": "1"})
    tenant.want(target={"creationPolicy": "Merge"})
    password = tenant.mount.get("app")["password"]
    tenant.until_values({"theirs": "1", "password": password})
    tenant.until_ready()
    edit(tenant, {"stringData": {"password": "by hand", "theirs": "2"}})
    tenant.until_values({"theirs": "2", "password": password})


def test_a_renamed_target_moves(synced: Tenant) -> None:
    values = synced.values()
    assert values is not None
    synced.want(target={"name": "moved"})
    synced.until_values(values, "moved")
    synced.until_gone(synced.spot("app", "Secret"))
    synced.until_told("app", "Deleted", "Secret app deleted")
    assert synced.until_ready()["status"]["binding"] == {"name": "moved"}


def test_an_object_of_the_same_name_takes_over(synced: Tenant) -> None:
    old = synced.cluster.get(synced.spot())
    synced.cluster.remove(synced.spot())
    synced.until_gone(synced.spot())
    synced.want(data=[{"secretKey": "new", "remoteRef": {"key": "app", "property": "password"}}])
    new = synced.until_ready()
    assert old is not None
    assert new["metadata"]["uid"] != old["metadata"]["uid"]

    def is_its_own(body: Any) -> bool:
        owners = body["metadata"].get("ownerReferences", []) if body else []
        return [owner["uid"] for owner in owners] == [new["metadata"]["uid"]] and set(values_of(body) or ()) == {"new"}

    synced.cluster.until(Spot("Secret", synced.namespace, "app"), is_its_own, "its own")


# --------------------------------------------------------------------------------------------- nothing without a reason


def test_nothing_is_written_when_nothing_changed(tenant: Tenant) -> None:
    tenant.want("still", refreshInterval="1s")
    tenant.want("follower", refreshInterval="1s")
    tenant.until_ready("still")
    before = (tenant.secret("still"), tenant.status("still"))
    tenant.mount.put("other", {"n": "1"})
    tenant.want("follower", dataFrom=[{"extract": {"key": "other"}}], refreshInterval="1s")
    for number in ("2", "3"):
        tenant.mount.put("other", {"n": number})
        tenant.until_values({"n": number}, "follower")
    assert (tenant.secret("still"), tenant.status("still")) == before
