"""The cluster as a test sees it: write what a user would, and wait for what the API server says by its watch.

Every wait looks at the present first and then at each change, so it ends the moment something is true and takes the
whole of its patience only where it is not. Nothing here knows what the operator should do.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from testbed.controlplane import ControlPlane
from testbed.wire import Wire

PATIENCE = 30.0
"""Seconds after which what was waited for is taken never to come."""
KINDS: Mapping[str, tuple[str, str]] = {
    "ExternalSecret": ("external-secrets.io/v1", "externalsecrets"),
    "SecretStore": ("external-secrets.io/v1", "secretstores"),
    "ClusterSecretStore": ("external-secrets.io/v1", "clustersecretstores"),
    "VaultDynamicSecret": ("generators.external-secrets.io/v1alpha1", "vaultdynamicsecrets"),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Role": ("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": ("v1", "secrets"),
    "ConfigMap": ("v1", "configmaps"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "Namespace": ("v1", "namespaces"),
    "Event": ("v1", "events"),
    "Deployment": ("apps/v1", "deployments"),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
}
_CLUSTER_WIDE = frozenset(
    {"ClusterSecretStore", "ClusterRole", "ClusterRoleBinding", "Namespace", "CustomResourceDefinition"}
)
_TICK = 0.1

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spot:
    """Names one object, or with name "" all of a kind in a namespace."""

    kind: str
    namespace: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """The request path."""
        version, plural = KINDS[self.kind]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        where = f"/namespaces/{self.namespace}" if self.namespace and self.kind not in _CLUSTER_WIDE else ""
        return f"{base}{where}/{plural}" + (f"/{self.name}" if self.name else "")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server, as its administrator."""

    plane: ControlPlane

    def wire(self, content_type: str = "application/json", *, token: str = "") -> Wire:
        """Return a client for one kind of body, as the administrator or as whom the token says."""
        headers = {"Authorization": f"Bearer {token or self.plane.admin_token}", "Content-Type": content_type}
        return Wire(self.plane.url, ca_pem=self.plane.ca_pem, headers=headers)

    def apply(self, kind: str, name: str, body: Mapping[str, Any], *, namespace: str = "") -> Body:
        """Write an object as `kubectl apply` does; `body` is all but its kind and name. Return it as stored."""
        metadata = {**body.get("metadata", {}), "name": name}
        whole = {**body, "apiVersion": KINDS[kind][0], "kind": kind, "metadata": metadata}
        path = f"{Spot(kind, namespace, name).path}?fieldManager=user&force=true"
        found: Body = self.wire("application/apply-patch+yaml").call("PATCH", path, whole)
        return found

    def patch(self, spot: Spot, change: Mapping[str, Any]) -> Body:
        """Change an object by a merge-patch, as a hand would."""
        found: Body = self.wire("application/merge-patch+json").call("PATCH", spot.path, dict(change))
        return found

    def get(self, spot: Spot) -> Body | None:
        """Return an object, None where there is none."""
        answer = self.wire().ask("GET", spot.path)
        assert answer.status in (200, 404), answer
        return answer.body if answer.status == 200 else None

    def every(self, spot: Spot, **selectors: str) -> list[Body]:
        """Return all objects of a kind."""
        query = f"?{urlencode(selectors)}" if selectors else ""
        found: list[Body] = self.wire().call("GET", spot.path + query)["items"]
        return found

    def remove(self, spot: Spot) -> None:
        """Delete an object; gone already is as good."""
        answer = self.wire().ask("DELETE", spot.path)
        assert answer.status in (200, 202, 404), answer

    # ----------------------------------------------------------------------------------------------------- waiting

    def until(
        self, spot: Spot, holds: Callable[[Body | None], bool], what: str, *, patience: float = PATIENCE
    ) -> Body | None:
        """Wait until something holds of one object (None while there is none); return it as it is then."""
        everything = Spot(spot.kind, spot.namespace)
        seen = _Seen()
        for objects in self._changes(everything, f"metadata.name={spot.name}", patience):
            seen.last = objects.get((spot.namespace, spot.name))
            if holds(seen.last):
                return seen.last
        raise AssertionError(f"{spot}: not {what} after {patience:.0f} s; it is {_told(seen.last)}")

    def until_some(
        self, spot: Spot, selector: str, holds: Callable[[list[Body]], bool], what: str, *, patience: float = PATIENCE
    ) -> list[Body]:
        """Wait until something holds of all objects of a kind that a field selector names; return them."""
        found: list[Body] = []
        for objects in self._changes(spot, selector, patience):
            found = list(objects.values())
            if holds(found):
                return found
        raise AssertionError(f"{spot} {selector}: not {what} after {patience:.0f} s; there are {found}")

    def _changes(self, spot: Spot, selector: str, patience: float) -> Iterator[dict[tuple[str, str], Body]]:
        """Yield the objects at first and after each change, until the patience is over."""
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            try:
                listed = self.wire().call("GET", f"{spot.path}?{urlencode({'fieldSelector': selector})}")
                objects = {_place(item): item for item in listed["items"]}
                yield objects
                for event in self._stream(spot, selector, listed["metadata"]["resourceVersion"], limit):
                    if event["type"] == "ERROR":
                        break  # too old: list again
                    if event["type"] == "DELETED":
                        objects.pop(_place(event["object"]), None)
                    else:
                        objects[_place(event["object"])] = event["object"]
                    yield objects
            except (OSError, HTTPException, ValueError):
                time.sleep(_TICK)  # the API server is away: it tells nobody when it comes back

    def _stream(self, spot: Spot, selector: str, version: str, limit: float) -> Iterator[Body]:
        seconds = max(int(limit - time.monotonic()), 1)
        query = {"watch": "1", "fieldSelector": selector, "resourceVersion": version, "timeoutSeconds": seconds}
        with contextlib.closing(self._connect(seconds + 5.0)) as connection:
            headers = {"Authorization": f"Bearer {self.plane.admin_token}"}
            connection.request("GET", f"{spot.path}?{urlencode(query)}", headers=headers)
            for line in connection.getresponse():
                yield json.loads(line)

    def _connect(self, timeout: float) -> Any:
        import http.client
        import ssl

        where = urlsplit(self.plane.url)
        context = ssl.create_default_context(cadata=self.plane.ca_pem)
        return http.client.HTTPSConnection(where.hostname or "", where.port, timeout=timeout, context=context)


@dataclass(slots=True)
class _Seen:
    last: Body | None = field(default=None)


def _place(body: Body) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _told(body: Body | None) -> str:
    """Return what helps to see why a wait was in vain, never data."""
    if body is None:
        return "not there"
    metadata = {name: body["metadata"].get(name) for name in ("generation", "labels", "annotations")}
    return json.dumps({"metadata": metadata, "status": body.get("status")}, indent=1)


def eventually(holds: Callable[[], bool], what: str, *, patience: float = PATIENCE) -> None:
    """Wait until something holds of a server that tells nobody of its changes: Vault, PostgreSQL, a log file."""
    limit = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < limit, f"not {what} after {patience:.0f} s"
        time.sleep(_TICK)


def ready_condition(body: Body | None) -> Body | None:
    """Return the Ready condition, None where there is none."""
    conditions = ((body or {}).get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == "Ready"), None)
