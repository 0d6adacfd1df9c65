"""docs/examples/vault.sh on a Vault of its own: each of its three logins can do its work, and no more."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed import binaries
from testbed.controlplane import ControlPlane
from testbed.operator import Operator
from testbed.postgres import ADMIN, Postgres
from testbed.processes import Yard
from testbed.vault import REVIEWER, Vault

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
LEASE_TTL = 10
"""Seconds: short, so that a renewal is seen soon."""
OPERATOR = ("vault-script-operator", "leasehold")


@dataclass(frozen=True, slots=True)
class World:
    """What the script has made, and how to log in to it."""

    plane: ControlPlane
    vault: Vault
    postgres: Postgres

    def log_in(self, role: str, *, namespace: str = "payments", account: str = "payments") -> str:
        """Return a Vault token, got by the JWT of an account."""
        return self.vault.kubernetes_login(
            role, self.plane.service_account_token(namespace, account, audiences=["vault"])
        )


@pytest.fixture(scope="module")
def world(yard: Yard, control_plane: ControlPlane, postgres: Postgres, vault: Vault) -> Iterator[World]:
    """Run the script; the shared Vault is only asked for so that its reviewer account is there."""
    vault.configure_kubernetes_auth(control_plane)
    plane = control_plane
    plane.kubectl.apply_files(EXAMPLES / "quickstart" / "10-namespace.yaml", namespace="payments")
    plane.create_namespace(OPERATOR[0])
    plane.create_service_account(*OPERATOR)
    authority = yard.folder / "vault-script-ca.pem"
    authority.write_text(plane.ca_pem, encoding="utf-8")
    with Vault(yard, name="vault-script", storage="memory") as own:
        own.disable("secret", at="secret")  # the script mounts it where it is missing
        reviewer = plane.service_account_token("kube-system", REVIEWER)
        environ = {
            "PATH": f"{binaries.find('vault').parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(yard.folder),
            "VAULT_ADDR": own.url,
            "VAULT_TOKEN": own.root_token,
            "OPERATOR_NAMESPACE": OPERATOR[0],
            "KUBERNETES_HOST": plane.url,
            "KUBERNETES_CONFIG": " ".join(
                (f"kubernetes_ca_cert=@{authority}", f"token_reviewer_jwt={reviewer}", "disable_local_ca_jwt=true")
            ),
            "POSTGRES_HOST": f"127.0.0.1:{postgres.port}",
            "POSTGRES_USER": ADMIN,
            "POSTGRES_PASSWORD": postgres.admin_password,
            "LEASE_TTL": f"{LEASE_TTL}s",
        }
        done = subprocess.run(
            ["sh", EXAMPLES / "vault.sh"], env=environ, capture_output=True, text=True, check=False, cwd=yard.folder
        )
        assert not done.returncode, done.stderr
        yield World(plane, own, postgres)
    plane.kubectl.run("delete", "namespace", "payments", OPERATOR[0], "--wait")


def test_the_reader_reads_its_own_secrets_and_no_others(world: World) -> None:
    token = world.log_in("payments")
    assert world.vault.ask("GET", "secret/data/payments/settings", token=token).body["data"]["data"] == {
        "feature": "on",
        "greeting": "good morning",
    }
    assert world.vault.ask("GET", "secret/data/other", token=token).status == 403
    assert world.vault.ask("GET", "database/creds/payments", token=token).status == 403


def test_the_owner_mints_users_that_end_by_themselves(world: World) -> None:
    token = world.log_in("payments-database")
    answer = world.vault.ask("GET", "database/creds/payments", token=token).body
    user, password = answer["data"]["username"], answer["data"]["password"]
    (row,) = world.postgres.query(
        "select current_user, rolvaliduntil > now() from pg_roles where rolname = current_user",
        user=user,
        password=password,
    )
    assert row == [user, "t"]
    assert (answer["lease_duration"], answer["renewable"]) == (LEASE_TTL, True)
    # without Vault's default policy a lease cannot be shortened by whoever knows its id
    assert (
        world.vault.ask("PUT", "sys/leases/renew", {"lease_id": answer["lease_id"], "increment": 1}, token=token).status
        == 403
    )


def test_the_owner_has_no_maximum_life(world: World) -> None:
    token = world.log_in("payments-database")
    accessor = world.vault.api("POST", "auth/token/lookup", {"token": token})["data"]
    assert (accessor["period"], accessor["type"], accessor["policies"]) == (86_400, "service", ["payments-database"])


def test_the_operator_keeps_and_ends_leases_and_reads_nothing(world: World) -> None:
    owner = world.log_in("payments-database")
    lease = world.vault.ask("GET", "database/creds/payments", token=owner).body
    accessor = world.vault.api("POST", "auth/token/lookup", {"token": owner})["data"]["accessor"]
    operator = world.log_in("leasehold", namespace=OPERATOR[0], account=OPERATOR[1])

    def ask(path: str, body: dict[str, object]) -> int:
        return int(world.vault.ask("POST", path, body, token=operator).status)

    assert ask("auth/token/renew-accessor", {"accessor": accessor}) == 200
    assert ask("auth/token/lookup-accessor", {"accessor": accessor}) == 200
    assert ask("sys/leases/renew", {"lease_id": lease["lease_id"], "increment": 30}) == 200
    assert ask("sys/leases/lookup", {"lease_id": lease["lease_id"]}) == 200
    for path in ("secret/data/payments/settings", "database/creds/payments"):
        assert world.vault.ask("GET", path, token=operator).status == 403
    assert ask("auth/token/revoke-accessor", {"accessor": accessor}) in {200, 204}
    assert world.postgres.query(f"select count(*) from pg_roles where rolname = '{lease['data']['username']}'") == [
        ["0"]
    ]


@pytest.mark.parametrize("role", ["payments", "payments-database", "leasehold"])
def test_other_accounts_are_refused(world: World, role: str) -> None:
    jwt = world.plane.service_account_token("payments", "default", audiences=["vault"])
    assert world.vault.ask("POST", "auth/kubernetes/login", {"role": role, "jwt": jwt}).status == 403


@pytest.mark.parametrize("role", ["payments", "payments-database"])
def test_tokens_for_the_api_server_are_refused(world: World, role: str) -> None:
    jwt = world.plane.service_account_token("payments", "payments")
    assert world.vault.ask("POST", "auth/kubernetes/login", {"role": role, "jwt": jwt}).status == 403


@pytest.fixture
def operator(yard: Yard, world: World) -> Iterator[Operator]:
    """An operator with rights in one namespace only, and the identity at Vault that the script gives it."""
    settings = {"LEASEHOLD_VAULT_OPERATOR_ROLE": "leasehold", "LEASEHOLD_VAULT_OPERATOR_AUDIENCE": "vault"}
    operator = Operator(
        yard, world.plane, name="operator-script", namespace=OPERATOR[0], scoped="payments", settings=settings
    )
    operator.install()
    operator.start()
    yield operator
    operator.stop()


def test_the_quickstart_runs_with_rights_in_one_namespace(world: World, operator: Operator) -> None:
    kubectl, namespace = world.plane.kubectl, "--namespace=payments"
    files = sorted((EXAMPLES / "quickstart").glob("*.yaml"))
    text = "\n---\n".join(file.read_text(encoding="utf-8") for file in files)
    kubectl.run("apply", "--filename=-", text=text.replace("http://127.0.0.1:8200", world.vault.url))

    def leases() -> list[dict[str, str]]:
        status = kubectl.get("externalsecret", "database", namespace).get("status") or {}
        return list(status.get("leases") or [])

    operator.process.wait_until(lambda: bool(leases()), "publishing a lease")
    first = leases()[0]
    # a renewal goes by the operator's own login, for which it asks a token of its own account
    operator.process.wait_until(lambda: leases()[0]["expiresAt"] > first["expiresAt"], "renewing the lease")
    assert leases()[0]["fingerprint"] == first["fingerprint"]
    settings = kubectl.get("secret", "settings", namespace)["data"]
    assert set(settings) == {"feature", "greeting"}
    user = base64.b64decode(kubectl.get("secret", "database", namespace)["data"]["username"]).decode()
    count = f"select count(*) from pg_roles where rolname = '{user}'"
    assert world.postgres.query(count) == [["1"]]
    kubectl.run("delete", "externalsecret", "database", namespace, "--wait")
    operator.process.wait_until(lambda: world.postgres.query(count) == [["0"]], "revoking the lease")
    refused = [
        entry["objectRef"]
        for entry in map(json.loads, world.plane.audit_log.read_text(encoding="utf-8").splitlines())
        if entry["user"].get("username") == operator.user
        and entry.get("responseStatus", {}).get("code") == 403
        and "being terminated" not in entry["responseStatus"].get("message", "")
    ]
    assert refused == []
