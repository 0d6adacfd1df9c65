"""Target Secrets: the one place where values become base64 on their way to the API server."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from leasehold.cluster.api import SECRETS, KubeApi, Request
from leasehold.domain.errors import Missing
from leasehold.domain.facts import LiveSecret, WantedSecret, Written
from leasehold.domain.values import SecretBytes, SecretMap


def encode(data: SecretMap) -> dict[str, str]:
    """Return the data field of a Secret."""
    return {key: base64.b64encode(value.reveal()).decode() for key, value in data.items()}


def decode(data: Mapping[str, str] | None) -> dict[str, SecretBytes]:
    """Return the values of a Secret's data field."""
    return {key: SecretBytes(base64.b64decode(value or "")) for key, value in (data or {}).items()}


class KubeSecrets:
    """ports.Secrets on the API server."""

    def __init__(self, api: KubeApi) -> None:
        """Take the client."""
        self._api = api

    async def get(self, namespace: str, name: str) -> LiveSecret | None:
        """Return the Secret with its data, or None."""
        body = await self._api.get(SECRETS, namespace, name)
        if body is None:
            return None
        return LiveSecret(
            metadata=body["metadata"],
            type=body.get("type") or "Opaque",
            immutable=bool(body.get("immutable")),
            data=decode(body.get("data")),
        )

    async def create(self, wanted: WantedSecret) -> Written:
        """POST it; Conflict where it exists."""
        return await self._write("create", wanted, "")

    async def replace(self, wanted: WantedSecret) -> Written:
        """PUT it at exactly ``wanted.resource_version``; Conflict where it has moved."""
        return await self._write("update", wanted, wanted.name)

    async def _write(self, verb: str, wanted: WantedSecret, name: str) -> Written:
        params = {"fieldManager": wanted.field_manager}
        request = Request(verb, SECRETS, wanted.namespace, name, params=params, body=_body(wanted))
        metadata = (await self._api.send(request))["metadata"]
        return Written(metadata["uid"], metadata["resourceVersion"])

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly that object (uid precondition); gone already is success."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._api.send(Request("delete", SECRETS, namespace, name, body=body))
        except Missing:
            return


def _body(wanted: WantedSecret) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": wanted.name,
        "namespace": wanted.namespace,
        "labels": dict(wanted.labels),
        "annotations": dict(wanted.annotations),
        "ownerReferences": [dict(ref) for ref in wanted.owner_references],
        "finalizers": list(wanted.finalizers),
    }
    if wanted.resource_version:
        metadata |= {"resourceVersion": wanted.resource_version, "uid": wanted.uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {field: value for field, value in metadata.items() if value},
        "type": wanted.type,
        "data": encode(wanted.data),
        **({"immutable": True} if wanted.immutable else {}),
    }
