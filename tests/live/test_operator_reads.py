"""When the running operator reads, from which store, and as whom; and that it rests when nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import Operator
from testbed.processes import Yard
from testbed.vault import Vault
from tests.live.troupe import Scene, hire, keys, settle, until, until_refreshed, vault_provider


@pytest.fixture(scope="module")
def operator(yard: Yard, control_plane: ControlPlane, vault: Vault, kubernetes_auth: str) -> Iterator[Operator]:
    """The operator of this module."""
    with hire(yard, control_plane, vault, name="reads") as operator:
        yield operator


@pytest.fixture
def scene(operator: Operator, control_plane: ControlPlane, namespace: str, mount: Mount) -> Scene:
    """A namespace with the account `app` and the SecretStore `vault` over the mount."""
    return settle(control_plane, namespace, mount)


def test_when_values_are_read_again(operator: Operator, scene: Scene, mount: Mount) -> None:
    mount.put("app", {"password": "one"})
    read: dict[str, Any] = {"data": keys("app", "password"), "refreshInterval": "1s"}
    scene.want("always", **read)
    scene.want("once", **read, refreshPolicy="CreatedOnce")
    scene.want("change", **read, refreshPolicy="OnChange")
    scene.want("never", **read | {"refreshInterval": "0s"})
    names = ("once", "change", "never")
    for name in ("always", *names):
        scene.until_values(name, {"password": "one"})
    mount.put("app", {"password": "two"})
    scene.until_values("always", {"password": "two"})
    until_refreshed(operator, scene, "always", times=2)
    assert [scene.values(name)["password"] for name in names] == ["one", "one", "one"]

    for name in names:
        scene.annotate("ExternalSecret", name, **{"external-secrets.io/force-sync": "now"})
    scene.until_values("change", {"password": "two"})
    until_refreshed(operator, scene, "always", times=2)
    # an interval of 0s is once and never again, as with CreatedOnce, force-sync or not
    assert [scene.values(name)["password"] for name in ("once", "never")] == ["one", "one"]
    # drift counts for all policies: the repair reads anew
    for name in ("once", "never"):
        scene.delete("Secret", name)
        scene.until_values(name, {"password": "two"})
    scene.want("hourly", data=keys("app", "password"))
    scene.until_values("hourly", {"password": "two"})
    mount.put("app", {"password": "three"})
    scene.annotate("ExternalSecret", "hourly", **{"external-secrets.io/force-sync": "now"})
    scene.until_values("hourly", {"password": "three"})


def test_a_cluster_store_serves_the_namespaces_of_its_conditions(
    scene: Scene, control_plane: ControlPlane, mount: Mount, vault: Vault
) -> None:
    mount.put("app", {"password": "one"})
    other = scene.at(f"{scene.namespace}-denied")
    control_plane.create_namespace(other.namespace)
    provider = vault_provider(vault, f"{mount.path}-{scene.namespace}", path=mount.path, version="v2")
    provider["auth"]["kubernetes"]["serviceAccountRef"]["namespace"] = scene.namespace
    name = scene.namespace
    conditions = [{"namespaces": [scene.namespace]}]
    scene.create("ClusterSecretStore", name, spec={"provider": {"vault": provider}, "conditions": conditions})
    try:
        for place in (scene, other):
            place.want("app", secretStoreRef={"kind": "ClusterSecretStore", "name": name}, data=keys("app", "password"))
        scene.until_values("app", {"password": "one"})
        until("the other one is refused", lambda: other.ready("app")[0] == "False")
        assert "denied by spec.condition" in other.ready("app")[2]
        assert other.find("Secret", "app") is None

        by_label = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": other.namespace}}}]
        scene.patch("ClusterSecretStore", name, {"spec": {"conditions": by_label}})
        other.until_values("app", {"password": "one"})
    finally:
        scene.delete("ClusterSecretStore", name)
        control_plane.api("DELETE", f"/api/v1/namespaces/{other.namespace}")


def test_an_external_secret_logs_in_as_the_workload_it_names(
    scene: Scene, control_plane: ControlPlane, mount: Mount, vault: Vault
) -> None:
    mount.put("app", {"password": "one"})
    control_plane.create_service_account(scene.namespace, "payer")
    role = f"{mount.path}-payer"
    vault.kubernetes_role(
        role, accounts=["payer"], namespaces=[scene.namespace], policies=[mount.policy], audience="vault"
    )
    # without an account of its own, the store leaves the login to those who name one
    provider = vault_provider(vault, role, path=mount.path, version="v2")
    del provider["auth"]["kubernetes"]["serviceAccountRef"]
    scene.store("workload", provider)
    reads: dict[str, Any] = {"secretStoreRef": {"name": "workload"}, "data": keys("app", "password")}
    identity = {"serviceAccountRef": {"name": "payer", "audiences": ["vault"]}}
    scene.want("named", **reads, identity=identity)
    scene.want("unnamed", **reads)
    scene.until_values("named", {"password": "one"})
    until("the unnamed one is refused", lambda: scene.ready("unnamed")[0] == "False")
    assert scene.find("Secret", "unnamed") is None


def test_logins_by_token_and_approle(scene: Scene, mount: Mount, vault: Vault) -> None:
    mount.put("app", {"password": "one"})
    token = vault.api("POST", "auth/token/create", {"policies": [mount.policy], "ttl": "10m"})["auth"]["client_token"]
    if "approle/" not in vault.api("GET", "sys/auth")["data"]:
        vault.enable("auth", "approle", at="approle")
    role = f"auth/approle/role/{mount.path}"
    vault.api("POST", role, {"token_policies": [mount.policy], "token_ttl": "10m"})
    role_id = vault.api("GET", f"{role}/role-id")["data"]["role_id"]
    secret_id = vault.api("POST", f"{role}/secret-id")["data"]["secret_id"]
    scene.create("Secret", "login", stringData={"token": token, "secret-id": secret_id})
    where = {"server": vault.url, "path": mount.path, "version": "v2"}
    by_role = {"roleId": role_id, "secretRef": {"name": "login", "key": "secret-id"}}
    scene.store("token", {**where, "auth": {"tokenSecretRef": {"name": "login", "key": "token"}}})
    scene.store("approle", {**where, "auth": {"appRole": by_role}})
    for name in ("token", "approle"):
        scene.want(name, secretStoreRef={"name": name}, data=keys("app", "password"))
        scene.until_values(name, {"password": "one"})
    assert vault.ask("GET", "auth/token/lookup-self", token=token).status == 200


def test_nothing_is_written_when_nothing_changes(operator: Operator, scene: Scene, mount: Mount) -> None:
    mount.put("app", {"password": "one"})
    scene.want("app", refreshInterval="1s", data=keys("app", "password"))
    scene.until_values("app", {"password": "one"})
    until_refreshed(operator, scene, "app")

    def versions() -> list[str]:
        found = [scene.find(kind, "app") for kind in ("Secret", "ExternalSecret")] + [
            scene.find("SecretStore", "vault")
        ]
        return [each["metadata"]["resourceVersion"] for each in found]

    before = versions()
    until_refreshed(operator, scene, "app", times=3)
    assert versions() == before
