"""The stage of the demo: real servers, Vault set up by the documented script, the operator under its own account."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import yaml

from e2e.narration import Failed, Narrator
from testbed import binaries, images
from testbed.controlplane import ControlPlane
from testbed.node import Node
from testbed.operator import ACCOUNT, ROOT, Operator
from testbed.operator import NAMESPACE as SYSTEM
from testbed.pods import Kwok
from testbed.postgres import ADMIN, Postgres
from testbed.processes import Yard
from testbed.vault import REVIEWER, Vault
from testbed.wire import Wire

NAMESPACE = "payments"
EXAMPLES = ROOT / "docs" / "examples"
SERVER = "http://127.0.0.1:8200"
"""The address in the examples; ours takes its place."""
TTL, MAX_TTL = 20, 68
"""Seconds of a lease and of its longest life: short, so that a person can watch.

A backend shows the longest life when it cuts a renewal short. With 68 s that is always the fourth one, some 51 s after
the issue, with at least 15 s left: enough for a rollout and the 10 s of grace of the example.
"""
CREDS = "database/creds/payments"
MANIFESTS = Path(__file__).resolve().parent / "manifests"
TICK = 0.05
T = TypeVar("T")


class Stage:
    """Everything that the steps act upon."""

    def __init__(self, yard: Yard, narrator: Narrator, *, node: str = "kwok") -> None:
        """Take the run folder, who tells, and what makes pods run (kwok | real)."""
        self.yard, self.narrator, self._kind = yard, narrator, node
        self.plane = ControlPlane(yard)
        self.pods = Kwok(yard, self.plane)
        self.postgres = Postgres(yard)
        self.vault = Vault(yard, storage="memory")
        self.operator = Operator(yard, self.plane)
        self.node: Node | None = None

    # -------------------------------------------------------------------------------------------------------- setting

    def start(self) -> None:
        """Start the servers and the operator."""
        tell = self.narrator.fact
        self.plane.start()
        version = self._wire.ask("GET", "/version").body.get("gitVersion", "")
        tell(f"kube-apiserver {version} at {self.plane.url}")
        self.pods.start()
        self.postgres.start()
        tell(f"PostgreSQL at 127.0.0.1:{self.postgres.port}")
        self.vault.start()
        tell(f"Vault at {self.vault.url}")
        if self._kind == "real":
            self._start_node()
        self.operator.install()
        tell(f"CRDs and the chart's RBAC for ServiceAccount {SYSTEM}/{ACCOUNT}; the operator has no other right")
        self._set_vault_up()
        tell(
            "Vault set up by docs/examples/vault.sh: Kubernetes logins, KV, a database role with leases of"
            f" {TTL} s and at most {MAX_TTL} s"
        )
        self.operator.settings |= {
            "LEASEHOLD_VAULT_OPERATOR_ROLE": "leasehold",
            "LEASEHOLD_VAULT_OPERATOR_AUDIENCE": "vault",
        }
        self.operator.start()
        tell(f"operator ready (pid {self.operator.process.pid}), log {self.operator.process.log}")

    def _start_node(self) -> None:
        self.node = Node(self.yard, self.plane, self.pods.scheduler, reach=(self.postgres.port.number,))
        self.node.start()
        self.narrator.fact("a real kubelet and containerd run the pods")

    def _set_vault_up(self) -> None:
        # The script is the one that the documentation gives to users; only addresses and times are ours.
        self.vault.disable("secret", at="secret")
        self.vault.configure_kubernetes_auth(self.plane, mount="unused")  # makes the reviewer's account
        authority = self.yard.folder / "ca.pem"
        authority.write_text(self.plane.ca_pem, encoding="utf-8")
        reviewer = self.plane.service_account_token("kube-system", REVIEWER, seconds=86_400)
        environ = {
            "PATH": f"{binaries.find('vault').parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.yard.folder),
            "VAULT_ADDR": self.vault.url,
            "VAULT_TOKEN": self.vault.root_token,
            "OPERATOR_NAMESPACE": SYSTEM,
            "OPERATOR_ACCOUNT": ACCOUNT,
            "KUBERNETES_HOST": self.plane.url,
            "KUBERNETES_CONFIG": (
                f"kubernetes_ca_cert=@{authority} token_reviewer_jwt={reviewer} disable_local_ca_jwt=true"
            ),
            "POSTGRES_HOST": f"127.0.0.1:{self.postgres.port}",
            "POSTGRES_USER": ADMIN,
            "POSTGRES_PASSWORD": self.postgres.admin_password,
            "LEASE_TTL": f"{TTL}s",
            "LEASE_MAX_TTL": f"{MAX_TTL}s",
        }
        script = ["sh", str(EXAMPLES / "vault.sh")]
        done = subprocess.run(script, env=environ, capture_output=True, text=True, check=False, cwd=self.yard.folder)
        if done.returncode:
            raise Failed("docs/examples/vault.sh sets Vault up", done.stderr.strip()[-200:])

    def apply(self, *names: str, folder: Path = EXAMPLES / "quickstart") -> None:
        """Apply example files, as `kubectl apply -f` does, with the address of our Vault."""
        text = "\n---\n".join((folder / name).read_text(encoding="utf-8") for name in names)
        text = text.replace(SERVER, self.vault.url)
        if self._kind == "real":
            text = self._on_the_node(text)
        self.plane.kubectl.run("apply", "-f", "-", text=text)

    def _on_the_node(self, text: str) -> str:
        """Return manifests whose pods go to the real node, with an image that is there."""
        documents = [document for document in yaml.safe_load_all(text) if document]
        for document in documents:
            if document["kind"] == "Deployment":
                pod = document["spec"]["template"]["spec"]
                document["spec"]["template"]["spec"] = Node.place(pod)
        return yaml.safe_dump_all(documents).replace("busybox:1.37", images.BUSYBOX)

    # --------------------------------------------------------------------------------------------------------- looking

    def get(self, path: str) -> Any | None:
        """Return an object by its API path, None where it is not there."""
        answer = self._wire.ask("GET", path)
        return answer.body if answer.status == 200 else None

    def external_secret(self, name: str) -> Any:
        """Return an ExternalSecret of the demo's namespace."""
        return self.get(f"/apis/external-secrets.io/v1/namespaces/{NAMESPACE}/externalsecrets/{name}") or {}

    def secret(self, name: str) -> dict[str, str] | None:
        """Return the data of a Secret, decoded; never shown to anybody."""
        body = self.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}")
        if body is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}

    def deployment(self, name: str) -> Any:
        """Return a Deployment."""
        return self.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}") or {}

    def running_pods(self, app: str) -> list[Any]:
        """Return the pods of a Deployment that run and are not on their way out."""
        listed = self._wire.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3D{app}")["items"]
        return [
            pod
            for pod in listed
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    @property
    def _wire(self) -> Wire:
        return Wire(
            self.plane.url, ca_pem=self.plane.ca_pem, headers={"Authorization": f"Bearer {self.plane.admin_token}"}
        )

    def change(self, method: str, path: str, body: object = None) -> Any:
        """Change something by hand, as the cluster's administrator."""
        return self._wire.call(method, path, body)

    def log_in(self, user: str, password: str) -> str:
        """Log in to PostgreSQL and return what it calls us; raises psycopg.Error where it refuses."""
        with psycopg.connect(
            host="127.0.0.1",
            port=self.postgres.port.number,
            dbname="postgres",
            user=user,
            password=password,
            connect_timeout=5,
        ) as connection:
            row = connection.execute("select current_user").fetchone()
        return str(row[0]) if row else ""

    def refuses(self, user: str, password: str) -> bool:
        """Tell whether PostgreSQL refuses the login."""
        try:
            self.log_in(user, password)
        except psycopg.Error:
            return True
        return False

    def valid_until(self, user: str) -> str:
        """Return until when PostgreSQL lets a user in (hh:mm:ss), "" where there is no such user."""
        rows = self.postgres.query(
            f"SELECT to_char(rolvaliduntil, 'HH24:MI:SS') FROM pg_roles WHERE rolname = '{user}'"
        )
        return rows[0][0] if rows else ""

    def leases(self) -> list[str]:
        """Return the ids of the live leases of the database role, as Vault lists them; never shown to anybody."""
        answer = self.vault.ask("LIST", f"sys/leases/lookup/{CREDS}")
        return [f"{CREDS}/{key}" for key in answer.body["data"]["keys"]] if answer.status == 200 else []

    def lease_left(self) -> int:
        """Return the seconds that Vault gives the one live lease."""
        (lease,) = self.leases()
        return int(self.vault.api("PUT", "sys/leases/lookup", {"lease_id": lease})["data"]["ttl"])

    def wait(self, what: str, look: Callable[[], T | None], *, patience: float = 30.0) -> tuple[T, float]:
        """Look until there is something to see; return it and the seconds that it took. Raises Failed."""
        started = time.monotonic()
        while time.monotonic() - started < patience:
            seen = look()
            if seen:
                return seen, time.monotonic() - started
            if not self.operator.process.alive:
                raise Failed(what, "the operator has ended")
            time.sleep(TICK)
        raise Failed(what, f"not after {patience:.0f} s")

    def log_tail(self) -> tuple[str, Path]:
        """Return the last lines of the operator's log, and where it is."""
        log = self.operator.process.log
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-12:]), log
