"""What a GitOps tool does, on a real API server: apply again and again, with the operator's writes in between.

docs/how-to/gitops.md promises that nothing drifts. Argo CD and Flux themselves are not run; both apply and compare on
the server as is done here.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.cluster import access
from leasehold.cluster.api import KubeApi
from leasehold.cluster.objects import KubeObjects
from leasehold.cluster.workloads import MANAGER, KubeWorkloads
from leasehold.domain.errors import Conflict
from leasehold.domain.facts import Key, WorkloadRef
from leasehold.schedule.clock import SystemClock
from testbed.controlplane import ControlPlane
from testbed.kubectl import Kubectl

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "docs" / "examples" / "quickstart"
NAMESPACE = "--namespace=payments"
KINDS = "secretstores,externalsecrets,vaultdynamicsecrets,deployments"
STATUS = {
    "refreshTime": "2026-08-08T10:00:00Z",
    "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced"}],
    "binding": {"name": "database"},
}
ANNOTATION = {"rollout.leasehold.dev/database": "6f1ed002a9c4b7d3"}
Object = dict[str, Any]


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Iterator[Kubectl]:
    plane = control_plane
    plane.kubectl.apply_files(ROOT / "crds")
    plane.kubectl.run("wait", "--for=condition=Established", "--timeout=30s", f"--filename={ROOT / 'crds'}")
    yield plane.kubectl
    plane.kubectl.run("delete", "namespace", "payments", "--wait")


def apply_server_side(kubectl: Kubectl) -> None:
    """Apply as Flux does, and Argo CD with ServerSideApply=true: every field of Git, by force, under one manager."""
    kubectl.run("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", f"--filename={QUICKSTART}")


def write_as_the_operator(kubectl: Kubectl) -> None:
    """Write, by the operator's own hands, a status and the annotation that restarts a workload."""
    asyncio.run(_write(kubectl.kubeconfig))


async def _write(kubeconfig: Path) -> None:
    clock = SystemClock()
    api = KubeApi(access.from_kubeconfig(kubeconfig, clock.monotonic), clock)
    try:
        await KubeObjects(api).patch_status(Key("ExternalSecret", "payments", "database"), STATUS)
        workloads = KubeWorkloads(api)
        while True:  # its controller writes the status meanwhile; the operator looks again too
            workload = await workloads.get(WorkloadRef("Deployment", "payments", "payments"))
            assert workload is not None
            with contextlib.suppress(Conflict):
                await workloads.annotate(workload, ANNOTATION)
                break
    finally:
        await api.close()


def specs(kubectl: Kubectl) -> dict[str, Any]:
    """Return what is wanted of each object, with its generation: a spec that is written anew raises it."""
    items = kubectl.get(KINDS, NAMESPACE)["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": (item["metadata"]["generation"], item["spec"]) for item in items
    }


def test_applying_on_the_server_again_changes_nothing(kubectl: Kubectl) -> None:
    apply_server_side(kubectl)
    write_as_the_operator(kubectl)
    before = specs(kubectl)
    apply_server_side(kubectl)
    assert specs(kubectl) == before
    template = kubectl.get("deployment", "payments", NAMESPACE)["spec"]["template"]
    assert template["metadata"]["annotations"] == ANNOTATION
    status = kubectl.get("externalsecret", "database", NAMESPACE)["status"]
    assert status == STATUS


def test_applying_on_the_client_again_changes_nothing(kubectl: Kubectl) -> None:
    """A three-way comparison with the last applied text, as Argo CD's default: every object is reported unchanged."""
    kubectl.run("apply", f"--filename={QUICKSTART}")
    write_as_the_operator(kubectl)
    before = specs(kubectl)
    told = kubectl.run("apply", f"--filename={QUICKSTART}").splitlines()
    assert told
    assert [line for line in told if not line.endswith(" unchanged")] == []
    assert specs(kubectl) == before


def test_the_server_finds_no_difference(kubectl: Kubectl) -> None:
    """What Argo CD's ServerSideDiff asks: the outcome of applying, compared with what is there."""
    apply_server_side(kubectl)
    write_as_the_operator(kubectl)
    for file in sorted(QUICKSTART.glob("*.yaml")):
        told = kubectl.run(
            "apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "--dry-run=server",
            f"--filename={file}", "--output=json",
        )  # fmt: skip
        for wanted in objects(told):
            name = [wanted["kind"], wanted["metadata"]["name"]]
            live = kubectl.get(*name, NAMESPACE)
            assert bare(wanted) == bare(live)


def objects(text: str) -> Iterator[Object]:
    """Yield the JSON documents of a text that holds several, one after another, or a List of them."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        yield from document["items"] if document["kind"] == "List" else [document]
        at += len(text[at:]) - len(text[at:].lstrip())


def bare(document: Object) -> Object:
    metadata = {
        name: part for name, part in document["metadata"].items() if name not in {"managedFields", "resourceVersion"}
    }
    return {**document, "metadata": metadata, "status": None}


def test_a_tool_that_owns_all_annotations_is_told_whose_ours_are(kubectl: Kubectl) -> None:
    """managedFieldsManagers in ignoreDifferences works by this entry."""
    apply_server_side(kubectl)
    write_as_the_operator(kubectl)
    entries = kubectl.run("get", "deployment", "payments", NAMESPACE, "--output=json", "--show-managed-fields")
    (found,) = objects(entries)
    (ours,) = (entry for entry in found["metadata"]["managedFields"] if entry["manager"] == MANAGER)
    template = ours["fieldsV1"]["f:spec"]["f:template"]
    assert template == {"f:metadata": {"f:annotations": {f"f:{name}": {} for name in ANNOTATION}}}
    assert set(ours["fieldsV1"]) == {"f:spec"}


def test_the_backends_to_try_it_with_are_valid(control_plane: ControlPlane) -> None:
    """Dry runs find no namespace that was only a dry run, so it is made."""
    kubectl, example = control_plane.kubectl, ROOT / "docs" / "examples" / "backends.yaml"
    control_plane.create_namespace("backends")
    told = kubectl.run("apply", "--dry-run=server", "--validate=strict", f"--filename={example}")
    kubectl.run("delete", "namespace", "backends", "--wait=false")
    assert "deployment.apps/vault created" in told
    assert "service/postgres created" in told
