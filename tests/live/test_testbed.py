"""The test bed keeps its promises: pods roll out, a workload's JWT logs in, a leased user reaches the database."""

import json
import secrets
from pathlib import Path

import psycopg
import pytest

from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.mounts import Mount
from testbed.pods import Kwok
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault


def deployment(name: str, **annotations: str) -> dict[str, object]:
    """A Deployment of two pods; the keyword arguments are annotations of its pods (`__` for `-`)."""
    labels = {"app": name}
    marks = {f"testbed.leasehold.dev/{key.replace('__', '-')}": value for key, value in annotations.items()}
    pod = {
        "metadata": {"labels": labels, "annotations": marks},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "progressDeadlineSeconds": 1, "selector": {"matchLabels": labels}, "template": pod},
    }


def test_a_deployment_rolls_out(control_plane: ControlPlane, pods: Kwok, namespace: str) -> None:
    kubectl = control_plane.kubectl
    kubectl.apply(deployment("web"), namespace=namespace)

    said = kubectl.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")

    assert "successfully rolled out" in said


def test_a_pod_fails_on_purpose(control_plane: ControlPlane, pods: Kwok, namespace: str) -> None:
    kubectl = control_plane.kubectl
    kubectl.apply(deployment("web", fail="BadPassword"), namespace=namespace)

    with pytest.raises(BedError, match="progress deadline"):
        kubectl.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")

    states = [pod["status"]["containerStatuses"][0]["state"] for pod in kubectl.get("pods", "-n", namespace)["items"]]
    assert [state["waiting"]["reason"] for state in states] == ["BadPassword", "BadPassword"]


def test_only_the_restart_fails_on_purpose(control_plane: ControlPlane, pods: Kwok, namespace: str) -> None:
    kubectl = control_plane.kubectl
    there = ("-n", namespace, "--timeout=60s")
    kubectl.apply(deployment("web", fail__with="kubectl.kubernetes.io/restartedAt"), namespace=namespace)
    kubectl.run("rollout", "status", "deployment/web", *there)

    kubectl.run("rollout", "restart", "deployment/web", "-n", namespace)

    with pytest.raises(BedError, match="progress deadline"):
        kubectl.run("rollout", "status", "deployment/web", *there)


def test_a_workload_logs_into_vault_and_reads_its_mount_only(
    control_plane: ControlPlane, vault: Vault, mount: Mount, namespace: str
) -> None:
    mount.put("app", {"password": "correct horse"})
    other = Mount.create(vault)
    other.put("app", {"password": "not yours"})
    control_plane.create_service_account(namespace, "payments")
    role = mount.kubernetes_role(namespace=namespace, accounts=["payments"], audience="vault")
    jwt = control_plane.service_account_token(namespace, "payments", audiences=["vault"], seconds=600)

    token = vault.kubernetes_login(role, jwt)

    answer = vault.api("GET", f"{mount.path}/data/app", token=token)
    assert answer["data"]["data"] == {"password": "correct horse"}
    assert vault.ask("GET", f"{other.path}/data/app", token=token).status == 403
    other.remove()


def test_vault_refuses_a_token_for_another_audience(
    control_plane: ControlPlane, vault: Vault, mount: Mount, namespace: str
) -> None:
    role = mount.kubernetes_role(namespace=namespace, accounts=["default"], audience="vault")
    jwt = control_plane.service_account_token(namespace, "default", audiences=["elsewhere"], seconds=600)

    answer = vault.ask("POST", "auth/kubernetes/login", {"role": role, "jwt": jwt})

    assert answer.status == 403


def test_a_leased_user_reaches_the_database_until_it_is_revoked(
    vault: Vault, postgres: Postgres, database: str
) -> None:
    role = f"app-{secrets.token_hex(4)}"
    vault.database_role(role, default_ttl="1m", max_ttl="2m")

    lease = vault.api("GET", f"{database}/creds/{role}")
    user, password = lease["data"]["username"], lease["data"]["password"]
    with psycopg.connect(postgres.dsn(user, password)) as connection:
        row = connection.execute(
            "SELECT current_user, rolvaliduntil IS NOT NULL FROM pg_roles WHERE rolname = current_user"
        )
        assert row.fetchone() == (user, True)
    assert user in postgres.roles()

    vault.api("PUT", "sys/leases/revoke", {"lease_id": lease["lease_id"], "sync": True})

    assert user not in postgres.roles()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.dsn(user, password))


def test_passwords_are_checked(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn("postgres", "wrong"))


def test_vault_is_sealed_and_unsealed_and_keeps_its_data(vault: Vault, mount: Mount) -> None:
    mount.put("app", {"a": "1"})

    vault.seal()
    assert vault.ask("GET", f"{mount.path}/data/app").status == 503

    vault.restart(unsealed=False)
    assert vault.ask("GET", f"{mount.path}/data/app").status == 503

    vault.unseal()
    assert mount.get("app") == {"a": "1"}


def test_a_paused_server_does_not_answer(vault: Vault) -> None:
    vault.pause()

    with pytest.raises(OSError, match="timed out"):
        vault.ask("GET", "sys/health", timeout=0.5)


def test_vault_speaks_tls_with_its_own_authority(yard: Yard, postgres: Postgres, control_plane: ControlPlane) -> None:
    with Vault(yard, name="vault-tls", storage="memory", tls=True) as vault:
        assert vault.url.startswith("https://")
        assert vault.api("GET", "sys/health")["sealed"] is False

        vault.ca_pem = control_plane.ca_pem
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            vault.ask("GET", "sys/health")


def test_the_api_server_and_postgres_keep_their_data(
    control_plane: ControlPlane, postgres: Postgres, namespace: str
) -> None:
    before = control_plane.url, postgres.dsn()
    postgres.query("CREATE TABLE kept AS SELECT 1 AS one")

    control_plane.restart()
    postgres.restart()

    assert (control_plane.url, postgres.dsn()) == before
    assert control_plane.api("GET", f"/api/v1/namespaces/{namespace}")["metadata"]["name"] == namespace
    assert postgres.query("SELECT one FROM kept") == [["1"]]
    postgres.query("DROP TABLE kept")


def test_a_crashed_api_server_comes_back(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.apiserver.kill()
    with pytest.raises(OSError, match="refused"):
        control_plane.api("GET", "/readyz")

    control_plane.start_api()

    assert control_plane.api("GET", f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Active"


def test_a_kubeconfig_speaks_for_its_token(control_plane: ControlPlane, namespace: str) -> None:
    token = control_plane.service_account_token(namespace, "default")
    config = control_plane.kubeconfig(token, namespace=namespace)

    said = json.loads(control_plane.kubectl.run(f"--kubeconfig={config}", "auth", "whoami", "-o", "json"))

    assert said["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert config.stat().st_mode & 0o077 == 0


def test_the_audit_log_names_verb_resource_and_user(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api("GET", f"/api/v1/namespaces/{namespace}/configmaps")

    entries = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]

    mine = [e for e in entries if e.get("objectRef", {}).get("namespace") == namespace and e["verb"] == "list"]
    assert [(e["user"]["username"], e["objectRef"]["resource"], e["level"]) for e in mine] == [
        ("admin", "configmaps", "Metadata")
    ]


def test_a_missing_program_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, yard: Yard
) -> None:
    monkeypatch.setenv("LEASEHOLD_CACHE", str(tmp_path))

    with pytest.raises(BedError, match=r"(?s)is not built.*make testbed"):
        Vault(yard, name="unbuilt")
