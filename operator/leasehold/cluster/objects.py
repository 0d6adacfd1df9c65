"""Writes to our own kinds: status by one merge-patch, and nothing else (docs/decisions/0003: no finalizers)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.stores import ClusterSecretStore, SecretStore
from leasehold.cluster.api import MERGE_PATCH, KubeApi, Request, Resource
from leasehold.domain.errors import Denied, Misconfigured, Missing
from leasehold.domain.facts import Key

MODELS = (ExternalSecret, SecretStore, ClusterSecretStore, VaultDynamicSecret)
RESOURCES: Mapping[str, Resource] = {
    model.resource.kind: Resource(model.resource.group, model.resource.version, model.resource.plural)
    for model in MODELS
}
"""Kind -> its place in the API."""
_log = structlog.get_logger(__name__)


def _ignore(key: Key, uid: str, version: str) -> None:
    pass


class KubeObjects:
    """ports.Objects on the API server."""

    def __init__(self, api: KubeApi, *, noted: Callable[[Key, str, str], None] = _ignore) -> None:
        """Take the client, and whom to tell of each write: key, uid and the resourceVersion that it made."""
        self._api, self._noted = api, noted

    async def patch_status(self, key: Key, patch: Mapping[str, Any]) -> None:
        """Merge-patch the status subresource; an object that is gone is success."""
        request = Request(
            "patch",
            RESOURCES[key.kind],
            key.namespace,
            key.name,
            subresource="status",
            params={"fieldManager": "leasehold"},
            body={"status": patch},
            content_type=MERGE_PATCH,
        )
        try:
            metadata = (await self._api.send(request))["metadata"]
        except Missing:
            return
        except (Denied, Misconfigured) as error:
            # nobody will read of this in the status itself
            _log.warning("status_not_written", object=str(key), problem=str(error))
            raise
        self._noted(key, metadata["uid"], metadata["resourceVersion"])
