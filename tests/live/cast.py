"""Who plays in the tests of bad days: an operator of their own, a user's objects written tersely, waits with a limit.

What a test checks is not here, but for what holds on every bad day: how a failure is told, and that the Secret which
was last good stays as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from leasehold.domain.report import Stage
from leasehold.providers.vault import policy
from testbed.controlplane import ControlPlane
from testbed.errors import BedError
from testbed.mounts import Mount
from testbed.operator import ACCOUNT, Operator
from testbed.processes import Yard
from testbed.vault import Vault
from testbed.wire import Wire

PATIENCE = 30.0
NAMESPACE = "leasehold-bad-days"
FAILED = "SecretSyncedError"
_ESO, _GENERATORS = "external-secrets.io/v1", "generators.external-secrets.io/v1alpha1"
_PLACES = {
    "ExternalSecret": f"/apis/{_ESO}/namespaces/{{}}/externalsecrets",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "SecretStore": f"/apis/{_ESO}/namespaces/{{}}/secretstores",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "VaultDynamicSecret": f"/apis/{_GENERATORS}/namespaces/{{}}/vaultdynamicsecrets",
}


@contextmanager
def engage(yard: Yard, plane: ControlPlane, vault: Vault, *, name: str) -> Iterator[Operator]:
    """Run an operator in a namespace of its own, with a Vault role of its own; it ends with the block."""
    settings = {"LEASEHOLD_SHUTDOWN_GRACE_PERIOD": "2s", "LEASEHOLD_STATUS_FRESHNESS": "0s"}
    operator = Operator(yard, plane, name=name, namespace=NAMESPACE, settings=settings)
    operator.install()
    vault.write_policy(NAMESPACE, policy.operator_policy())
    vault.kubernetes_role(NAMESPACE, namespaces=[NAMESPACE], accounts=[ACCOUNT], policies=[NAMESPACE], audience="vault")
    operator.settings |= {"LEASEHOLD_VAULT_OPERATOR_ROLE": NAMESPACE, "LEASEHOLD_VAULT_OPERATOR_AUDIENCE": "vault"}
    operator.start()
    try:
        yield operator
    finally:
        operator.stop()


@dataclass(frozen=True, slots=True)
class Condition:
    """The Ready condition of an ExternalSecret; empty texts where there is none."""

    status: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A Secret as its readers see it: its decoded values, and the version that each write moves."""

    values: dict[str, str]
    version: str


