"""A real Vault on loopback, with its Kubernetes auth and PostgreSQL plugins.

It is a proper server, not `-dev`: started with a configuration file, initialised and unsealed by us. So it can be
stopped and started with its data, sealed and unsealed, and speak TLS. With `storage="memory"` a restart loses
everything, as with a development server. Vault API reference: https://developer.hashicorp.com/vault/api-docs.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from testbed import binaries, certificates
from testbed.certificates import write_private
from testbed.controlplane import ControlPlane
from testbed.postgres import ADMIN, Postgres
from testbed.processes import Yard
from testbed.wire import TIMEOUT, Answer, Wire

REVIEWER = "vault-token-reviewer"
_PLUGINS = {"kubernetes": "auth", "postgresql-database-plugin": "database"}
# sys/health: 200 active, 429 standby, 501 not initialised, 503 sealed. All mean that it listens.
_LISTENS = frozenset({200, 429, 501, 503})
CREATION = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"


class Vault:
    """One Vault server. Port and (with raft storage) data survive `stop` and `restart`."""

    def __init__(
        self, yard: Yard, *, name: str = "vault", storage: Literal["raft", "memory"] = "raft", tls: bool = False
    ) -> None:
        self.folder = yard.folder / name
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self.server = yard.process(name)
        self.audit_log = yard.logs / f"{name}-audit.log"
        self.root_token = ""
        self.ca_pem = ""
        self._storage = storage
        (self.folder / "data").mkdir(exist_ok=True)
        self._unseal_key = ""
        self.port, self._cluster_port = yard.port(), yard.port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        listener: dict[str, object] = {
            "address": f"127.0.0.1:{self.port}",
            "cluster_address": f"127.0.0.1:{self._cluster_port}",
            "tls_disable": not tls,
        }
        if tls:
            listener |= self._issue()
        write_private(self.folder / "config.json", json.dumps(self._configuration(listener), indent=1))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, unsealed: bool = True) -> None:
        """Start it and, unless told otherwise, unseal it. A new one is initialised first."""
        if not self.server.alive:
            self.server.start([binaries.find("vault"), "server", f"-config={self.folder / 'config.json'}"])
            self.server.wait_until(lambda: self._wire().is_up("/v1/sys/health", statuses=_LISTENS), "listening")
        if self.ask("GET", "sys/init").body["initialized"] is False:
            self._initialise()
            self.unseal()
            self._equip()
        elif unsealed:
            self.unseal()

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()

    def restart(self, *, unsealed: bool = True) -> None:
        """Stop and start it, on the same port."""
        self.stop()
        self.start(unsealed=unsealed)

    def pause(self) -> None:
        """Let it hang: connections stay, answers do not come."""
        self.server.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.server.resume()

    def seal(self) -> None:
        """Seal it: every request but unsealing is answered with 503."""
        self.api("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it and wait until it is active. Does nothing when it is."""
        self.api("PUT", "sys/unseal", {"key": self._unseal_key})
        self.server.wait_until(lambda: self._wire().is_up("/v1/sys/health"), "active")

    def ask(self, method: str, path: str, body: object = None, *, token: str = "", timeout: float = TIMEOUT) -> Answer:
        """Send a request to `/v1/PATH`, as root unless a token is given, and return the answer of any status."""
        return self._wire(token).ask(method, f"/v1/{path}", body, timeout=timeout)

    def api(self, method: str, path: str, body: object = None, *, token: str = "") -> Any:
        """Send a request to `/v1/PATH`, as root unless a token is given; BedError unless the status is 2xx."""
        return self._wire(token).call(method, f"/v1/{path}", body)

    def enable(self, kind: Literal["auth", "secret"], engine: str, *, at: str, version: int = 0) -> None:
        """Enable an auth method or a secrets engine at a path; `version` is for kv (1 or 2)."""
        place = f"sys/auth/{at}" if kind == "auth" else f"sys/mounts/{at}"
        options = {"options": {"version": str(version)}} if version else {}
        self.api("POST", place, {"type": engine, **options})

    def disable(self, kind: Literal["auth", "secret"], *, at: str) -> None:
        """Disable what is enabled at a path; its leases and tokens are revoked."""
        self.api("DELETE", f"sys/auth/{at}" if kind == "auth" else f"sys/mounts/{at}")

    def write_policy(self, name: str, rules: str) -> None:
        """Write an ACL policy (HCL or JSON)."""
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": rules})

    def configure_kubernetes_auth(self, control_plane: ControlPlane, *, mount: str = "kubernetes") -> None:
        """Enable the Kubernetes auth method for a control plane.

        Logins are checked by TokenReview as a ServiceAccount of kube-system that is bound to system:auth-delegator;
        Vault runs outside the cluster, so it is told not to look for a CA and token of its own pod.
        """
        reviewer = _ensure_reviewer(control_plane)
        if f"{mount}/" not in self.api("GET", "sys/auth")["data"]:
            self.enable("auth", "kubernetes", at=mount)
        settings = {
            "kubernetes_host": control_plane.url,
            "kubernetes_ca_cert": control_plane.ca_pem,
            "token_reviewer_jwt": reviewer,
            "disable_local_ca_jwt": True,
        }
        self.api("POST", f"auth/{mount}/config", settings)

    def kubernetes_role(
        self,
        name: str,
        *,
        accounts: Sequence[str],
        namespaces: Sequence[str],
        policies: Sequence[str],
        mount: str = "kubernetes",
        **more: object,
    ) -> None:
        """Write a role of the Kubernetes auth method; `more` are further fields (audience, token_ttl, ...)."""
        body = {
            "bound_service_account_names": list(accounts),
            "bound_service_account_namespaces": list(namespaces),
            "token_policies": list(policies),
        }
        self.api("POST", f"auth/{mount}/role/{name}", {**body, **more})

    def kubernetes_login(self, role: str, jwt: str, *, mount: str = "kubernetes") -> str:
        """Log in with a ServiceAccount's JWT and return the Vault token."""
        answer = self.api("POST", f"auth/{mount}/login", {"role": role, "jwt": jwt})
        return str(answer["auth"]["client_token"])

    def configure_database(self, postgres: Postgres, *, mount: str = "database", connection: str = "postgres") -> None:
        """Enable the database engine (once) and give it a connection to a PostgreSQL server."""
        if f"{mount}/" not in self.api("GET", "sys/mounts")["data"]:
            self.enable("secret", "database", at=mount)
        settings = {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres",
            "username": ADMIN,
            "password": postgres.admin_password,
            "password_authentication": "scram-sha-256",
        }
        self.api("POST", f"{mount}/config/{connection}", settings)

    def database_role(
        self,
        name: str,
        *,
        default_ttl: str = "1h",
        max_ttl: str = "24h",
        mount: str = "database",
        connection: str = "postgres",
        creation: Sequence[str] = (CREATION,),
    ) -> None:
        """Write a role of the database engine: each read of `MOUNT/creds/NAME` makes a PostgreSQL user with a lease."""
        body = {
            "db_name": connection,
            "creation_statements": list(creation),
            "default_ttl": default_ttl,
            "max_ttl": max_ttl,
        }
        self.api("POST", f"{mount}/roles/{name}", body)

    def _wire(self, token: str = "") -> Wire:
        headers = {"X-Vault-Token": token or self.root_token} if token or self.root_token else {}
        return Wire(self.url, ca_pem=self.ca_pem, headers=headers)

    def _issue(self) -> dict[str, object]:
        """Make this server's own authority and certificate; return the listener's settings."""
        authority = certificates.found("testbed-vault")
        self.ca_pem = authority.pem
        certificate, key = authority.issue("vault", hosts=("127.0.0.1", "localhost"))
        return {
            "tls_cert_file": str(write_private(self.folder / "server.crt", certificate)),
            "tls_key_file": str(write_private(self.folder / "server.key", key)),
            "tls_disable_client_certs": False,
        }

    def _configuration(self, listener: dict[str, object]) -> dict[str, object]:
        raft = {"path": str(self.folder / "data"), "node_id": "one", "performance_multiplier": 1}
        storages: dict[str, dict[str, object]] = {"raft": {"raft": raft}, "memory": {"inmem": {}}}
        return {
            "storage": storages[self._storage],
            "listener": {"tcp": listener},
            "api_addr": self.url,
            "cluster_addr": f"https://127.0.0.1:{self._cluster_port}",
            "disable_mlock": True,
            "plugin_directory": str(_plugin_folder()),
            "log_level": "info",
        }

    def _initialise(self) -> None:
        self.root_token = ""
        keys = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._unseal_key, self.root_token = keys["keys_base64"][0], keys["root_token"]
        write_private(self.folder / "init.json", json.dumps(keys))

    def _equip(self) -> None:
        """Register the plugins, open the audit log, mount KV version 2 at `secret` as a development server does."""
        for name, kind in _PLUGINS.items():
            digest = hashlib.sha256((_plugin_folder() / name).read_bytes()).hexdigest()
            self.api("PUT", f"sys/plugins/catalog/{kind}/{name}", {"sha256": digest, "command": name})
        self.api("PUT", "sys/audit/file", {"type": "file", "options": {"file_path": str(self.audit_log)}})
        self.enable("secret", "kv", at="secret", version=2)


def _plugin_folder() -> Path:
    return binaries.find("postgresql-database-plugin").parent


def _ensure_reviewer(control_plane: ControlPlane) -> str:
    """Create the reviewer ServiceAccount and its binding, if they are not there, and return a token of it for a day."""
    namespace = "kube-system"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": REVIEWER, "namespace": namespace}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": REVIEWER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": REVIEWER, "namespace": namespace}],
    }
    control_plane.kubectl.apply(account, binding, namespace=namespace)
    return control_plane.service_account_token(namespace, REVIEWER, seconds=86_400)
