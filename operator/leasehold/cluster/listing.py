"""Whole lists in chunks, for the start and for asking about single objects. What kopf hears later is laid over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from leasehold.cluster import gist
from leasehold.cluster.api import JSON, SECRETS, KubeApi, Request, Resource
from leasehold.cluster.objects import RESOURCES as OWN
from leasehold.domain.facts import Key

CHUNK = 500
NAMESPACES = Resource("", "v1", "namespaces")
SELECTOR = "reconcile.external-secrets.io/managed=true"
METADATA_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
RESOURCES: Mapping[str, Resource] = {**OWN, gist.SECRET: SECRETS, gist.NAMESPACE: NAMESPACES}
"""Kind -> its place in the API, for everything that is heard."""
_METADATA_ONLY = frozenset({gist.SECRET, gist.NAMESPACE})


def _request(kind: str, namespace: str, params: Mapping[str, str]) -> Request:
    selector = {"labelSelector": SELECTOR} if kind == gist.SECRET else {}
    accept = METADATA_LIST if kind in _METADATA_ONLY else JSON
    return Request("list", RESOURCES[kind], namespace, params={**params, **selector}, accept=accept)


def _ignore(version: str) -> None:
    pass


async def everything(
    api: KubeApi, kind: str, namespace: str, *, version: Callable[[str], None] = _ignore
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield every object of a kind (of one namespace, or "" for all), metadata only where that suffices.

    ``version`` is told the resourceVersion of the list, from which a watch goes on without a gap.

    Raises:
        Missing: the API server does not know the kind: its CRD is not installed.
        DomainError: it refused or did not answer.
    """
    token = ""
    while True:
        params = {"limit": str(CHUNK), **({"continue": token} if token else {})}
        answer = await api.send(_request(kind, namespace, params))
        metadata, items = answer.get("metadata") or {}, answer.pop("items", None) or []
        version(metadata.get("resourceVersion") or "")
        token = metadata.get("continue") or ""
        items.reverse()
        while items:  # popped, so that what was yielded is freed before the next chunk comes
            yield items.pop()
        if not token:
            return


async def one(api: KubeApi, key: Key) -> Mapping[str, Any] | None:
    """Return one object as a list sees it, None where it is gone (or no longer selected): needs no right but list."""
    params = {"fieldSelector": f"metadata.name={key.name}"}
    answer = await api.send(_request(key.kind, key.namespace, params))
    return next(iter(answer.get("items") or ()), None)
