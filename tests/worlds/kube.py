"""Kubernetes objects in memory, with the rules of the API server that the operator meets.

Resource versions and conflicts, generations, managedFields, preconditions, finalizers, selectors, chunks, immutable
and invalid Secrets, and a stream of what a watch would say. `cluster.ClusterWorld` puts identities and faults in front
of it. What is asserted of it in `tests/contracts` is asserted of a real server too.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leasehold.cluster.api import Resource
from tests.worlds import fieldsets

Place = tuple[str, str, str, str]
"""Group, plural, namespace, name."""
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
REQUIRED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


class Refusal(Exception):
    """An answer that is no success: HTTP status, Status.reason, and the fields that are to blame."""

    def __init__(
        self,
        status: int,
        reason: str,
        *fields: str,
        cause: str = "",
        retry_after: float | None = None,
        message: str = "canary: what the server says",
    ) -> None:
        super().__init__(f"{status} {reason}")
        causes = [{"field": field} for field in fields] + ([{"reason": cause}] if cause else [])
        self.status, self.retry_after = status, retry_after
        self.body = {"kind": "Status", "reason": reason, "message": message, "details": {"causes": causes}}


@dataclass(frozen=True)
class Echo:
    """One watch event: ADDED, MODIFIED or DELETED."""

    plural: str
    type: str
    body: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    """What was there before the event: a selector may have matched it."""


@dataclass(frozen=True)
class Writer:
    """Who writes: the field manager and by which operation, as managedFields records them."""

    manager: str
    operation: str = "Update"
    subresource: str = ""


class Storage:
    """The objects, and the rules by which they change. Methods raise `Refusal`."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self.objects: dict[Place, dict[str, Any]] = {}
        self.revision = 100
        self.stream: list[Echo] = []
        """What watches would have said since the start, in order."""
        self.listeners: list[Callable[[], None]] = []
        """Whom to tell of every change."""
        self._pages: dict[str, list[dict[str, Any]]] = {}

    # ------------------------------------------------------------------------------------------------------- reading

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Return a copy of one object."""
        return copy.deepcopy(self._held(_place(resource, namespace, name)))

    def list(self, resource: Resource, namespace: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Return a list, in chunks where a limit says so."""
        if token := params.get("continue"):
            found = self._pages.pop(token, None)
            if found is None:
                raise Refusal(410, "Expired")
        else:
            found = [
                copy.deepcopy(body)
                for place, body in sorted(self.objects.items(), key=lambda item: item[0])
                if place[:2] == (resource.group, resource.plural) and namespace in ("", place[2])
                if selected(body, params)
            ]
        limit = int(params.get("limit", 0)) or len(found)
        metadata: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if rest := found[limit:]:
            metadata["continue"] = f"page-{self.revision}-{len(self._pages)}-{len(rest)}"
            self._pages[metadata["continue"]] = rest
        return {"kind": "List", "metadata": metadata, "items": found[:limit]}

    def _held(self, place: Place) -> dict[str, Any]:
        if place not in self.objects:
            raise Refusal(404, "NotFound")
        return self.objects[place]

    # ------------------------------------------------------------------------------------------------------- writing

    def create(self, resource: Resource, namespace: str, body: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
        """POST."""
        made = copy.deepcopy(dict(body))
        metadata = made.setdefault("metadata", {})
        place = _place(resource, namespace, metadata.get("name", ""))
        if metadata.get("resourceVersion"):
            raise Refusal(400, "BadRequest")
        if place in self.objects:
            raise Refusal(409, "AlreadyExists")
        if namespace:
            metadata["namespace"] = namespace
        metadata |= {"uid": f"uid-{self.revision + 1}", "creationTimestamp": self._now()}
        if "spec" in made:
            metadata["generation"] = 1
        if resource.plural == "secrets":
            made.setdefault("type", "Opaque")
        validate(resource.plural, made, None)
        metadata["managedFields"] = fieldsets.written(None, made, writer, now=self._now())
        return self._put(place, made)

    def replace(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], writer: Writer
    ) -> dict[str, Any]:
        """PUT: the whole object, of the version that it names (or of any, without one)."""
        place = _place(resource, namespace, name)
        old = self._held(place)
        new = copy.deepcopy(dict(body))
        given = new.setdefault("metadata", {})
        _check_version(old, given)
        for field in ("uid", "namespace", "name", "creationTimestamp", "deletionTimestamp", "generation"):
            if field in old["metadata"]:
                given[field] = old["metadata"][field]
        if "status" in old and resource.group:
            new["status"] = copy.deepcopy(old["status"])
        if resource.plural == "secrets":
            new.setdefault("type", "Opaque")
        return self.change(place, new, writer)

    def merge(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], writer: Writer
    ) -> dict[str, Any]:
        """PATCH by RFC 7386; a subresource status changes nothing but the status."""
        place = _place(resource, namespace, name)
        old = self._held(place)
        given = patch.get("metadata") or {}
        _check_version(old, given)
        if writer.subresource == "status":
            patch = {"status": patch.get("status")}
        new = merge_patch(old, patch)
        return self.change(place, new, writer)

    def apply(
        self, resource: Resource, namespace: str, name: str, config: Mapping[str, Any], writer: Writer
    ) -> dict[str, Any]:
        """PATCH by server-side apply, forced: what the manager applied before and does not now goes."""
        place = _place(resource, namespace, name)
        given = dict(config.get("metadata") or {})
        if place not in self.objects:  # it would be made; who names a uid means one that is there
            raise Refusal(409, "Conflict") if given.get("uid") else Refusal(422, "Invalid", "spec.selector")
        old = self._held(place)
        _check_version(old, given)
        for field in ("resourceVersion", "uid", "name", "namespace"):
            given.pop(field, None)
        wanted = {**{key: value for key, value in config.items() if key not in ("apiVersion", "kind")}}
        wanted["metadata"] = given
        new = fieldsets.applied(old, wanted, writer)
        return self.change(place, new, writer)

    def change(self, place: Place, new: dict[str, Any], writer: Writer) -> dict[str, Any]:
        """Write an object that is there; nothing happens where nothing differs."""
        old = self.objects[place]
        validate(place[1], new, old)
        if "spec" in new and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        fields = fieldsets.written(old, new, writer, now=self._now())
        if _bare(old) == _bare(new):
            return copy.deepcopy(old)
        new["metadata"]["managedFields"] = fields
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            return self._remove(place)
        return self._put(place, new)

    def delete(self, resource: Resource, namespace: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """DELETE: at once, or marked while finalizers hold it."""
        place = _place(resource, namespace, name)
        old = self._held(place)
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != old["metadata"]["uid"]:
            raise Refusal(409, "Conflict")
        if old["metadata"].get("finalizers"):
            if "deletionTimestamp" in old["metadata"]:
                return copy.deepcopy(old)
            return self._put(place, merge_patch(old, {"metadata": {"deletionTimestamp": self._now()}}))
        return self._remove(place)

    def _put(self, place: Place, body: dict[str, Any]) -> dict[str, Any]:
        before = self.objects.get(place)
        self.revision += 1
        body["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[place] = body
        kind = "ADDED" if before is None else "MODIFIED"
        self._say(Echo(place[1], kind, copy.deepcopy(body), copy.deepcopy(before)))
        return copy.deepcopy(body)

    def _remove(self, place: Place) -> dict[str, Any]:
        body = self.objects.pop(place)
        self.revision += 1
        gone = copy.deepcopy(body)
        gone["metadata"]["resourceVersion"] = str(self.revision)
        self._say(Echo(place[1], "DELETED", gone, copy.deepcopy(body)))
        return copy.deepcopy(body)

    def _say(self, echo: Echo) -> None:
        self.stream.append(echo)
        for listener in self.listeners:
            listener()


def _place(resource: Resource, namespace: str, name: str) -> Place:
    if not name:
        raise Refusal(422, "Invalid", "metadata.name")
    return resource.group, resource.plural, namespace, name


def _check_version(old: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    version, uid = given.get("resourceVersion"), given.get("uid")
    if version and version != old["metadata"]["resourceVersion"]:
        raise Refusal(409, "Conflict")
    if uid and uid != old["metadata"]["uid"]:
        raise Refusal(409, "Conflict")


def _bare(body: Mapping[str, Any]) -> str:
    """Return what a write must differ in: versions and bookkeeping do not count."""
    told = {key: value for key, value in body.items() if value and key != "metadata"}
    metadata = {key: value for key, value in body["metadata"].items() if value}
    for field in ("resourceVersion", "managedFields"):
        metadata.pop(field, None)
    return json.dumps({**told, "metadata": metadata}, sort_keys=True)


def merge_patch(old: Any, patch: Any) -> Any:
    """Return a document patched by RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(copy.deepcopy(old)) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def selected(body: Mapping[str, Any], params: Mapping[str, str]) -> bool:
    """Tell whether label and field selectors (equality only) match."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    fields = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
    return all(labels.get(key) == value for key, value in _terms(params.get("labelSelector", ""))) and all(
        fields[key] == value for key, value in _terms(params.get("fieldSelector", ""))
    )


def _terms(selector: str) -> Iterator[tuple[str, str]]:
    for term in filter(None, selector.split(",")):
        key, _, value = term.partition("=")
        yield key, value


def validate(plural: str, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
    """Refuse what the API server refuses of labels and Secrets (validation.go of core/v1)."""
    for name, value in (new["metadata"].get("labels") or {}).items():
        if len(value) > 63 or not LABEL.fullmatch(value):
            raise Refusal(422, "Invalid", f"metadata.labels.{name}")
    if plural != "secrets":
        return
    data = new.get("data") or {}
    bad = [f"data[{key}]" for key in data if not KEY.fullmatch(key)]
    bad += [f"data[{key}]" for key in REQUIRED.get(new["type"], ()) if key not in data]
    if sum(len(base64.b64decode(value or "")) for value in data.values()) > 1024 * 1024:
        bad.append("data")
    if old is not None:
        if new["type"] != old["type"]:
            bad.append("type")
        if old.get("immutable"):
            bad += ["immutable"] if not new.get("immutable") else []
            bad += ["data"] if data != (old.get("data") or {}) else []
    if bad:
        raise Refusal(422, "Invalid", *bad)
