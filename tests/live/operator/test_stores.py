"""Stores: who logs in and how, whose they are, and who may use them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from testbed import certificates
from testbed.vault import Vault
from tests.live.operator.cluster import Body, Spot, ready_condition
from tests.live.operator.tenant import Tenant, distinct

pytestmark = pytest.mark.usefixtures("operator")


# ---------------------------------------------------------------------------------------------------------- who logs in


def app_role(user: Tenant) -> Body:
    vault, name = enabled(user.vault, "approle"), user.role
    vault.api("POST", f"auth/approle/role/{name}", {"token_policies": [user.mount.policy]})
    role_id = vault.api("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
    secret_id = vault.api("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]
    user.put_secret("login", {"secret-id": secret_id, "role-id": role_id})
    references = {"roleRef": {"name": "login", "key": "role-id"}, "secretRef": {"name": "login", "key": "secret-id"}}
    return {"appRole": {"path": "approle", **references}}


def user_pass(user: Tenant) -> Body:
    body = {"password": "a pass word", "token_policies": [user.mount.policy]}
    enabled(user.vault, "userpass").api("POST", f"auth/userpass/users/{user.role}", body)
    user.put_secret("login", {"password": "a pass word"})
    return {"userPass": {"username": user.role, "secretRef": {"name": "login", "key": "password"}}}


def token(user: Tenant) -> Body:
    made = user.vault.api("POST", "auth/token/create", {"policies": [user.mount.policy], "ttl": "1h"})
    user.put_secret("login", {"token": made["auth"]["client_token"]})
    return {"tokenSecretRef": {"name": "login", "key": "token"}}


def jwt(user: Tenant) -> Body:
    vault = enabled(user.vault, "jwt")
    keys = user.cluster.plane.api("GET", "/openid/v1/jwks")["keys"]
    vault.api("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [_pem(keys[0])]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
    bound = {"bound_subject": f"system:serviceaccount:{user.namespace}:app", "token_policies": [user.mount.policy]}
    vault.api("POST", f"auth/jwt/role/{user.role}", role | bound)
    account = {"serviceAccountRef": {"name": "app", "audiences": ["vault"]}}
    return {"jwt": {"path": "jwt", "role": user.role, "kubernetesServiceAccountToken": account}}


def stored_jwt(user: Tenant) -> Body:
    made = user.cluster.plane.service_account_token(user.namespace, "app", audiences=["vault"])
    user.put_secret("login", {"token": made})
    return {"kubernetes": {"mountPath": "kubernetes", "role": user.role, "secretRef": {"name": "login"}}}


def enabled(vault: Vault, method: str) -> Vault:
    if f"{method}/" not in vault.api("GET", "sys/auth")["data"]:
        vault.enable("auth", method, at=method)
    return vault


def _pem(key: dict[str, str]) -> str:
    n, e = (int.from_bytes(base64.urlsafe_b64decode(key[part] + "==")) for part in ("n", "e"))
    public = rsa.RSAPublicNumbers(e, n).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize("method", [token, app_role, user_pass, jwt, stored_jwt], ids=lambda method: method.__name__)
def test_each_way_to_log_in(user: Tenant, method: Callable[[Tenant], Body]) -> None:
    value = distinct()
    user.mount.put("app", {"password": value})
    user.store(auth=method(user))
    user.want()
    user.until_values({"password": value})


def test_a_certificate_logs_in_where_the_authority_is_in_a_config_map(user: Tenant, tls_vault: Vault) -> None:
    value, authority = distinct(), certificates.found("clients")
    tls_vault.api("POST", f"secret/data/{user.namespace}", {"data": {"password": value}})
    tls_vault.write_policy("reader", 'path "secret/data/*" { capabilities = ["read"] }')
    enabled(tls_vault, "cert").api(
        "POST", "auth/cert/certs/team", {"certificate": authority.pem, "token_policies": ["reader"]}
    )
    certificate, key = authority.issue("team")
    user.put_secret("login", {"tls.crt": certificate, "tls.key": key}, type="kubernetes.io/tls")
    user.cluster.apply("ConfigMap", "authority", {"data": {"ca.pem": tls_vault.ca_pem}}, namespace=user.namespace)
    user.store(
        server=tls_vault.url,
        path="secret",
        auth={"cert": {"clientCert": {"name": "login"}, "secretRef": {"name": "login"}}},
        caProvider={"type": "ConfigMap", "name": "authority", "key": "ca.pem"},
    )
    user.want(dataFrom=[{"extract": {"key": user.namespace}}])
    user.until_values({"password": value})


def test_a_workload_logs_in_in_the_store_s_place(user: Tenant) -> None:
    value = distinct()
    user.mount.put("app", {"password": value})
    user.cluster.plane.create_service_account(user.namespace, "workload")
    user.mount.kubernetes_role(namespace=user.namespace, accounts=["app", "workload"], audience="vault")
    user.store()
    user.until_ready("vault", kind="SecretStore")
    user.mount.kubernetes_role(namespace=user.namespace, accounts=["workload"], audience="vault")
    # the store's own account may no longer log in, and is not asked to
    user.want(identity={"serviceAccountRef": {"name": "workload"}})
    user.until_values({"password": value})
    user.want("other", identity={"serviceAccountRef": {"name": "app"}})
    user.until_failed("other", "could not get secret data from provider: ", "not bound to this account", user.role)


# -------------------------------------------------------------------------------------------------- whose a store is


def test_a_store_tells_that_it_works(tenant: Tenant) -> None:
    store = tenant.until_ready("vault", kind="SecretStore")
    ready = ready_condition(store)
    assert ready is not None
    assert (ready["reason"], ready["message"]) == ("Valid", "store validated")
    assert store["status"]["capabilities"] == "ReadWrite"


def test_a_store_of_another_class_is_left_alone(tenant: Tenant) -> None:
    theirs = tenant.store("theirs", spec={"controller": "somebody-else"})
    tenant.want("theirs", secretStoreRef={"name": "theirs"})
    tenant.want("ours")
    tenant.until_ready("ours")
    for spot in (theirs, tenant.spot("theirs")):
        body = tenant.cluster.get(spot)
        assert body is not None
        assert "status" not in body
    assert tenant.secret("theirs") is None
    # and is taken up the moment it is ours
    tenant.store("theirs", spec={"controller": "default"})
    tenant.until_ready("theirs")


@pytest.fixture
def cluster_store(user: Tenant) -> Iterator[Callable[..., str]]:
    """Writes a ClusterSecretStore of the test's own, with conditions; its account lives in the user's namespace."""
    name = f"store-{user.namespace}"

    def write(*conditions: Body, **changes: Any) -> str:
        provider = user.provider(**changes)
        account = provider["auth"]["kubernetes"]["serviceAccountRef"]
        account.setdefault("namespace", user.namespace)
        body = {"spec": {"provider": {"vault": provider}, "conditions": list(conditions)}}
        user.cluster.apply("ClusterSecretStore", name, body)
        return name

    yield write
    user.cluster.plane.start_api()
    user.cluster.remove(Spot("ClusterSecretStore", "", name))


def reference(name: str) -> dict[str, str]:
    return {"name": name, "kind": "ClusterSecretStore"}


def test_a_store_of_the_whole_cluster(user: Tenant, cluster_store: Callable[..., str]) -> None:
    value = distinct()
    user.mount.put("app", {"password": value})
    name = cluster_store()
    user.want(secretStoreRef=reference(name))
    user.until_values({"password": value})
    store = user.cluster.get(Spot("ClusterSecretStore", "", name))
    ready = ready_condition(store)
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("True", "Valid")


@pytest.mark.parametrize("form", ["names", "selector", "regexes"])
def test_a_store_for_some_namespaces(user: Tenant, cluster_store: Callable[..., str], form: str) -> None:
    user.mount.put("app", {"password": distinct()})
    others: dict[str, Body] = {
        "names": {"namespaces": ["elsewhere"]},
        "selector": {"namespaceSelector": {"matchLabels": {"vault": "yes"}}},
        "regexes": {"namespaceRegexes": ["^elsewhere-"]},
    }
    name = cluster_store(others[form])
    user.want(secretStoreRef=reference(name))
    user.until_failed(
        "app",
        "could not get secret data from provider: ",
        f'using cluster store "{name}" is not allowed from namespace "{user.namespace}": denied by spec.condition',
    )
    if form == "names":
        cluster_store({"namespaces": ["elsewhere", user.namespace]})
    elif form == "selector":
        user.cluster.patch(Spot("Namespace", "", user.namespace), {"metadata": {"labels": {"vault": "yes"}}})
    else:
        cluster_store({"namespaceRegexes": ["^elsewhere-", user.namespace[2:]]})
    user.until_ready()


def test_a_store_of_the_cluster_that_logs_in_as_the_namespace_s_own_account(
    user: Tenant, cluster_store: Callable[..., str]
) -> None:
    value = distinct()
    user.mount.put("app", {"password": value})
    provider = user.provider()
    body = {"spec": {"provider": {"vault": provider}}}
    name = cluster_store()
    user.cluster.apply("ClusterSecretStore", name, body)
    user.want(secretStoreRef=reference(name))
    user.until_values({"password": value})
    store = user.cluster.until(
        Spot("ClusterSecretStore", "", name),
        lambda found: (ready_condition(found) or {}).get("reason") == "ValidationUnknown",
        "of unknown validity",
    )
    assert store is not None


def test_a_provider_that_is_not_ours_to_serve(user: Tenant) -> None:
    body = {"spec": {"provider": {"akeyless": {"akeylessGWApiURL": "https://example.com", "authSecretRef": {}}}}}
    user.cluster.apply("SecretStore", "theirs", body, namespace=user.namespace)
    condition = user.until_failed("theirs", "akeyless", kind="SecretStore")
    assert condition["reason"] == "InvalidProviderConfig"


def test_the_fake_provider(user: Tenant) -> None:
    body = {"spec": {"provider": {"fake": {"data": [{"key": "/a", "value": '{"x": "1"}'}]}}}}
    user.cluster.apply("SecretStore", "fake", body, namespace=user.namespace)
    user.want(secretStoreRef={"name": "fake"}, dataFrom=[{"extract": {"key": "/a"}}])
    user.until_values({"x": "1"})