@dataclass(frozen=True, slots=True)
class Cast:
    """A user with a namespace, the ServiceAccount `app` and a KV mount, and the operator that serves him."""

    operator: Operator
    plane: ControlPlane
    vault: Vault
    mount: Mount
    namespace: str

    # ------------------------------------------------------------------------------------------------------- objects

    def settle(self) -> None:
        """Create the account, the Vault role for it, the secret `app`, and the SecretStore `vault`."""
        self.plane.create_service_account(self.namespace, "app")
        self.allow()
        self.mount.put("app", {"password": "one"})
        self.store()

    def allow(self, *, audience: str = "vault", policies: Sequence[str] = (), **role: object) -> None:
        """Write the Vault role of the account; `policies` are added to the mount's, `role` are further fields."""
        self.mount.kubernetes_role(
            namespace=self.namespace, accounts=["app"], policies=policies, audience=audience, **role
        )

    def provider(self, *, role: str = "", audience: str = "vault", vault: Vault | None = None, **more: Any) -> Any:
        """Return a Vault provider that logs in as the account."""
        login = {
            "mountPath": "kubernetes",
            "role": role or f"{self.mount.path}-{self.namespace}",
            "serviceAccountRef": {"name": "app", "audiences": [audience]},
        }
        return {"server": (vault or self.vault).url, "auth": {"kubernetes": login}, **more}

    def store(self, name: str = "vault", *, controller: str = "", **provider: Any) -> None:
        """Apply a SecretStore that is checked each second, over the mount; the operator waits 5 s after a bad check."""
        vault = self.provider(**{"path": self.mount.path, "version": "v2", **provider})
        klass = {"controller": controller} if controller else {}
        self.apply("SecretStore", name, refreshInterval=1, provider={"vault": vault}, **klass)

    def want(self, name: str = "app", *, remote: str = "app", **spec: Any) -> None:
        """Apply an ExternalSecret: the property `password`, read each second from the store `vault`, unless told."""
        wanted: dict[str, Any] = {"refreshInterval": "1s", "secretStoreRef": {"name": "vault"}, **spec}
        if "dataFrom" not in spec:
            wanted["data"] = [{"secretKey": "password", "remoteRef": {"key": remote, "property": "password"}}]
        self.apply("ExternalSecret", name, **wanted)

    def lease(self, name: str, path: str, **generator: Any) -> None:
        """Apply a VaultDynamicSecret, and an ExternalSecret that lets a replaced credential go at once."""
        self.apply("VaultDynamicSecret", name, path=path, provider=self.provider(), **generator)
        source = {"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": name}}}
        self.want(name, refreshInterval="1h", lease={"gracePeriod": "0s"}, dataFrom=[source])

    def apply(self, kind: str, name: str, **spec: Any) -> None:
        """Apply an object of ours; fields that are left out go."""
        version = _GENERATORS if kind == "VaultDynamicSecret" else _ESO
        document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.plane.kubectl.apply(document, namespace=self.namespace)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self.plane.api("DELETE", f"{self._path(kind)}/{name}")

    # --------------------------------------------------------------------------------------------------------- looks

    def find(self, kind: str, name: str) -> Any:
        """Return an object, None where there is none."""
        wire = Wire(
            self.plane.url, ca_pem=self.plane.ca_pem, headers={"Authorization": f"Bearer {self.plane.admin_token}"}
        )
        answer = wire.ask("GET", f"{self._path(kind)}/{name}")
        assert answer.status in (200, 404), answer
        return answer.body if answer.status == 200 else None

    def status(self, name: str = "app") -> dict[str, Any]:
        """Return the status of an ExternalSecret."""
        return dict((self.find("ExternalSecret", name) or {}).get("status") or {})

    def condition(self, name: str = "app") -> Condition:
        """Return the Ready condition of an ExternalSecret."""
        for told in self.status(name).get("conditions", ()):
            if told["type"] == "Ready":
                return Condition(told["status"], told["reason"], told["message"])
        return Condition()

    def secret(self, name: str = "app") -> Published | None:
        """Return a Secret, None where there is none."""
        found = self.find("Secret", name)
        if found is None:
            return None
        values = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
        return Published(values, found["metadata"]["resourceVersion"])

    def leases(self, role: str) -> int:
        """Return how many leases of a database role Vault holds."""
        answer = self.vault.ask("LIST", f"sys/leases/lookup/database/creds/{role}")
        return len(answer.body["data"]["keys"]) if answer.status == 200 else 0

    # --------------------------------------------------------------------------------------------------------- waits

    def until(self, what: str, holds: Callable[[], bool], *, patience: float = PATIENCE) -> None:
        """Ask until something holds, while the operator lives."""
        self.operator.process.wait_until(holds, what, patience=patience)

    def wait_ready(self, name: str = "app", password: str = "", *, patience: float = PATIENCE) -> Published:
        """Wait until an ExternalSecret is ready, with this password if one is given; return the Secret."""
        seen: list[tuple[Condition, Published | None]] = []

        def ready() -> bool:
            seen[:] = [(self.condition(name), self.secret(name))]
            told, secret = seen[0]
            return told.status == "True" and secret is not None and password in ("", secret.values.get("password"))

        self._until(f"ready: {name}", ready, seen, patience)
        published = seen[0][1]
        assert published is not None
        return published

    def wait_failed(
        self, name: str = "app", *, containing: tuple[str, ...], stage: Stage = Stage.FETCH, patience: float = PATIENCE
    ) -> Condition:
        """Wait until an ExternalSecret fails, in ESO's words and with all the texts; return what it says."""
        seen: list[Condition] = []

        def failed() -> bool:
            seen[:] = [self.condition(name)]
            return seen[0].status == "False" and all(text in seen[0].message for text in containing)

        self._until(f"failed: {name}", failed, seen, patience)
        (told,) = seen
        assert told.reason == FAILED, told
        assert told.message.startswith(f"{stage.value}: "), told
        return told

    def wait_unusable(self, *containing: str, patience: float = PATIENCE) -> None:
        """Wait until the store `vault` says what is wrong, with all the texts, and `app` that it is not ready.

        A store that is known to be broken is not asked by each of its objects, so the cause stands there.
        """
        seen: list[str] = []

        def told() -> bool:
            conditions = (self.find("SecretStore", "vault").get("status") or {}).get("conditions", ())
            seen[:] = [each["message"] for each in conditions if each["status"] == "False"]
            return bool(seen) and all(text in seen[0] for text in containing)

        self._until("failed: the store", told, seen, patience)
        assert seen[0].startswith("unable to validate store: "), seen
        self.wait_failed(containing=('SecretStore "vault" is not ready (spec.data[0]); see its conditions',))

    @contextmanager
    def keeping(self, name: str = "app") -> Iterator[Published]:
        """Hold that the Secret is the very same at the end of the block as at its beginning."""
        before = self.wait_ready(name)
        yield before
        assert self.secret(name) == before

    def _until(self, what: str, holds: Callable[[], bool], seen: list[Any], patience: float) -> None:
        try:
            self.until(what, holds, patience=patience)
        except BedError as error:
            raise AssertionError(f"last seen: {seen}; {error}") from error

    def _path(self, kind: str) -> str:
        return _PLACES[kind].format(self.namespace)
