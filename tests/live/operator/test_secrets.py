"""From a Vault KV store to a Secret: what is written, to the byte, whose it is, and what becomes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.operator.cluster import Body, ready_condition
from tests.live.operator.tenant import Tenant, distinct, keyed, values_of, whole

pytestmark = pytest.mark.usefixtures("operator")
PREFIX = "reconcile.external-secrets.io"
MANAGER = "externalsecrets.external-secrets.io/"


def sha3(text: str) -> str:
    return hashlib.sha3_224(text.encode()).hexdigest()


def data_hash(values: dict[str, str]) -> str:
    """Return ESO's hash of data: that of Go's text of a map of bytes."""
    members = (f"{key}:[{' '.join(str(byte) for byte in values[key].encode())}]" for key in sorted(values))
    return sha3(f"map[{' '.join(members)}]")


def managers(secret: Body) -> dict[str, str]:
    return {entry["manager"]: entry["operation"] for entry in secret["metadata"]["managedFields"]}


# ------------------------------------------------------------------------------------------------------ what is written


def test_the_metadata_is_eso_s_to_the_byte(tenant: Tenant) -> None:
    values = {"password": distinct(), "user": distinct()}
    tenant.mount.put("app", values)
    tenant.want(data=keyed("password", "user"), metadata={"labels": {"team": "a"}, "annotations": {"note": "b"}})
    wanted = tenant.until_ready()
    secret = tenant.until_values(values)
    metadata = secret["metadata"]
    assert secret["type"] == "Opaque"
    assert "immutable" not in secret
    assert metadata["labels"] == {
        "team": "a",
        f"{PREFIX}/managed": "true",
        f"{PREFIX}/created-by": sha3(f"{tenant.namespace}/app"),
    }
    assert metadata["annotations"] == {"note": "b", f"{PREFIX}/data-hash": data_hash(values)}
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "name": "app",
            "uid": wanted["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert "finalizers" not in metadata
    assert managers(secret) == {f"{MANAGER}app": "Update"}
    status = wanted["status"]
    generation = wanted["metadata"]["generation"]
    assert status["syncedResourceVersion"] == f"{generation}-" + sha3("{annotations:map[note:b] labels:map[team:a]}")
    assert status["binding"] == {"name": "app"}
    ready = ready_condition(wanted)
    assert ready is not None
    assert {name: ready[name] for name in ("type", "status", "reason", "message")} == {
        "type": "Ready",
        "status": "True",
        "reason": "SecretSynced",
        "message": "secret synced",
    }
    assert ready.keys() == {"type", "status", "reason", "message", "lastTransitionTime"}
    # nothing of ours on what the user wrote
    assert wanted["metadata"]["annotations"] == {"note": "b"}
    assert "finalizers" not in wanted["metadata"]


def test_a_long_name_has_a_short_manager(tenant: Tenant) -> None:
    name = "a-name-of-more-than-27-letters"
    tenant.want(name, data=keyed("password"))
    tenant.until_ready(name)
    secret = tenant.secret(name)
    assert secret is not None
    assert managers(secret) == {f"{MANAGER}sha3/{sha3(name)}": "Update"}


def test_labels_that_the_user_takes_away_go_and_those_of_others_stay(tenant: Tenant) -> None:
    tenant.want(data=keyed("password"), metadata={"labels": {"team": "a", "tier": "b"}})
    tenant.until_ready()
    tenant.cluster.patch(tenant.spot("app", "Secret"), {"metadata": {"labels": {"theirs": "c"}}})
    tenant.want(data=keyed("password"), metadata={"labels": {"team": "a"}})
    tenant.cluster.until(
        tenant.spot("app", "Secret"),
        lambda body: body is not None and "tier" not in body["metadata"]["labels"],
        "without the label tier",
    )
    secret = tenant.secret()
    assert secret is not None
    assert {"team": "a", "theirs": "c"}.items() <= secret["metadata"]["labels"].items()


def test_all_of_a_document_and_of_every_type(tenant: Tenant) -> None:
    text = distinct()
    tenant.mount.put("all", {"text": text, "number": 5, "flag": True, "inner": {"b": [1, "x"], "a": None}})
    tenant.want(dataFrom=whole("all"))
    secret = tenant.until_ready() and tenant.values()
    assert secret is not None
    assert secret.keys() == {"text", "number", "flag", "inner"}
    assert (secret["text"], secret["number"], secret["flag"]) == (text, "5", "true")
    assert json.loads(secret["inner"]) == {"a": None, "b": [1, "x"]}


def test_entries_join_in_order_and_data_wins(tenant: Tenant) -> None:
    tenant.mount.put("one", {"a": "1", "b": "1", "c": "1"})
    tenant.mount.put("two", {"b": "2", "c": "2"})
    data = [{"secretKey": "c", "remoteRef": {"key": "app", "property": "password"}}]
    tenant.want(dataFrom=[*whole("one"), *whole("two")], data=data)
    tenant.until_values({"a": "1", "b": "2", "c": tenant.mount.get("app")["password"]})


def test_an_earlier_version_and_the_whole_document_as_one_key(tenant: Tenant) -> None:
    first, second = distinct(), distinct()
    tenant.mount.put("history", {"password": first})
    tenant.mount.put("history", {"password": second})
    earlier = {"secretKey": "earlier", "remoteRef": {"key": "history", "property": "password", "version": "1"}}
    document = {"secretKey": "document", "remoteRef": {"key": "history"}}
    tenant.want(data=[earlier, document])
    tenant.until_ready()
    values = tenant.values()
    assert values is not None
    assert values["earlier"] == first
    assert json.loads(values["document"]) == {"password": second}


@pytest.fixture
def first_version(user: Tenant) -> Iterator[str]:
    """A KV version 1 mount that the user may read, and a store `vault` for it."""
    path = f"{user.mount.path}-one"
    user.vault.enable("secret", "kv", at=path, version=1)
    user.vault.write_policy(user.mount.policy, f'path "{path}/*" {{ capabilities = ["read"] }}')
    user.store(path=path, version="v1")
    yield path
    user.vault.start()
    user.vault.disable("secret", at=path)


def test_kv_version_1_and_its_long_numbers(user: Tenant, first_version: str) -> None:
    password = distinct()
    user.vault.api("POST", f"{first_version}/app", {"password": password, "number": 12345678901234567890})
    user.want(dataFrom=whole(), data=[{"secretKey": "n", "remoteRef": {"key": "app", "property": "number"}}])
    long = "12345678901234567890"
    user.until_values({"password": password, "number": long, "n": long})


# ---------------------------------------------------------------------------------------------------------- whose it is


def test_owner_adopts_what_is_there_and_wipes_it(tenant: Tenant) -> None:
    tenant.put_secret("app", {"theirs": "x"})
    tenant.want()
    tenant.until_values({"password": tenant.mount.get("app")["password"]})
    secret = tenant.secret()
    assert secret is not None
    assert secret["metadata"]["ownerReferences"][0]["name"] == "app"


def test_owner_s_secret_goes_with_it(tenant: Tenant) -> None:
    spot = tenant.want()
    tenant.until_ready()
    tenant.cluster.remove(spot)
    tenant.until_gone(tenant.spot("app", "Secret"))


def test_orphan_writes_over_what_is_there_and_leaves_it_behind(tenant: Tenant) -> None:
    tenant.put_secret("app", {"theirs": "x"})
    spot = tenant.want(target={"creationPolicy": "Orphan"})
    values = {"password": tenant.mount.get("app")["password"]}
    secret = tenant.until_values(values)
    assert "ownerReferences" not in secret["metadata"]
    assert f"{PREFIX}/created-by" not in secret["metadata"]["labels"]
    tenant.until_ready()
    tenant.cluster.remove(spot)
    tenant.until_gone(spot)
    # what comes after has been seen by the operator, so the deletion has, too
    tenant.want("later")
    tenant.until_ready("later")
    assert tenant.values() == values


def test_merge_waits_for_a_secret_and_keeps_what_is_in_it(tenant: Tenant) -> None:
    spot = tenant.want(target={"creationPolicy": "Merge"}, refreshInterval="1s")
    waiting = ready_condition(tenant.until_ready())
    assert waiting is not None
    assert (waiting["reason"], waiting["message"]) == (
        "SecretMissing",
        "secret will not be created due to CreationPolicy=Merge",
    )
    assert tenant.secret() is None
    tenant.put_secret("app", {"theirs": "x"})
    values = {"theirs": "x", "password": tenant.mount.get("app")["password"]}
    secret = tenant.until_values(values)
    assert "ownerReferences" not in secret["metadata"]
    assert secret["metadata"]["annotations"][f"{PREFIX}/data-hash"] == data_hash(values)
    # a key that is no longer wanted goes, theirs stays
    tenant.mount.put("app", {"token": values["password"]})
    tenant.until_values({"theirs": "x", "token": values["password"]})
    tenant.cluster.remove(spot)
    tenant.until_gone(spot)
    assert tenant.values() == {"theirs": "x", "token": values["password"]}


def test_create_or_merge_does_both(tenant: Tenant) -> None:
    tenant.put_secret("there", {"theirs": "x"})
    password = tenant.mount.get("app")["password"]
    for name in ("there", "new"):
        tenant.want(name, target={"creationPolicy": "CreateOrMerge"})
    tenant.until_values({"theirs": "x", "password": password}, "there")
    secret = tenant.until_values({"password": password}, "new")
    assert "ownerReferences" not in secret["metadata"]
    # made by us, and yet others may add to it
    tenant.until_ready("new")
    tenant.put_secret("new", {"theirs": "y"})
    tenant.mount.put("app", {"password": (password := distinct())})
    tenant.want("new", target={"creationPolicy": "CreateOrMerge"}, refreshInterval="2h")
    tenant.until_values({"theirs": "y", "password": password}, "new")


def test_none_reads_and_writes_nothing(tenant: Tenant) -> None:
    tenant.put_secret("there", {"theirs": "x"})
    before = tenant.secret("there")
    for name in ("there", "new"):
        tenant.want(name, target={"creationPolicy": "None"})
        ready = ready_condition(tenant.until_ready(name))
        assert ready is not None
        assert (ready["reason"], ready["message"]) == ("SecretSynced", "secret synced")
        assert "binding" not in tenant.status(name)
    assert tenant.secret("new") is None
    assert tenant.secret("there") == before


def test_an_immutable_target_and_a_type(tenant: Tenant) -> None:
    tenant.want(target={"immutable": True, "template": {"type": "example.com/kind"}})
    secret = tenant.until_values({"password": tenant.mount.get("app")["password"]})
    assert secret["immutable"] is True
    assert secret["type"] == "example.com/kind"


def test_a_template_s_metadata_takes_the_place_of_the_object_s(tenant: Tenant) -> None:
    template = {"metadata": {"labels": {"from": "template"}, "annotations": {"also": "template"}}}
    tenant.want(target={"template": template}, metadata={"labels": {"from": "object", "other": "object"}})
    tenant.until_ready()
    secret = tenant.secret()
    assert secret is not None
    labels = secret["metadata"]["labels"]
    assert labels["from"] == "template"
    assert "other" not in labels
    assert secret["metadata"]["annotations"]["also"] == "template"


# -------------------------------------------------------------------------------------------------- what becomes of it


@pytest.mark.parametrize("policy", ["Delete", "Merge", "Retain"])
def test_when_the_remote_secret_is_gone(tenant: Tenant, policy: str) -> None:
    password = tenant.mount.get("app")["password"]
    tenant.want(target={"deletionPolicy": policy}, refreshInterval="1s")
    tenant.until_values({"password": password})
    tenant.until_ready()
    tenant.mount.destroy("app")
    if policy == "Delete":
        tenant.until_gone(tenant.spot("app", "Secret"))
        _until_reason(tenant, "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")
        tenant.until_told("app", "Deleted")
        tenant.until_told("app", "MissingProviderSecret", f"{tenant.mount.path}/data/app")
    elif policy == "Merge":
        tenant.until_values({})
        tenant.until_ready()
    else:
        tenant.until_failed("app", "could not get secret data from provider: ", f"{tenant.mount.path}/data/app")
        assert tenant.values() == {"password": password}
    tenant.mount.put("app", {"password": (password := distinct())})
    tenant.until_values({"password": password})
    _until_reason(tenant, "SecretSynced", "secret synced")


def _until_reason(tenant: Tenant, reason: str, message: str) -> None:
    def holds(body: Any) -> bool:
        ready = ready_condition(body)
        return ready is not None and (ready["status"], ready["reason"], ready["message"]) == ("True", reason, message)

    tenant.cluster.until(tenant.spot(), holds, f"Ready for {reason}")


def test_one_of_several_is_gone_and_may_be(tenant: Tenant) -> None:
    tenant.mount.put("other", {"token": "t"})
    data = [*keyed("password"), *keyed("token", key="other")]
    tenant.want(data=data, target={"deletionPolicy": "Delete"}, refreshInterval="1s")
    password = tenant.mount.get("app")["password"]
    tenant.until_values({"password": password, "token": "t"})
    tenant.mount.destroy("other")
    tenant.until_values({"password": password})
    tenant.until_ready()


def test_a_policy_is_changed_away_from_owner(tenant: Tenant) -> None:
    tenant.want()
    tenant.until_ready()
    tenant.want(target={"creationPolicy": "Orphan"})
    tenant.until_ready()
    secret = tenant.secret()
    assert secret is not None
    assert "ownerReferences" not in secret["metadata"]
    assert f"{PREFIX}/created-by" not in secret["metadata"]["labels"]
    assert values_of(secret) == {"password": tenant.mount.get("app")["password"]}


def test_vault_s_text_is_kept_to_the_byte(tenant: Tenant) -> None:
    odd = "ß 'quote' \"double\" \\ \t\n <&> \u2028 {{ .x }}"
    tenant.mount.put("app", {"odd": odd})
    tenant.want(data=keyed("odd"))
    tenant.until_values({"odd": odd})
