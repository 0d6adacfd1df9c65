"""What users get wrong, on the running operator: it says what and where, keeps the last good Secret, and recovers.

A test mends the cause and touches nothing else: no annotation, no restart.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leasehold.domain.report import Stage
from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import Operator
from testbed.processes import Yard
from testbed.vault import Vault
from tests.live.cast import Cast, engage


@pytest.fixture(scope="module")
def operator(yard: Yard, control_plane: ControlPlane, vault: Vault, kubernetes_auth: str) -> Iterator[Operator]:
    """The operator of this module."""
    with engage(yard, control_plane, vault, name="operator-bad-input") as operator:
        yield operator


@pytest.fixture
def cast(operator: Operator, control_plane: ControlPlane, vault: Vault, mount: Mount, namespace: str) -> Cast:
    """A user whose ExternalSecret `app` is synced."""
    cast = Cast(operator, control_plane, vault, mount, namespace)
    cast.settle()
    cast.want()
    cast.wait_ready(password="one")
    return cast


def test_a_store_that_is_not_there(cast: Cast) -> None:
    with cast.keeping():
        cast.delete("SecretStore", "vault")
        cast.wait_failed(containing=("SecretStore vault does not exist (spec.data[0])", "create it"))
    cast.mount.put("app", {"password": "two"})
    cast.store()
    cast.wait_ready(password="two")


def test_a_store_of_another_controller_is_left_to_it(cast: Cast) -> None:
    cast.store("theirs", controller="theirs")
    cast.want("theirs", secretStoreRef={"name": "theirs"})
    # one that comes later, and one after it, are served: so the first was passed over
    for name in ("later", "last"):
        cast.want(name)
        cast.wait_ready(name)
    assert cast.status("theirs") == {}
    assert cast.secret("theirs") is None
    cast.store("theirs")
    cast.wait_ready("theirs", "one")


def test_a_vault_role_that_is_not_there(cast: Cast) -> None:
    with cast.keeping():
        cast.store(role=f"{cast.namespace}-later")
        cast.wait_unusable(f"{cast.namespace}-later", "create the role")
    cast.mount.put("app", {"password": "two"})
    cast.vault.kubernetes_role(
        f"{cast.namespace}-later", accounts=["app"], namespaces=[cast.namespace], policies=[cast.mount.policy]
    )
    cast.wait_ready(password="two")


def test_a_wrong_audience(cast: Cast) -> None:
    with cast.keeping():
        cast.store(audience="other")
        cast.wait_unusable("expects another audience", "auth/kubernetes", "give the audience of the role")
    cast.mount.put("app", {"password": "two"})
    cast.allow(audience="other")
    cast.wait_ready(password="two")


def test_a_service_account_that_was_deleted(cast: Cast) -> None:
    cast.allow(token_ttl="2s", token_max_ttl="2s")
    cast.store(readYourWrites=False)  # log in anew
    with cast.keeping():
        cast.delete("ServiceAccount", "app")
        cast.wait_unusable("does not exist", f"(ServiceAccount {cast.namespace}/app)", "create it")
    cast.mount.put("app", {"password": "two"})
    cast.plane.create_service_account(cast.namespace, "app")
    cast.wait_ready(password="two")


def test_a_path_that_is_gone(cast: Cast) -> None:
    with cast.keeping():
        cast.mount.destroy("app")
        cast.wait_failed(containing=("has nothing at this path", f"{cast.mount.path}/data/app", "write the secret"))
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two")


def test_a_property_that_is_gone(cast: Cast) -> None:
    with cast.keeping():
        cast.mount.put("app", {"username": "u"})
        cast.wait_failed(containing=("no property password", "app"))
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two")


def test_a_version_that_was_deleted(cast: Cast) -> None:
    with cast.keeping():
        cast.mount.delete("app")
        cast.wait_failed(containing=("version is deleted", f"{cast.mount.path}/data/app", "undelete it"))
    cast.mount.put("app", {"password": "two"})
    cast.wait_ready(password="two")


def test_a_duration_that_is_none(cast: Cast) -> None:
    with cast.keeping():
        cast.want(refreshInterval="5 parsecs")
        cast.wait_failed(containing=("invalid duration", "(spec.refreshInterval)", "write 1h0m0s"))
    cast.mount.put("app", {"password": "two"})
    cast.want()
    cast.wait_ready(password="two")


def test_two_keys_that_become_one(cast: Cast) -> None:
    cast.want("all", dataFrom=[{"extract": {"key": "app"}}])
    with cast.keeping("all"):
        cast.mount.put("app", {"password": "two", "a b": "1", "a/b": "2"})
        cast.wait_failed("all", containing=("two remote keys become a_b (spec.dataFrom[0])", "conversionStrategy"))
    cast.want("all", dataFrom=[{"extract": {"key": "app", "conversionStrategy": "Unicode"}}])
    assert cast.wait_ready("all", "two").values == {"password": "two", "a_U0020_b": "1", "a_U002f_b": "2"}


def test_a_target_of_another_external_secret(cast: Cast) -> None:
    cast.mount.put("second", {"password": "two"})
    with cast.keeping():
        cast.want("second", remote="second", target={"name": "app"})
        where = f"(Secret {cast.namespace}/app)"
        cast.wait_failed(
            "second", stage=Stage.OWNED, containing=("belongs to ExternalSecret app", where, "target.name")
        )
    assert cast.condition().status == "True"
    cast.delete("ExternalSecret", "app")
    cast.until("second to own the target", lambda: cast.condition("second").status == "True")
    published = cast.secret()
    assert published is not None
    assert published.values == {"password": "two"}


def test_a_target_that_is_immutable(cast: Cast) -> None:
    cast.want("fixed", target={"immutable": True})
    with cast.keeping("fixed"):
        cast.mount.put("app", {"password": "two"})
        where = f"(Secret {cast.namespace}/fixed)"
        cast.wait_failed("fixed", stage=Stage.IMMUTABLE, containing=("keeps its old data", where, "delete the Secret"))
    cast.delete("Secret", "fixed")
    cast.wait_ready("fixed", "two")


def test_a_right_that_is_missing(cast: Cast) -> None:
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/leasehold"
    whole = cast.plane.api("GET", role)
    cut = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if (verb, rule["resources"]) != ("update", ["secrets"])]}
        for rule in whole["rules"]
    ]
    assert cut != whole["rules"]
    try:
        with cast.keeping():
            cast.plane.api("PUT", role, {**whole, "rules": cut})
            cast.mount.put("app", {"password": "two"})
            told = ("may not update secrets", f"{cast.namespace}/app", "grant it in the operator's role")
            cast.wait_failed(stage=Stage.WRITE, containing=told)
    finally:
        now = cast.plane.api("GET", role)
        cast.plane.api("PUT", role, {**now, "rules": whole["rules"]})
    cast.wait_ready(password="two", patience=75.0)  # what somebody has to grant is tried again ever more slowly
