"""Sees what happens in one namespace, as it happens: a watch per resource, each sighting with its time.

So the demo can say how long something took and how often it happened, not only how things stand. It is a stranger to
the operator: it uses a client of its own and asks for nothing but lists and watches.
"""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from testbed.controlplane import ControlPlane

RESOURCES: Final = {
    "secrets": "/api/v1/namespaces/{}/secrets",
    "pods": "/api/v1/namespaces/{}/pods",
    "events": "/api/v1/namespaces/{}/events",
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
    "externalsecrets": "/apis/external-secrets.io/v1/namespaces/{}/externalsecrets",
    "secretstores": "/apis/external-secrets.io/v1/namespaces/{}/secretstores",
}
_AGAIN = 0.2
"""Seconds before a watch that broke is opened again."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One event of a watch. `at` is the monotonic time of its arrival."""

    at: float
    change: str
    """ADDED, MODIFIED or DELETED."""
    body: Mapping[str, Any]

    @property
    def version(self) -> str:
        """The object's resourceVersion."""
        return str(self.body["metadata"]["resourceVersion"])


Listener = Callable[[str, Sighting], None]


class Witness:
    """Everything that was seen in a namespace since `start`."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        """Watch as the administrator of a control plane."""
        self._plane, self._namespace = plane, namespace
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], list[Sighting]] = {}
        self._listeners: list[Listener] = []
        self._watches = [_Watch(self, resource) for resource in RESOURCES]

    def start(self) -> None:
        """Open the watches and return when each has its first list."""
        for watch in self._watches:
            watch.start()
        for watch in self._watches:
            watch.listed.wait(timeout=30.0)

    def stop(self) -> None:
        """Close the watches."""
        for watch in self._watches:
            watch.stop()

    def listen(self, listener: Listener) -> None:
        """Have a function called with resource and sighting, on the thread of the watch."""
        self._listeners.append(listener)

    def sightings(self, resource: str, name: str) -> list[Sighting]:
        """Return all that was seen of one object, the first sighting first."""
        with self._lock:
            return list(self._seen.get((resource, name), ()))

    def last(self, resource: str, name: str) -> Sighting | None:
        """Return the last sighting of an object, None where it was never seen or was deleted."""
        seen = self.sightings(resource, name)
        return seen[-1] if seen and seen[-1].change != "DELETED" else None

    def present(self, resource: str) -> list[Mapping[str, Any]]:
        """Return every object of a resource that is there."""
        with self._lock:
            ends = [seen[-1] for (kind, _), seen in self._seen.items() if kind == resource]
        return [sighting.body for sighting in ends if sighting.change != "DELETED"]

    def path(self, resource: str) -> str:
        """Return the path of a resource in the namespace."""
        return RESOURCES[resource].format(self._namespace)

    @property
    def plane(self) -> ControlPlane:
        """The control plane that is watched."""
        return self._plane

    def note(self, resource: str, change: str, body: Mapping[str, Any]) -> None:
        """Take one event of a watch; one that was seen already (a list after a broken watch) is dropped."""
        sighting = Sighting(time.monotonic(), change, body)
        with self._lock:
            seen = self._seen.setdefault((resource, body["metadata"]["name"]), [])
            if seen and seen[-1].version == sighting.version and seen[-1].change != "DELETED" != change:
                return
            seen.append(sighting)
        for listener in self._listeners:
            listener(resource, sighting)


class _Watch(threading.Thread):
    """The watch of one resource."""

    def __init__(self, witness: Witness, resource: str) -> None:
        super().__init__(name=f"watch of {resource}", daemon=True)
        self.listed = threading.Event()
        self._witness, self._resource = witness, resource
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._watch(self._list())
            except (OSError, http.client.HTTPException, ValueError):
                self._stopping.wait(_AGAIN)  # the API server may be away; the next list tells what was missed

    def stop(self) -> None:
        """End it; a read that waits is woken by the end of its connection."""
        self._stopping.set()
        if self._socket is not None:
            # The method of the plain socket: that of TLS would pull the session from under the reader.
            try:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                pass
        if self.is_alive():
            self.join(timeout=5.0)

    def _list(self) -> str:
        plane, path = self._witness.plane, self._witness.path(self._resource)
        listed = plane.api("GET", path)
        there = {item["metadata"]["name"] for item in listed["items"]}
        for body in self._witness.present(self._resource):
            if body["metadata"]["name"] not in there:
                self._witness.note(self._resource, "DELETED", body)
        for item in listed["items"]:
            self._witness.note(self._resource, "ADDED", item)
        self.listed.set()
        return str(listed["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> None:
        plane, path = self._witness.plane, self._witness.path(self._resource)
        context = ssl.create_default_context(cadata=plane.ca_pem)
        connection = http.client.HTTPSConnection(urlsplit(plane.url).netloc, context=context)
        try:
            headers = {"Authorization": f"Bearer {plane.admin_token}"}
            connection.connect()
            self._socket = connection.sock
            connection.request("GET", f"{path}?watch=1&resourceVersion={version}", headers=headers)
            response = connection.getresponse()
            while (line := response.readline()) and not self._stopping.is_set():
                event = json.loads(line)
                if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                    return  # an error such as 410: list again
                self._witness.note(self._resource, event["type"], event["object"])
        finally:
            self._socket = None
            connection.close()
