"""Small things that the tests of the running operator share: its start, objects in one namespace, waits with a limit.

What a test checks (hashes, names, counts) is not here: each test works that out by itself.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from leasehold.providers.vault import policy
from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import ACCOUNT, Operator
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault
from testbed.wire import Wire

T = TypeVar("T")
PATIENCE = 30.0
_TICK = 0.1
ESO, GENERATORS = "external-secrets.io/v1", "generators.external-secrets.io/v1alpha1"
_PLACES = {
    "ClusterSecretStore": (ESO, "clustersecretstores"),
    "ConfigMap": ("v1", "configmaps"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "Deployment": ("apps/v1", "deployments"),
    "Event": ("v1", "events"),
    "ExternalSecret": (ESO, "externalsecrets"),
    "Secret": ("v1", "secrets"),
    "SecretStore": (ESO, "secretstores"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "VaultDynamicSecret": (GENERATORS, "vaultdynamicsecrets"),
}


def until(what: str, probe: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Ask until the answer is true and return it. Fails with ``what`` and the last answer at the end of patience."""
    limit = time.monotonic() + patience
    while not (answer := probe()):
        assert time.monotonic() < limit, f"not seen within {patience:.0f} s: {what}; last answer: {answer!r}"
        time.sleep(_TICK)
    return answer


@contextmanager
def hire(
    yard: Yard,
    plane: ControlPlane,
    vault: Vault,
    *,
    name: str,
    identity: bool = True,
    scoped: str = "",
) -> Iterator[Operator]:
    """Run an operator in a namespace of its own, `leasehold-NAME`; it is ready, and ends with the block.

    With ``identity`` it has a Vault role of its own name, so that operators of other tests keep theirs. Not ``scoped``
    to a namespace it serves all of them, so no other one may run; and it takes over the rights of the one before.
    Everything is logged, so that whatever could show a secret has its chance.
    """
    settings = {"LEASEHOLD_LOGLEVEL": "debug"}
    operator = Operator(
        yard, plane, name=f"operator-{name}", namespace=f"leasehold-{name}", scoped=scoped, settings=settings
    )
    operator.install()
    if identity:
        role = operator.namespace
        vault.write_policy(role, policy.operator_policy())
        vault.kubernetes_role(
            role, namespaces=[operator.namespace], accounts=[ACCOUNT], policies=[role], audience="vault"
        )
        operator.settings |= {"LEASEHOLD_VAULT_OPERATOR_ROLE": role, "LEASEHOLD_VAULT_OPERATOR_AUDIENCE": "vault"}
    operator.start()
    try:
        yield operator
    finally:
        operator.stop()


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects of one namespace, as the administrator sees and changes them."""

    plane: ControlPlane
    namespace: str

    def at(self, namespace: str) -> Scene:
        """Return the same for another namespace."""
        return replace(self, namespace=namespace)

    def create(self, kind: str, name: str, *, meta: Mapping[str, Any] | None = None, **body: Any) -> Any:
        """Create an object and return it."""
        group, _ = _PLACES[kind]
        document = {"apiVersion": group, "kind": kind, "metadata": {"name": name, **(meta or {})}, **body}
        return self._wire().call("POST", self._path(kind), document)

    def find(self, kind: str, name: str) -> Any:
        """Return an object, None where there is none."""
        answer = self._wire().ask("GET", self._path(kind, name))
        assert answer.status in (200, 404), answer
        return answer.body if answer.status == 200 else None

    def list(self, kind: str) -> list[Any]:
        """Return all objects of a kind in the namespace."""
        items: list[Any] = self._wire().call("GET", self._path(kind))["items"]
        return items

    def patch(self, kind: str, name: str, body: Mapping[str, Any]) -> Any:
        """Change an object by a JSON merge patch (RFC 7386)."""
        return self._wire("application/merge-patch+json").call("PATCH", self._path(kind, name), body)

    def annotate(self, kind: str, name: str, **annotations: str | None) -> None:
        """Set annotations of an object."""
        self.patch(kind, name, {"metadata": {"annotations": annotations}})

    def label(self, kind: str, name: str, **labels: str | None) -> None:
        """Set labels of an object."""
        self.patch(kind, name, {"metadata": {"labels": labels}})

    def delete(self, kind: str, name: str) -> None:
        """Delete an object; it may be gone already."""
        assert self._wire().ask("DELETE", self._path(kind, name)).status in (200, 202, 404)

    def values(self, name: str) -> dict[str, str]:
        """Return the decoded values of a Secret; empty where there is none."""
        return decode(self.find("Secret", name))

    def want(self, name: str, *, meta: Mapping[str, Any] | None = None, **spec: Any) -> Any:
        """Create an ExternalSecret; without a store it uses the SecretStore `vault`."""
        spec.setdefault("secretStoreRef", {"name": "vault"})
        return self.create("ExternalSecret", name, meta=meta, spec=spec)

    def change(self, name: str, **spec: Any) -> None:
        """Change fields of an ExternalSecret's spec."""
        self.patch("ExternalSecret", name, {"spec": spec})

    def store(self, name: str, provider: Mapping[str, Any]) -> None:
        """Create a SecretStore."""
        self.create("SecretStore", name, spec={"provider": {"vault": dict(provider)}})

    def status(self, name: str) -> dict[str, Any]:
        """Return the status of an ExternalSecret."""
        found = self.find("ExternalSecret", name)
        return dict((found or {}).get("status") or {})

    def ready(self, name: str) -> tuple[str, str, str]:
        """Return status, reason and message of an ExternalSecret's Ready condition; empty texts where there is none."""
        for condition in self.status(name).get("conditions", ()):
            if condition["type"] == "Ready":
                return condition["status"], condition["reason"], condition.get("message", "")
        return "", "", ""

    def until_reason(self, name: str, reason: str) -> str:
        """Wait for a reason of the Ready condition; return its message."""
        until(f"{name} is {reason}", lambda: self._told(name, reason))
        return self.ready(name)[2]

    def until_values(self, name: str, expected: Mapping[str, str]) -> None:
        """Wait until a Secret holds exactly these values."""
        until(f"Secret {name} holds what is expected", lambda: self.values(name) == dict(expected))

    def until_gone(self, kind: str, name: str) -> None:
        """Wait until an object is gone."""
        until(f"{kind} {name} is gone", lambda: self.find(kind, name) is None)

    def events(self, name: str) -> set[str]:
        """Return the reasons of the events about an object."""
        return {event["reason"] for event in self.list("Event") if event["involvedObject"]["name"] == name}

    def _told(self, name: str, reason: str) -> bool:
        told = self.ready(name)
        assert not (reason == "SecretSynced" and told[1] == "SecretSyncedError" and "not ready" not in told[2]), told
        return told[1] == reason

    def _path(self, kind: str, name: str = "") -> str:
        group, plural = _PLACES[kind]
        root = f"/api/{group}" if "/" not in group else f"/apis/{group}"
        where = "" if kind == "ClusterSecretStore" else f"/namespaces/{self.namespace}"
        return f"{root}{where}/{plural}" + (f"/{name}" if name else "")

    def _wire(self, content: str = "application/json") -> Wire:
        headers = {"Authorization": f"Bearer {self.plane.admin_token}", "Content-Type": content}
        return Wire(self.plane.url, ca_pem=self.plane.ca_pem, headers=headers)


