"""A cluster in memory, with a memory, behind the operator's own adapters.

`ClusterWorld` stands in the place of `cluster.api.KubeApi`: the real adapters of Secrets, status, workloads, records,
events, tokens and lists run on it, so that what they send is what is tested. Users act through `put`, `edit` and
`remove`, which no fault touches. What a watch would say waits in `storage.stream` until a test lets it be heard.

Faults: `deny`, `fail`, `lose_answer`, `crash` (a `Crash`, which nothing of ours may catch), and `gate`.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from leasehold.cluster import gist, listing, workloads
from leasehold.cluster.access import Access
from leasehold.cluster.answers import translate
from leasehold.cluster.api import ACCOUNTS, CONFIG_MAPS, EVENTS, MERGE_PATCH, SECRETS, Request, Resource
from leasehold.cluster.credentials import KubeCredentials, Tokens
from leasehold.domain import desired
from leasehold.domain.errors import Missing, Unavailable
from leasehold.domain.facts import WorkloadRef
from leasehold.domain.ports import Clock, Credentials, Identity, StoreRef
from leasehold.domain.report import rfc3339
from leasehold.domain.values import SecretBytes
from tests.worlds.kube import Echo, Refusal, Storage, Writer
from tests.worlds.vault import encode_jwt

SYSTEM = "leasehold-system"
RESOURCES: Mapping[str, Resource] = {
    **listing.RESOURCES,
    **workloads.RESOURCES,
    "ServiceAccount": ACCOUNTS,
    "ConfigMap": CONFIG_MAPS,
    "Event": EVENTS,
}
KINDS = {resource.plural: kind for kind, resource in RESOURCES.items()}
CLUSTERED = frozenset({"ClusterSecretStore", "Namespace"})
USER = Writer("kubectl-edit")


class Crash(BaseException):
    """The process ends here: power loss, SIGKILL, out of memory."""


@dataclass
class Fault:
    """What happens to the next matching requests. "*" matches all."""

    verb: str = "*"
    resource: str = "*"
    """Plural, with its subresource: externalsecrets/status."""
    name: str = "*"
    status: int = 503
    reason: str = "ServiceUnavailable"
    retry_after: float | None = None
    times: int | None = 1
    """None: until `lift`."""
    skip: int = 0
    """So many matching requests pass before."""
    after: bool = False
    """The server acts first, only its answer is lost."""
    crash: bool = False

    def hits(self, request: Request) -> bool:
        """Tell whether the fault strikes now, and count."""
        told = (request.verb, request.label, request.name or _named(request))
        wanted = (self.verb, self.resource, self.name)
        if any(one not in ("*", said) for one, said in zip(wanted, told, strict=True)):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def lift(self) -> None:
        """End the fault."""
        self.times = 0


class ClusterWorld:
    """One API server in memory; has the face of `KubeApi`."""

    def __init__(self, clock: Clock, *, namespace: str = SYSTEM) -> None:
        self.clock = clock
        self.storage = Storage(lambda: rfc3339(clock.now()))
        self.faults: list[Fault] = []
        self.calls: list[Request] = []
        """Requests that arrived, refused ones included."""
        self.undefined: set[str] = set()
        """Kinds whose CRD is not installed."""
        self.ending: set[str] = set()
        """Namespaces that are being deleted."""
        self.gate: asyncio.Event | None = None
        """Requests that arrive wait here."""
        self.token_life: float = 600.0
        claims = {"sub": f"system:serviceaccount:{namespace}:leasehold"}
        own = SecretBytes(f"head.{base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip('=')}.canary")
        self.access = Access("http://kubernetes.test", None, lambda: own, namespace)
        self.add_namespace(namespace)
        self.put({"kind": "ServiceAccount", "metadata": {"name": "leasehold", "namespace": namespace}})

    # ---------------------------------------------------------------------------------------------------- as KubeApi

    async def send(self, request: Request) -> Any:
        """Answer a request, or raise what `KubeApi.send` raises."""
        try:
            return orjson.loads(orjson.dumps(await self.serve(request)))
        except Refusal as refusal:
            raise translate(request, refusal.status, refusal.body, refusal.retry_after) from None
        except ConnectionError:
            raise Unavailable("the answer is lost", path=request.where, remedy="it is tried again") from None

    async def serve(self, request: Request) -> dict[str, Any]:
        """Answer a request, or raise the Refusal, the ConnectionError of a lost answer, or the Crash."""
        self.calls.append(request)
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        fault = next((fault for fault in self.faults if fault.hits(request)), None)
        if fault is not None and not fault.after:
            self._strike(request, fault)
        answer = self._answer(request)
        if fault is not None:
            self._strike(request, fault)
        return answer

    async def get(self, resource: Resource, namespace: str, name: str, **options: Any) -> Any | None:
        """Return one object, None where there is none."""
        try:
            return await self.send(Request("get", resource, namespace, name, **options))
        except Missing:
            return None

    async def close(self) -> None:
        """Nothing is open."""

    def _strike(self, request: Request, fault: Fault) -> NoReturn:
        if fault.crash:
            raise Crash(f"{request.verb} {request.where}")
        if fault.after:
            raise ConnectionError
        raise Refusal(fault.status, fault.reason, retry_after=fault.retry_after, message="")

    def _answer(self, request: Request) -> dict[str, Any]:
        if KINDS[request.resource.plural] in self.undefined:
            raise Refusal(404, "NotFound")
        body = orjson.loads(request.body) if isinstance(request.body, bytes) else request.body
        if request.subresource == "token":
            return self._token(request, body)
        return self._shown(request, getattr(self, f"_{request.verb}")(request, body))

    def _shown(self, request: Request, answer: dict[str, Any]) -> dict[str, Any]:
        if "PartialObjectMetadata" not in request.accept:
            return answer
        items = [{"metadata": item["metadata"]} for item in answer["items"]]
        return {**answer, "kind": "PartialObjectMetadataList", "items": items}

    def _get(self, request: Request, _: Any) -> dict[str, Any]:
        return self.storage.get(request.resource, request.namespace, request.name)

    def _list(self, request: Request, _: Any) -> dict[str, Any]:
        return self.storage.list(request.resource, request.namespace, request.params)

    def _create(self, request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
        self._check_namespace(request.namespace)
        return self.storage.create(request.resource, request.namespace, body, _writer(request))

    def _update(self, request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.storage.replace(request.resource, request.namespace, request.name, body, _writer(request))

    def _patch(self, request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
        merge = request.content_type == MERGE_PATCH
        act = self.storage.merge if merge else self.storage.apply
        return act(request.resource, request.namespace, request.name, body, _writer(request, merge=merge))

    def _delete(self, request: Request, body: Mapping[str, Any] | None) -> dict[str, Any]:
        return self.storage.delete(request.resource, request.namespace, request.name, body or {})

    def _check_namespace(self, namespace: str) -> None:
        if namespace and ("", "namespaces", "", namespace) not in self.storage.objects:
            raise Refusal(404, "NotFound")
        if namespace in self.ending:
            raise Refusal(403, "Forbidden", cause="NamespaceTerminating")

    def _token(self, request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
        self.storage.get(ACCOUNTS, request.namespace, request.name)
        audience = next(iter(body["spec"].get("audiences") or ()), "")
        ends = rfc3339(self.clock.now() + self.token_life)
        return {"status": {"token": encode_jwt(request.namespace, request.name, audience), "expirationTimestamp": ends}}

    # --------------------------------------------------------------------------------------------------------- faults

    def inject(self, fault: Fault) -> Fault:
        """Let a fault strike; the first that matches a request does."""
        self.faults.append(fault)
        return fault

    def deny(self, verb: str = "*", resource: str = "*") -> Fault:
        """Take a right away, until the fault is lifted."""
        return self.inject(Fault(verb, resource, status=403, reason="Forbidden", times=None))

    def fail(self, times: int | None = 1, verb: str = "*", resource: str = "*", **more: Any) -> Fault:
        """Be unavailable for so many matching requests."""
        return self.inject(Fault(verb, resource, times=times, **more))

    def conflict(self, verb: str, resource: str, **more: Any) -> Fault:
        """Answer one request as if somebody else had written first."""
        return self.inject(Fault(verb, resource, status=409, reason="Conflict", **more))

    def lose_answer(self, verb: str = "*", resource: str = "*", **more: Any) -> Fault:
        """Act upon one request and lose the answer."""
        return self.inject(Fault(verb, resource, after=True, **more))

    def crash(self, verb: str = "*", resource: str = "*", *, nth: int = 1, after: bool = False) -> Fault:
        """End the process before (or after) the nth matching request."""
        return self.inject(Fault(verb, resource, skip=nth - 1, crash=True, after=after))

    # ---------------------------------------------------------------------------------------------------------- users

    def put(self, body: Mapping[str, Any], *, manager: str = USER.manager) -> dict[str, Any]:
        """Create an object, or replace it, as a user: no fault, no call. Its namespace is made too."""
        made = copy.deepcopy(dict(body))
        kind, metadata = made["kind"], made["metadata"]
        namespace = "" if kind in CLUSTERED else metadata.setdefault("namespace", "default")
        self.add_namespace(namespace)
        resource, writer = RESOURCES[kind], Writer(manager)
        if (resource.group, resource.plural, namespace, metadata["name"]) in self.storage.objects:
            return self.storage.replace(resource, namespace, metadata["name"], made, writer)
        return self.storage.create(resource, namespace, made, writer)

    def put_secret(self, namespace: str, name: str, /, **data: str) -> dict[str, Any]:
        """Write a Secret of texts as a user."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        return self.put({"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": encoded})

    def edit(self, kind: str, namespace: str, name: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Change an object in place as a user does."""
        resource = RESOURCES[kind]
        body = self.storage.get(resource, namespace, name)
        change(body)
        place = (resource.group, resource.plural, namespace, name)
        return self.storage.change(place, body, USER)

    def remove(self, kind: str, namespace: str, name: str, *, collect: bool = True) -> None:
        """Delete an object as a user; ``collect``: the garbage collector takes what it owned."""
        body = self.storage.delete(RESOURCES[kind], namespace, name, {})
        if collect:
            self.collect_garbage(body["metadata"]["uid"])

    def collect_garbage(self, uid: str) -> None:
        """Delete the Secrets whose only owner is gone."""
        for body in self.every("Secret"):
            owners = body["metadata"].get("ownerReferences") or ()
            if owners and all(ref["uid"] == uid for ref in owners):
                self.remove("Secret", body["metadata"]["namespace"], body["metadata"]["name"])

    def add_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Make a namespace, or set its labels."""
        namespace = {"metadata": {"name": name, "labels": dict(labels or {})}}
        if name and ("", "namespaces", "", name) not in self.storage.objects:
            self.storage.create(listing.NAMESPACES, "", namespace, USER)
        elif labels is not None:
            self.storage.replace(listing.NAMESPACES, "", name, namespace, USER)

    def finish_rollout(self, ref: WorkloadRef) -> None:
        """Do what a workload's controller does: every replica runs the present template."""

        def finish(body: dict[str, Any]) -> None:
            replicas = body["spec"].get("replicas", 1)
            kinds = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            body["status"] = {"observedGeneration": body["metadata"]["generation"], **dict.fromkeys(kinds, replicas)}

        self.edit(ref.kind, ref.namespace, ref.name, finish)

    # --------------------------------------------------------------------------------------------------------- looking

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a copy of an object, None where there is none."""
        try:
            return self.storage.get(RESOURCES[kind], namespace, name)
        except Refusal:
            return None

    def every(self, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        """Return copies of all objects of a kind."""
        return list(self.storage.list(RESOURCES[kind], namespace, {})["items"])

    def data(self, namespace: str, name: str) -> dict[str, str] | None:
        """Return the texts of a Secret, None where there is none."""
        body = self.find("Secret", namespace, name)
        if body is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}

    def status(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return the status of an object."""
        body = self.find(kind, namespace, name)
        assert body is not None, f"there is no {kind} {namespace}/{name}"
        return dict(body.get("status") or {})

    def ready(self, kind: str, namespace: str, name: str) -> tuple[str, str, str] | None:
        """Return status, reason and message of the Ready condition, None before the first."""
        for condition in self.status(kind, namespace, name).get("conditions") or ():
            if condition["type"] == "Ready":
                return condition["status"], condition["reason"], condition["message"]
        return None

    def told(self, name: str = "") -> list[tuple[str, str]]:
        """Return reason and message of the posted Events (about one object), in order."""
        events = sorted(self.every("Event"), key=lambda body: int(body["metadata"]["uid"].removeprefix("uid-")))
        return [(body["reason"], body["message"]) for body in events if name in ("", body["involvedObject"]["name"])]

    def count(self, verb: str, resource: str = "*") -> int:
        """Return how many such requests arrived."""
        return sum(call.verb == verb and resource in ("*", call.label) for call in self.calls)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        """Verb, resource and name of every writing request that arrived, Events and TokenRequests aside."""
        return [
            (call.verb, call.label, call.name or _named(call))
            for call in self.calls
            if call.verb not in ("get", "list") and call.label not in ("events", "serviceaccounts/token")
        ]

    def credentials(self, tokens: Tokens | None = None, *, audience: str = "vault") -> Callable[..., Credentials]:
        """Return the factory that a registry asks: the operator's own, on this cluster."""
        held = tokens or Tokens(self, self.clock)  # type: ignore[arg-type]

        def make(ref: StoreRef, _spec: object, identity: Identity) -> Credentials:
            return KubeCredentials(self, held, ref, identity, audience)  # type: ignore[arg-type]

        return make


def watched(echo: Echo) -> tuple[str, str, Mapping[str, Any]] | None:
    """Return what our watch says of a change: kind, type and object; None where it says nothing.

    Secrets and namespaces come as metadata only, Secrets by their label: one that no longer matches is DELETED.
    """
    kind = KINDS[echo.plural]
    if kind not in listing.RESOURCES:
        return None
    if kind == gist.NAMESPACE:
        return kind, echo.type, {"metadata": echo.body["metadata"]}
    if kind != gist.SECRET:
        return kind, echo.type, echo.body
    now, before = _managed(echo.body), echo.before is not None and _managed(echo.before)
    if not (now or before):
        return None
    kinds = {(True, False): "ADDED", (False, True): "DELETED"}
    said = echo.type if echo.type == "DELETED" else kinds.get((now, before), "MODIFIED")
    return kind, said, {"metadata": echo.body["metadata"]}


def _managed(body: Mapping[str, Any]) -> bool:
    return (body["metadata"].get("labels") or {}).get(desired.LABEL_MANAGED) == "true"


def _writer(request: Request, *, merge: bool = True) -> Writer:
    manager = request.params.get("fieldManager", "leasehold")
    return Writer(manager, "Update" if merge else "Apply", request.subresource)


def _named(call: Request) -> str:
    return str((call.body.get("metadata") or {}).get("name", "")) if isinstance(call.body, Mapping) else ""


__all__ = ["SECRETS", "SYSTEM", "ClusterWorld", "Crash", "Fault", "watched"]
