"""A user of the operator: a namespace, a mount of Vault that it may read, and the objects that it writes there."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.mounts import Mount
from testbed.vault import Vault
from tests.live.operator.cluster import PATIENCE, Body, Cluster, Spot, ready_condition

ACCOUNT = "app"
CANARY = "canary-" + secrets.token_hex(8)
"""Part of every value that a test of this folder stores: at the end it is looked for where it must not be."""


def distinct() -> str:
    """Return a value that nobody else has."""
    return f"{CANARY}-{secrets.token_hex(6)}"


def keyed(*names: str, key: str = "app") -> list[Body]:
    """Return spec.data that takes properties of one remote secret under their own names."""
    return [{"secretKey": name, "remoteRef": {"key": key, "property": name}} for name in names]


def whole(key: str = "app") -> list[Body]:
    """Return spec.dataFrom that takes all of one remote secret."""
    return [{"extract": {"key": key}}]


def generated(name: str) -> list[Body]:
    """Return spec.dataFrom that takes all of a VaultDynamicSecret."""
    return [{"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": name}}}]


@dataclass(frozen=True, slots=True)
class Tenant:
    """One namespace, with ServiceAccount `app` and a SecretStore `vault` that logs in as it."""

    cluster: Cluster
    namespace: str
    vault: Vault
    mount: Mount
    role: str
    """Role of Vault's Kubernetes auth by which `app` may read the mount."""

    # ------------------------------------------------------------------------------------------------------ writing

    def login(self, *, role: str = "", account: str = ACCOUNT, audiences: Sequence[str] = ("vault",)) -> Body:
        """Return provider.vault.auth for the Kubernetes method."""
        reference = {"name": account, "audiences": list(audiences)}
        return {"kubernetes": {"mountPath": "kubernetes", "role": role or self.role, "serviceAccountRef": reference}}

    def provider(self, **changes: object) -> Body:
        """Return provider.vault, with some of its fields changed."""
        return {"server": self.vault.url, "path": self.mount.path, "version": "v2", "auth": self.login(), **changes}

    def store(self, name: str = "vault", *, spec: Mapping[str, object] | None = None, **changes: object) -> Spot:
        """Write a SecretStore whose provider has some fields changed; `spec` is for what stands beside it."""
        body = {"spec": {**(spec or {}), "provider": {"vault": self.provider(**changes)}}}
        self.cluster.apply("SecretStore", name, body, namespace=self.namespace)
        return Spot("SecretStore", self.namespace, name)

    def want(self, name: str = "app", *, metadata: Mapping[str, object] | None = None, **spec: Any) -> Spot:
        """Write an ExternalSecret that reads from the store `vault`, unless it says otherwise."""
        if "data" not in spec and "dataFrom" not in spec:
            spec["dataFrom"] = whole()
        if spec.setdefault("secretStoreRef", {"name": "vault"}) is None:
            del spec["secretStoreRef"]
        spec.setdefault("refreshInterval", "1h")
        body = {"metadata": dict(metadata or {}), "spec": spec}
        self.cluster.apply("ExternalSecret", name, body, namespace=self.namespace)
        return self.spot(name)

    def spot(self, name: str = "app", kind: str = "ExternalSecret") -> Spot:
        """Name an object of this namespace."""
        return Spot(kind, self.namespace, name)

    def put_secret(self, name: str, data: Mapping[str, str], **more: object) -> Spot:
        """Write a Secret by hand."""
        self.cluster.apply("Secret", name, {"stringData": dict(data), **more}, namespace=self.namespace)
        return self.spot(name, "Secret")

    # ----------------------------------------------------------------------------------------------------- seeing

    def secret(self, name: str = "app") -> Body | None:
        """Return a Secret as it is now."""
        return self.cluster.get(self.spot(name, "Secret"))

    def values(self, name: str = "app") -> dict[str, str] | None:
        """Return the data of a Secret as text, None where there is none."""
        return values_of(self.secret(name))

    def status(self, name: str = "app") -> Body:
        """Return the status of an ExternalSecret."""
        found = self.cluster.get(self.spot(name))
        assert found is not None
        status: Body = found.get("status") or {}
        return status

    def until_ready(self, name: str = "app", *, kind: str = "ExternalSecret", patience: float = PATIENCE) -> Body:
        """Wait until an object is Ready as it stands now, and return it."""
        found = self.cluster.until(self.spot(name, kind), _is_ready, "Ready", patience=patience)
        assert found is not None
        return found

    def until_failed(
        self, name: str = "app", *texts: str, kind: str = "ExternalSecret", patience: float = PATIENCE
    ) -> Body:
        """Wait until the Ready condition is False with a message that holds all these texts; return the condition."""

        def has_failed(body: Body | None) -> bool:
            ready = ready_condition(body)
            return ready is not None and ready["status"] == "False" and all(text in ready["message"] for text in texts)

        body = self.cluster.until(self.spot(name, kind), has_failed, f"failed with {texts}", patience=patience)
        condition = ready_condition(body)
        assert condition is not None
        return condition

    def until_values(self, values: Mapping[str, str], name: str = "app", *, patience: float = PATIENCE) -> Body:
        """Wait until a Secret holds exactly these values, and return it."""
        found = self.cluster.until(
            self.spot(name, "Secret"), lambda body: values_of(body) == dict(values), "as wanted", patience=patience
        )
        assert found is not None
        return found

    def until_gone(self, spot: Spot, *, patience: float = PATIENCE) -> None:
        """Wait until there is no such object."""
        self.cluster.until(spot, lambda body: body is None, "gone", patience=patience)

    def until_told(self, name: str, reason: str, *texts: str, patience: float = PATIENCE) -> Body:
        """Wait until an event about an object has a reason and a message that holds all these texts; return it."""

        def find(events: list[Body]) -> Body | None:
            told = (event for event in events if event["reason"] == reason)
            return next((event for event in told if all(text in event["message"] for text in texts)), None)

        events = self.cluster.until_some(
            Spot("Event", self.namespace),
            f"involvedObject.name={name}",
            lambda found: find(found) is not None,
            f"told of {reason} {texts}",
            patience=patience,
        )
        event = find(events)
        assert event is not None
        return event


def values_of(secret: Body | None) -> dict[str, str] | None:
    """Return the data of a Secret as text, None where there is no Secret."""
    if secret is None:
        return None
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def _is_ready(body: Body | None) -> bool:
    ready = ready_condition(body)
    if body is None or ready is None or ready["status"] != "True":
        return False
    synced = body["status"].get("syncedResourceVersion")
    return synced is None or synced.startswith(f"{body['metadata']['generation']}-")
