"""Bad input: the condition names object, path and remedy, the last good Secret stays, and mending it is enough."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from testbed import certificates
from testbed.vault import Vault
from tests.live.operator.cluster import Spot
from tests.live.operator.lender import Lender
from tests.live.operator.tenant import Tenant, distinct, keyed, whole

pytestmark = pytest.mark.usefixtures("operator")
FETCH = "could not get secret data from provider: "


@pytest.fixture
def synced(tenant: Tenant) -> Tenant:
    """A user with a good Secret, and a refresh each second."""
    tenant.want(refreshInterval="1s")
    tenant.until_values(tenant.mount.get("app"))
    tenant.until_ready()
    return tenant


def failed(tenant: Tenant, *texts: str, stage: str = FETCH) -> None:
    """Wait for a failure whose message begins as ESO's does, and see that the Secret is untouched by it."""
    before = tenant.values()
    condition = tenant.until_failed("app", *texts)
    assert condition["message"].startswith(stage), condition["message"]
    assert condition["reason"] == "SecretSyncedError"
    assert "; " in condition["message"], "no remedy"
    tenant.until_told("app", "UpdateFailed", *texts)
    assert tenant.values() == before


# ------------------------------------------------------------------------------------------------------------- stores


def test_an_unknown_store(synced: Tenant) -> None:
    synced.want(secretStoreRef={"name": "nope"}, refreshInterval="1s")
    failed(synced, "SecretStore nope does not exist (spec.dataFrom[0])")
    synced.store("nope")
    synced.until_ready()


def test_a_store_that_is_not_ready(synced: Tenant) -> None:
    synced.store("other", auth=synced.login(role=f"{synced.role}-other"))
    synced.want(secretStoreRef={"name": "other"}, refreshInterval="1s")
    store = synced.until_failed("other", "unable to validate store: ", f"{synced.role}-other", kind="SecretStore")
    assert store["reason"] == "InvalidProviderConfig"
    assert "Vault at" in store["message"]
    assert "no role of that name" in store["message"]
    failed(synced, 'SecretStore "other" is not ready', "see its conditions")
    # mended in Vault, of which nobody tells the operator
    synced.vault.kubernetes_role(
        f"{synced.role}-other",
        accounts=["app"],
        namespaces=[synced.namespace],
        policies=[synced.mount.policy],
        audience="vault",
    )
    synced.until_ready("other", kind="SecretStore")
    synced.until_ready()


def test_a_wrong_audience(user: Tenant) -> None:
    user.mount.put("app", {"password": distinct()})
    user.store(auth=user.login(audiences=["somebody-else"]))
    user.want()
    user.until_failed("vault", "expects another audience", f"role {user.role}", kind="SecretStore")
    failed(user, 'SecretStore "vault" is not ready')
    user.store()
    user.until_ready()


def test_a_deleted_account(synced: Tenant) -> None:
    plane, account = synced.cluster.plane, Spot("ServiceAccount", synced.namespace, "gone")
    plane.create_service_account(synced.namespace, "gone")
    synced.cluster.remove(account)
    synced.until_gone(account)
    synced.store("late", auth=synced.login(account="gone"))
    synced.want(secretStoreRef={"name": "late"}, refreshInterval="1s")
    where = f"ServiceAccount {synced.namespace}/gone"
    synced.until_failed("late", "the ServiceAccount does not exist", where, "create it", kind="SecretStore")
    failed(synced, 'SecretStore "late" is not ready')
    plane.create_service_account(synced.namespace, "gone")
    synced.until_ready()


def test_an_account_of_the_workload_that_does_not_exist(synced: Tenant) -> None:
    synced.want(identity={"serviceAccountRef": {"name": "nope"}}, refreshInterval="1s")
    failed(synced, "the ServiceAccount does not exist", f"ServiceAccount {synced.namespace}/nope", "create it")
    synced.want(refreshInterval="1s")
    synced.until_ready()


def test_a_store_s_secret_that_does_not_exist(user: Tenant) -> None:
    user.mount.put("app", {"password": distinct()})
    user.store(auth={"tokenSecretRef": {"name": "nope", "key": "token"}})
    user.want()
    user.until_failed("vault", f"Secret {user.namespace}/nope", "create it", kind="SecretStore")
    token = user.vault.api("POST", "auth/token/create", {"policies": [user.mount.policy]})["auth"]["client_token"]
    user.put_secret("nope", {"token": token})
    user.until_ready()


