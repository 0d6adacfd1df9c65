"""From Vault's KV engines to a Secret, by the running operator: ESO's metadata, policies, drift, logins, and rest.

The hash and the names that External Secrets Operator writes are worked out here anew, from its documented form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import Operator
from testbed.processes import Yard
from testbed.vault import Vault
from tests.live.troupe import Scene, decode, hire, keys, settle, until, until_refreshed, vault_provider

MARK = "reconcile.external-secrets.io"
MANAGED = f"{MARK}/managed"


@pytest.fixture(scope="module")
def operator(yard: Yard, control_plane: ControlPlane, vault: Vault, kubernetes_auth: str) -> Iterator[Operator]:
    """The operator of this module."""
    with hire(yard, control_plane, vault, name="secrets") as operator:
        yield operator


@pytest.fixture
def scene(operator: Operator, control_plane: ControlPlane, namespace: str, mount: Mount) -> Scene:
    """A namespace with the account `app` and the SecretStore `vault` over the mount."""
    return settle(control_plane, namespace, mount)


def sha3(text: str) -> str:
    return hashlib.sha3_224(text.encode()).hexdigest()


def data_hash(secret: Any) -> str:
    """ESO's hash of a Secret's data: sha3-224 of how Go prints a map of byte slices with %+v."""
    values = {key: base64.b64decode(value) for key, value in secret.get("data", {}).items()}
    shown = " ".join(f"{key}:[{' '.join(str(byte) for byte in values[key])}]" for key in sorted(values))
    return sha3(f"map[{shown}]")


def managers(scene: Scene, name: str) -> set[str]:
    return {entry["manager"] for entry in scene.find("Secret", name)["metadata"]["managedFields"]}


@pytest.mark.parametrize("name", ["app", "a-name-that-is-longer-than-27-characters"])
def test_the_secret_is_esos_to_the_byte(scene: Scene, mount: Mount, name: str) -> None:
    mount.put("app", {"password": "s3cret ü", "pin": 5})
    made = scene.want(
        name, meta={"labels": {"team": "a"}, "annotations": {"note": "x"}}, data=keys("app", "pin", "password")
    )
    assert scene.until_reason(name, "SecretSynced") == "secret synced"
    secret = scene.find("Secret", name)
    meta = secret["metadata"]
    assert decode(secret) == {"password": "s3cret ü", "pin": "5"}
    assert secret["type"] == "Opaque"
    assert meta["labels"] == {
        "team": "a",
        MANAGED: "true",
        f"{MARK}/created-by": sha3(f"{scene.namespace}/{name}"),
    }
    assert meta["annotations"] == {"note": "x", f"{MARK}/data-hash": data_hash(secret)}
    assert meta["ownerReferences"] == [
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "name": name,
            "uid": made["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    tail = name if len(name) <= 27 else f"sha3/{sha3(name)}"
    assert managers(scene, name) == {f"externalsecrets.external-secrets.io/{tail}"}
    status = scene.status(name)
    assert status["binding"] == {"name": name}
    metadata = sha3("{annotations:map[note:x] labels:map[team:a]}")
    assert status["syncedResourceVersion"] == f"1-{metadata}"


def test_extract_takes_the_whole_map_and_data_wins(scene: Scene, mount: Mount) -> None:
    mount.put("app", {"text": "a", "number": 12, "yes": True, "map": {"k": ["v"]}})
    mount.put("other", {"text": "b"})
    scene.want("app", dataFrom=[{"extract": {"key": "app"}}], data=keys("other", "text"))
    scene.until_values("app", {"text": "b", "number": "12", "yes": "true", "map": '{"k":["v"]}'})


def test_kv_version_1(scene: Scene, vault: Vault, mount: Mount) -> None:
    path = f"{mount.path}-v1"
    vault.enable("secret", "kv", at=path, version=1)
    vault.api("POST", f"{path}/app", {"password": "one", "user": "u"})
    vault.write_policy(path, f'path "{path}/*" {{ capabilities = ["read"] }}')
    role = f"{mount.path}-{scene.namespace}"
    vault.kubernetes_role(role, accounts=["app"], namespaces=[scene.namespace], policies=[path], audience="vault")
    scene.store("one", vault_provider(vault, role, path=path, version="v1"))
    one: dict[str, Any] = {"secretStoreRef": {"name": "one"}, "refreshInterval": "1s"}
    scene.want("key", **one, data=keys("app", "password"))
    scene.want("map", **one, dataFrom=[{"extract": {"key": "app"}}])
    scene.until_values("key", {"password": "one"})
    scene.until_values("map", {"password": "one", "user": "u"})
    vault.api("POST", f"{path}/app", {"password": "two"})
    scene.until_values("key", {"password": "two"})
    scene.until_values("map", {"password": "two"})
    vault.disable("secret", at=path)


def test_creation_policies(operator: Operator, scene: Scene, mount: Mount) -> None:
    mount.put("app", {"password": "one"})
    policies = {"owner": "Owner", "orphan": "Orphan", "merge": "Merge", "either": "CreateOrMerge", "none": "None"}
    foreign = base64.b64encode(b"theirs").decode()
    for name, policy in policies.items():
        # `find` a Secret of somebody else's under `existing-…`, nothing under the plain name
        if policy != "None":
            scene.create("Secret", f"had-{name}", data={"foreign": foreign, "password": foreign})
            scene.want(
                f"had-{name}", refreshInterval="1s", data=keys("app", "password"), target={"creationPolicy": policy}
            )
        scene.want(name, refreshInterval="1s", data=keys("app", "password"), target={"creationPolicy": policy})

    mine, both = {"password": "one"}, {"password": "one", "foreign": "theirs"}
    for name, there in (("owner", mine), ("orphan", mine), ("merge", both), ("either", both)):
        scene.until_values(f"had-{name}", there)
    for name in ("owner", "orphan", "either"):
        scene.until_values(name, mine)
        secret = scene.find("Secret", name)
        assert ("ownerReferences" in secret["metadata"]) is (name == "owner")
        assert (f"{MARK}/created-by" in secret["metadata"]["labels"]) is (name == "owner")
        assert secret["metadata"]["annotations"] == {f"{MARK}/data-hash": data_hash(secret)}
    merged = scene.find("Secret", "had-merge")["metadata"]
    assert merged["annotations"] == {f"{MARK}/data-hash": data_hash(scene.find("Secret", "had-merge"))}
    assert "ownerReferences" not in merged

    assert scene.until_reason("merge", "SecretMissing")
    assert scene.ready("merge")[0] == "True"
    scene.until_reason("none", "SecretSynced")
    until_refreshed(operator, scene, "none")
    assert scene.find("Secret", "merge") is scene.find("Secret", "none") is None
    scene.create("Secret", "merge", data={"foreign": foreign})
    scene.until_values("merge", both)

    for name in ("owner", "orphan", "merge", "either"):
        scene.delete("ExternalSecret", name)
    scene.until_gone("Secret", "owner")
    assert {name: scene.values(name) for name in ("orphan", "merge", "either")} == {
        "orphan": mine,
        "merge": both,
        "either": mine,
    }


def test_deletion_policies(scene: Scene, mount: Mount) -> None:
    mount.put("app", {"password": "one"})
    mount.put("stays", {"pin": "1"})
    for policy in ("Delete", "Retain", "Merge"):
        target = {"deletionPolicy": policy}
        scene.want(policy.lower(), refreshInterval="1s", data=keys("app", "password"), target=target)
    scene.create("Secret", "shared", data={"foreign": base64.b64encode(b"theirs").decode()})
    shared = {"name": "shared", "creationPolicy": "Merge", "deletionPolicy": "Merge"}
    scene.want("part", refreshInterval="1s", data=keys("app", "password") + keys("stays", "pin"), target=shared)
    for name in ("delete", "retain", "merge"):
        scene.until_values(name, {"password": "one"})
    scene.until_values("shared", {"foreign": "theirs", "password": "one", "pin": "1"})

    mount.destroy("app")
    scene.until_gone("Secret", "delete")
    assert scene.until_reason("delete", "SecretDeleted") == "secret deleted due to DeletionPolicy=Delete"
    assert scene.ready("delete")[0] == "True"
    told = scene.until_reason("retain", "SecretSyncedError")
    assert told.startswith("could not get secret data from provider: ")
    assert f"{mount.path}/app" in told or "app" in told
    assert scene.values("retain") == {"password": "one"}
    scene.until_values("merge", {})
    assert scene.find("Secret", "merge") is not None
    scene.until_values("shared", {"foreign": "theirs", "pin": "1"})
    until("an event tells of it", lambda: "MissingProviderSecret" in scene.events("delete"))

    mount.put("app", {"password": "two"})
    for name in ("delete", "retain", "merge"):
        scene.until_values(name, {"password": "two"})


def test_drift_is_repaired_at_once(scene: Scene, mount: Mount) -> None:
    mount.put("app", {"password": "one"})
    scene.want("app", data=keys("app", "password"))
    scene.until_values("app", {"password": "one"})
    theirs = base64.b64encode(b"theirs").decode()
    scene.patch("Secret", "app", {"data": {"password": theirs, "more": theirs}})
    scene.until_values("app", {"password": "one"})
    scene.delete("Secret", "app")
    scene.until_values("app", {"password": "one"})
    scene.label("Secret", "app", **{MANAGED: None})
    until("the label is back", lambda: scene.find("Secret", "app")["metadata"]["labels"].get(MANAGED) == "true")
    until("an event tells of it", lambda: "Repaired" in scene.events("app"))
    assert scene.find("Secret", "app")["metadata"]["ownerReferences"][0]["name"] == "app"


def test_a_renamed_target_takes_the_old_secret_away(scene: Scene, mount: Mount) -> None:
    mount.put("app", {"password": "one"})
    scene.want("app", data=keys("app", "password"), target={"name": "old"})
    scene.until_values("old", {"password": "one"})
    scene.change("app", target={"name": "new"})
    scene.until_values("new", {"password": "one"})
    scene.until_gone("Secret", "old")
