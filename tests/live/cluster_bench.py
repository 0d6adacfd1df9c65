"""A real API server, as the contracts of the cluster's adapters want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leasehold.cluster import access
from leasehold.cluster.api import KubeApi, Observe
from leasehold.domain.values import SecretBytes
from leasehold.schedule.clock import SystemClock
from testbed.controlplane import ControlPlane
from testbed.wire import Wire
from tests.contracts.cluster import Change
from tests.worlds.cluster import CLUSTERED, RESOURCES

HOLD = "testbed.example/hold"
"""Finalizer of what keeps a namespace from ending."""


def client(control_plane: ControlPlane, token: str = "", *, observe: Observe | None = None) -> KubeApi:
    """Return the operator's client, with the administrator's token or another one."""
    clock = SystemClock()
    found = access.find(str(control_plane.kubeconfig(token)), clock.monotonic, environ={})
    return KubeApi(found, clock) if observe is None else KubeApi(found, clock, observe=observe)


class LiveBench:
    """A `tests.contracts.cluster.ClusterBench` in one namespace of a control plane."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._control_plane, self.namespace, self.clock = control_plane, namespace, SystemClock()
        headers = {"Authorization": f"Bearer {control_plane.admin_token}"}
        self._wire = Wire(control_plane.url, ca_pem=control_plane.ca_pem, headers=headers)
        self.api = client(control_plane)
        self.stranger = client(control_plane, control_plane.service_account_token(namespace, "default"))

    async def close(self) -> None:
        """Close the clients, and let go of what holds the namespace."""
        await self.api.close()
        await self.stranger.close()
        for body in self.every("ConfigMap"):
            if body["metadata"].get("finalizers"):
                self.edit("ConfigMap", body["metadata"]["name"], lambda held: held["metadata"].update(finalizers=[]))

    def put(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        made = self._wire.call("POST", self._path(body["kind"]), body)
        return {**body, **made}

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object."""
        answer = self._wire.ask("GET", self._path(kind, name))
        assert answer.status in (200, 404), answer
        return dict(answer.body) if answer.status == 200 else None

    def every(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        return list(self._wire.call("GET", self._path(kind))["items"])

    def edit(self, kind: str, name: str, change: Change) -> dict[str, Any]:
        """Change an object; a write of a controller in between is no trouble."""
        while True:
            body = self.find(kind, name)
            assert body is not None, f"there is no {kind} {name}"
            change(body)
            answer = self._wire.ask("PUT", self._path(kind, name), body)
            if answer.status != 409:
                assert answer.status == 200, answer
                return dict(answer.body)

    def remove(self, kind: str, name: str) -> None:
        """Delete an object and wait until it is gone."""
        self._wire.call("DELETE", self._path(kind, name))
        self._control_plane.apiserver.wait_until(lambda: self.find(kind, name) is None, f"rid of {kind} {name}")

    def end_namespace(self) -> None:
        """Begin to delete the namespace, and keep it from ending."""
        metadata = {"name": "hold", "finalizers": [HOLD]}
        self.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        self._wire.call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def bearer(self, token: SecretBytes, audience: str) -> str:
        """Ask the API server whose token this is."""
        spec = {"token": token.reveal().decode(), "audiences": [audience]}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = self._wire.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
        if not status.get("authenticated"):
            return ""
        return str(status["user"]["username"]).removeprefix("system:serviceaccount:").replace(":", "/")

    def _path(self, kind: str, name: str = "") -> str:
        return RESOURCES[kind].path("" if kind in CLUSTERED else self.namespace, name)