def test_a_vault_namespace_that_the_server_would_ignore(user: Tenant) -> None:
    user.mount.put("app", {"password": distinct()})
    user.store(namespace="team")
    user.want()
    user.until_failed("vault", "Community Edition", "provider.vault.namespace", kind="SecretStore")
    failed(user, 'SecretStore "vault" is not ready')
    assert user.secret() is None
    user.store()
    user.until_ready()


def test_a_wrong_authority(user: Tenant, tls_vault: Vault) -> None:
    value = {"password": distinct()}
    tls_vault.api("POST", f"secret/data/{user.namespace}", {"data": value})
    user.put_secret("login", {"token": tls_vault.root_token})
    trusted, wrong = (
        base64.b64encode(pem.encode()).decode() for pem in (tls_vault.ca_pem, certificates.found("x").pem)
    )
    place: dict[str, Any] = {
        "server": tls_vault.url,
        "path": "secret",
        "auth": {"tokenSecretRef": {"name": "login", "key": "token"}},
    }
    user.want(dataFrom=whole(user.namespace))
    user.store(**place, caBundle=trusted)
    user.until_values(value)
    user.store(**place, caBundle=wrong)
    user.until_failed("vault", "the certificate of Vault at", tls_vault.url, "caBundle", kind="SecretStore")
    user.want(dataFrom=whole(user.namespace), refreshInterval="1s")
    failed(user, 'SecretStore "vault" is not ready')
    user.store(**place, caBundle=trusted)
    user.until_ready()


# ---------------------------------------------------------------------------------------------------- remote secrets


def test_a_missing_path(synced: Tenant) -> None:
    synced.want(dataFrom=whole("nope"), refreshInterval="1s")
    failed(synced, "has nothing at this path", f"({synced.mount.path}/data/nope)", "write the secret")
    synced.mount.put("nope", {"here": "now"})
    synced.until_values({"here": "now"})
    synced.until_ready()


def test_a_missing_property(synced: Tenant) -> None:
    synced.want(data=keyed("nope"), refreshInterval="1s")
    failed(synced, "nope", f"{synced.mount.path}/data/app")
    synced.want(data=keyed("password"), refreshInterval="1s")
    synced.until_ready()


def test_a_deleted_version(synced: Tenant) -> None:
    for _ in range(2):  # the same again is told again
        synced.mount.delete("app")
        failed(synced, "this version is deleted", f"({synced.mount.path}/data/app)", "write a new version")
        fresh = {"password": distinct()}
        synced.mount.put("app", fresh)
        synced.until_values(fresh)
        synced.until_ready()


def test_a_path_that_the_policy_denies(synced: Tenant) -> None:
    synced.vault.api("POST", f"secret/data/{synced.namespace}", {"data": {"n": "1"}})
    synced.store("other", path="secret")
    synced.want(secretStoreRef={"name": "other"}, dataFrom=whole(synced.namespace), refreshInterval="1s")
    failed(synced, "denies access", f"(secret/data/{synced.namespace})", "grant it in the policy")
    synced.want(refreshInterval="1s")
    synced.until_ready()


def test_a_mint_that_is_refused(lender: Lender) -> None:
    user = lender.user
    lender.generator(path=f"{lender.path}-nope")
    user.want(
        secretStoreRef=None, dataFrom=[{"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": "db"}}}]
    )
    failed(user, f"({lender.path}-nope)")
    assert not lender.leases()
    lender.generator()
    assert lender.admits(lender.values())
    assert lender.mints() == 1


def test_a_generator_that_does_not_exist(lender: Lender) -> None:
    user = lender.user
    lender.want()
    user.cluster.remove(user.spot("db", "VaultDynamicSecret"))
    values = lender.values()
    user.cluster.patch(user.spot(), {"metadata": {"annotations": {"external-secrets.io/force-sync": "1"}}})
    failed(user, f"VaultDynamicSecret {user.namespace}/db does not exist", "(spec.dataFrom[0])")
    assert lender.admits(values)
    lender.generator()
    assert lender.values() == values
    assert lender.mints() == 1


