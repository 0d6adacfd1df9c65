"""Workloads: listed slim when a Secret has changed, restarted by their pod template's annotations."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from leasehold.cluster.api import APPLY_PATCH, KubeApi, Request, Resource
from leasehold.domain.facts import Workload, WorkloadRef

MANAGER = "leasehold-rollout"
RESOURCES: Mapping[str, Resource] = {
    "Deployment": Resource("apps", "v1", "deployments"),
    "StatefulSet": Resource("apps", "v1", "statefulsets"),
    "DaemonSet": Resource("apps", "v1", "daemonsets"),
}


class KubeWorkloads:
    """ports.Workloads on the API server."""

    def __init__(self, api: KubeApi) -> None:
        """Take the client."""
        self._api = api

    async def list(self, namespace: str) -> Sequence[Workload]:
        """Return all Deployments, StatefulSets and DaemonSets of the namespace."""
        requests = [self._api.send(Request("list", resource, namespace)) for resource in RESOURCES.values()]
        answers = await asyncio.gather(*requests)
        return [
            _workload(kind, item)
            for kind, answer in zip(RESOURCES, answers, strict=True)
            for item in answer.get("items") or ()
        ]

    async def get(self, ref: WorkloadRef) -> Workload | None:
        """Return one workload, or None."""
        body = await self._api.get(RESOURCES[ref.kind], ref.namespace, ref.name)
        return None if body is None else _workload(ref.kind, body)

    async def annotate(self, workload: Workload, annotations: Mapping[str, str]) -> None:
        """Set pod-template annotations under our own field manager, which restarts the workload.

        Server-side apply: the annotations given are all that the manager owns, so others' fields are never touched
        and ours that are no longer wanted go. Conflict where the workload has moved since it was looked at.
        """
        ref = workload.ref
        body = {
            "apiVersion": "apps/v1",
            "kind": ref.kind,
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "resourceVersion": workload.resource_version,
                "uid": workload.uid,  # without it a workload that is gone is tried to be made: 422 instead of 409
            },
            "spec": {"template": {"metadata": {"annotations": dict(annotations)}}},
        }
        request = Request(
            "patch",
            RESOURCES[ref.kind],
            ref.namespace,
            ref.name,
            params={"fieldManager": MANAGER, "force": "true"},
            body=orjson.dumps(body),
            content_type=APPLY_PATCH,
        )
        await self._api.send(request)


def _workload(kind: str, body: Mapping[str, Any]) -> Workload:
    metadata, spec = body["metadata"], body.get("spec") or {}
    template = spec.get("template") or {}
    return Workload(
        ref=WorkloadRef(kind, metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=int(metadata.get("generation", 0)),
        pod_spec=template.get("spec") or {},
        pod_annotations=(template.get("metadata") or {}).get("annotations") or {},
        spec={field: value for field, value in spec.items() if field != "template"},
        status=body.get("status") or {},
        created_at=_seconds(metadata.get("creationTimestamp", "")),
    )


def _seconds(text: str) -> float:
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