@dataclass(frozen=True, slots=True)
class Role:
    """One role of the database engine, and what has become of its credentials."""

    vault: Vault
    postgres: Postgres
    name: str

    @property
    def path(self) -> str:
        """Where a credential is asked for."""
        return f"database/creds/{self.name}"

    def mints(self) -> int:
        """Return how many credentials Vault has issued, by its audit log."""
        count = 0
        with self.vault.audit_log.open(encoding="utf-8") as lines:
            for line in lines:
                if f'"path":"{self.path}"' in line and (entry := json.loads(line))["type"] == "response":
                    count += not entry.get("error")
        return count

    def leases(self) -> list[str]:
        """Return the leases that Vault holds."""
        answer = self.vault.ask("LIST", f"sys/leases/lookup/{self.path}")
        return list(answer.body["data"]["keys"]) if answer.status == 200 else []

    def users(self) -> set[str]:
        """Return the users that PostgreSQL has."""
        return {user for user in self.postgres.roles() if f"-{self.name}-" in user}

    def valid_until(self, user: str) -> str:
        """Return until when a user may log in, as PostgreSQL says."""
        rows = self.postgres.query(f"SELECT rolvaliduntil AT TIME ZONE 'UTC' FROM pg_roles WHERE rolname = '{user}'")
        return rows[0][0] if rows else ""


def decode(secret: Any) -> dict[str, str]:
    """Return the values of a Secret as text; empty where there is none."""
    return {key: base64.b64decode(value).decode() for key, value in ((secret or {}).get("data") or {}).items()}


def vault_provider(vault: Vault, role: str, *, account: str = "app", **fields: Any) -> dict[str, Any]:
    """Return a Vault provider that logs in as a ServiceAccount of the namespace."""
    login = {
        "mountPath": "kubernetes",
        "role": role,
        "serviceAccountRef": {"name": account, "audiences": ["vault"]},
    }
    return {"server": vault.url, "auth": {"kubernetes": login}, **fields}


def keys(remote: str, *names: str) -> list[dict[str, Any]]:
    """Return entries of `data` that take properties of one remote secret under their own names."""
    return [{"secretKey": name, "remoteRef": {"key": remote, "property": name}} for name in names]


def sample(page: str, metric: str, **labels: str) -> float | None:
    """Return the first sample of a metrics page with these labels, None where there is none."""
    for line in page.splitlines():
        found = re.fullmatch(rf"{metric}(?:\{{(.*)\}})? (\S+)", line)
        if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
            return float(found[2])
    return None


def refreshes(operator: Operator, scene: Scene, name: str) -> float:
    """Return when an ExternalSecret was last refreshed, as its metric says; 0 if never."""
    metric = "leasehold_last_refresh_timestamp_seconds"
    return sample(operator.metrics(), metric, namespace=scene.namespace, name=name) or 0.0


def until_refreshed(operator: Operator, scene: Scene, name: str, *, times: int = 1) -> None:
    """Wait for further refreshes of an ExternalSecret."""
    for _ in range(times):
        seen = refreshes(operator, scene, name)
        until(f"{name} is refreshed", lambda seen=seen: refreshes(operator, scene, name) > seen)  # type: ignore[misc]


def settle(plane: ControlPlane, namespace: str, mount: Mount) -> Scene:
    """Give a namespace the account `app`, and the SecretStore `vault` that reads a mount as this account."""
    scene = Scene(plane, namespace)
    plane.create_service_account(namespace, "app")
    role = mount.kubernetes_role(namespace=namespace, accounts=["app"], audience="vault")
    scene.store("vault", vault_provider(mount.vault, role, path=mount.path, version="v2"))
    return scene