# ------------------------------------------------------------------------------------------------------------ objects


def test_an_invalid_duration(synced: Tenant) -> None:
    synced.want(refreshInterval="1 hour")
    failed(synced, "invalid duration", "(spec.refreshInterval)", "write 1h0m0s")
    synced.want(refreshInterval="1h")
    synced.until_ready()


def test_keys_that_collide(synced: Tenant) -> None:
    synced.mount.put("odd", {"a/b": "1", "a:b": "2"})
    synced.want(dataFrom=whole("odd"), refreshInterval="1s")
    failed(synced, "a_b", "spec.dataFrom[0]")
    synced.want(refreshInterval="1s")
    synced.until_ready()


def test_a_template_beyond_this_version(synced: Tenant) -> None:
    synced.want(target={"template": {"data": {"x": "{{ .password | upper }}"}}}, refreshInterval="1s")
    failed(synced, "spec.target.template", stage="could not apply template: ")
    synced.want(refreshInterval="1s")
    synced.until_ready()


# ------------------------------------------------------------------------------------------------------------ targets


def test_a_target_of_another_external_secret(synced: Tenant) -> None:
    synced.mount.put("second", {"second": "1"})
    synced.want("second", target={"name": "app"}, dataFrom=whole("second"))
    condition = synced.until_failed("second", "target is owned by another ExternalSecret: ")
    assert "it belongs to ExternalSecret app" in condition["message"]
    assert f"(Secret {synced.namespace}/app)" in condition["message"]
    assert "another target.name" in condition["message"]
    assert synced.values() == synced.mount.get("app")
    synced.cluster.remove(synced.spot())
    synced.until_values({"second": "1"})
    synced.until_ready("second")


def test_a_target_of_something_else(tenant: Tenant) -> None:
    made = tenant.cluster.apply("ConfigMap", "owner", {}, namespace=tenant.namespace)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": made["metadata"]["uid"]}
    tenant.put_secret("app", {"theirs": "1"}, metadata={"ownerReferences": [{**owner, "controller": True}]})
    tenant.want()
    failed(tenant, "it is controlled by ConfigMap owner", stage="failed to take ownership of target secret: ")
    assert tenant.values() == {"theirs": "1"}
    tenant.want(target={"name": "other"})
    tenant.until_ready()


def test_an_immutable_target(tenant: Tenant) -> None:
    first = tenant.mount.get("app")
    tenant.want(target={"immutable": True}, refreshInterval="1s")
    tenant.until_values(first)
    second = {"password": distinct()}
    tenant.mount.put("app", second)
    failed(
        tenant,
        f"it keeps its old data (Secret {tenant.namespace}/app)",
        "delete the Secret",
        stage="could not update secret, target is immutable: ",
    )
    tenant.cluster.remove(tenant.spot("app", "Secret"))
    tenant.until_values(second)
    tenant.until_ready()


def test_somebody_s_immutable_secret(tenant: Tenant) -> None:
    tenant.put_secret("app", {"theirs": "1"}, immutable=True)
    tenant.want()
    failed(tenant, "it is immutable", f"(Secret {tenant.namespace}/app)", stage="could not update secret: ")
    assert tenant.values() == {"theirs": "1"}
    tenant.want(target={"name": "other"})
    tenant.until_ready()


def test_more_than_a_secret_holds(tenant: Tenant) -> None:
    for name in ("one", "two"):
        tenant.mount.put(name, {name: distinct() * 18_000})
    tenant.want(dataFrom=[*whole("one"), *whole("two")])
    failed(tenant, f"{tenant.namespace}/app", stage="could not update secret: ")
    tenant.want()
    tenant.until_ready()


def test_a_namespace_that_ends(tenant: Tenant) -> None:
    tenant.want(refreshInterval="1s")
    tenant.until_ready()
    spot = Spot("Namespace", "", tenant.namespace)
    tenant.cluster.remove(spot)
    tenant.until_gone(spot)
    tenant.cluster.plane.create_namespace(tenant.namespace)  # for the fixture, which removes it
