"""The chart on a real API server: installed, upgraded without a change, uninstalled; its CRDs and their objects stay.

It has a control plane of its own, because Helm must find no CRDs that somebody else has made. Pods need not run: what
admission lets a ReplicaSet make is what the restricted Pod Security Standard takes.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import binaries, readiness
from testbed.controlplane import ControlPlane
from testbed.processes import Yard

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "leasehold"
NAMESPACE = "leasehold"
CRDS = {yaml.safe_load(file.read_text(encoding="utf-8"))["metadata"]["name"] for file in (ROOT / "crds").glob("*.yaml")}
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm as the administrator of one control plane, with its files in the run's own folder."""

    plane: ControlPlane

    def try_out(self, *arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            binaries.find("helm"),
            f"--kubeconfig={self.plane.kubeconfig()}",
            f"--namespace={NAMESPACE}",
        ]
        home = {"HOME": str(self.plane.folder)}
        return subprocess.run(
            [*command, *arguments],
            input=yaml.safe_dump(values or {}),
            capture_output=True,
            text=True,
            check=False,
            env=home,
        )

    def run(self, *arguments: str, values: Object | None = None) -> str:
        done = self.try_out(*arguments, values=values)
        assert not done.returncode, done.stderr
        assert not done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def plane(yard: Yard) -> Iterator[ControlPlane]:
    with Yard(yard.folder / "chart") as own, ControlPlane(own) as plane:
        plane.api(
            "POST",
            "/api/v1/namespaces",
            {"metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        )
        yield plane


@pytest.fixture
def helm(plane: ControlPlane) -> Iterator[Helm]:
    """Helm with nothing installed, before and after. The CRDs stay, as they should: theirs is the release's name."""
    helm = Helm(plane)
    yield helm
    for release in json.loads(helm.run("list", "--all", "--output=json")):
        helm.run("uninstall", release["name"], "--wait")


def install(helm: Helm, values: Object | None = None) -> str:
    return helm.run("install", "leasehold", str(CHART), "--values=-", values=values)


def versions(helm: Helm) -> dict[str, str]:
    """Return the resource version of every object of the release."""
    documents = yaml.safe_load_all(helm.run("get", "manifest", "leasehold"))
    found = {}
    for document in documents:
        if document:
            place = [f"--namespace={document['metadata']['namespace']}"] if "namespace" in document["metadata"] else []
            live = helm.plane.kubectl.get(document["kind"], document["metadata"]["name"], *place)
            found[f"{document['kind']}/{document['metadata']['name']}"] = live["metadata"]["resourceVersion"]
    return found


def settled(plane: ControlPlane) -> Object | None:
    """Return the pod of the Deployment once its ReplicaSet has made one."""
    items = plane.kubectl.get("pods", f"--namespace={NAMESPACE}")["items"]
    return items[0] if items else None


def test_a_fresh_installation(helm: Helm) -> None:
    notes = install(helm)
    assert "vault.operatorRole is empty" in notes
    assert "image.repository is the default" in notes
    assert "crds.install is off" not in notes
    assert set(versions(helm)) == {
        *(f"CustomResourceDefinition/{name}" for name in CRDS),
        "ServiceAccount/leasehold",
        "ClusterRole/leasehold",
        "ClusterRole/leasehold-view",
        "ClusterRole/leasehold-edit",
        "ClusterRoleBinding/leasehold",
        "Role/leasehold-own",
        "RoleBinding/leasehold-own",
        "Service/leasehold-metrics",
        "Deployment/leasehold",
    }


def test_the_pod_passes_the_restricted_standard(helm: Helm) -> None:
    install(helm)
    readiness.wait_until(
        lambda: settled(helm.plane) is not None,
        "making a pod in a restricted namespace",
        server=helm.plane.controller_manager,
    )
    pod = settled(helm.plane)
    assert pod is not None
    assert pod["spec"]["serviceAccountName"] == "leasehold"
    assert "runAsUser" not in pod["spec"]["securityContext"]


def test_a_second_time_changes_nothing(helm: Helm) -> None:
    install(helm)
    readiness.wait_until(lambda: settled(helm.plane) is not None, "making a pod", server=helm.plane.controller_manager)
    kubectl = helm.plane.kubectl
    for name in sorted(CRDS):
        kubectl.run("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}")
    kubectl.run("rollout", "status", "deployment/leasehold", f"--namespace={NAMESPACE}", "--watch=false")
    before = versions(helm)
    helm.run("upgrade", "leasehold", str(CHART), "--values=-")
    before.pop("Deployment/leasehold")  # its controller counts pods meanwhile
    after = versions(helm)
    after.pop("Deployment/leasehold")
    assert after == before


def test_uninstalling_keeps_crds_and_their_objects(helm: Helm) -> None:
    install(helm)
    kubectl = helm.plane.kubectl
    names = sorted(f"crd/{name}" for name in CRDS)
    kubectl.run("wait", "--for=condition=Established", "--timeout=30s", *names)
    kubectl.run("apply", f"--filename={ROOT / 'docs' / 'examples' / 'quickstart'}")
    answer = helm.run("uninstall", "leasehold", "--wait")
    assert "resource policy" in answer
    left = {item["metadata"]["name"] for item in kubectl.get("crd")["items"]}
    assert left == CRDS
    found = kubectl.get("externalsecrets", "--namespace=payments")["items"]
    assert {item["metadata"]["name"] for item in found} == {"settings", "database"}
    # and the next release takes the CRDs over again
    install(helm)
    kubectl.run("delete", "namespace", "payments", "--wait")


def test_every_object_passes_strict_validation(helm: Helm) -> None:
    values = {
        "rbac": {"scope": "namespaced"},
        "scopedNamespace": "default",
        "networkPolicy": {"enabled": True, "egress": [{"ports": [{"port": 443}]}]},
        "podDisruptionBudget": {"enabled": True},
        "extraCA": {"secret": "authorities"},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "extraPodSpec": {"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["vault"]}]},
    }
    text = helm.run("template", "leasehold", str(CHART), "--values=-", "--kube-version=1.36.3", values=values)
    told = helm.plane.kubectl.run("apply", "--dry-run=server", "--validate=strict", "--filename=-", text=text)
    assert "networkpolicy.networking.k8s.io/leasehold created" in told
    assert "poddisruptionbudget.policy/leasehold created" in told


def test_crds_of_another_release_are_not_taken_unasked(helm: Helm) -> None:
    kubectl = helm.plane.kubectl
    kubectl.apply_files(ROOT / "crds")
    for name in CRDS:
        kubectl.run("annotate", f"crd/{name}", "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")
    done = helm.try_out("install", "leasehold", str(CHART), "--values=-")
    assert done.returncode
    assert "cannot be imported into the current release" in done.stderr
    helm.run("install", "leasehold", str(CHART), "--values=-", "--take-ownership")
    assert set(versions(helm)) >= {f"CustomResourceDefinition/{name}" for name in CRDS}


def test_a_wrong_value_never_reaches_the_cluster(helm: Helm) -> None:
    done = helm.try_out("install", "leasehold", str(CHART), "--values=-", values={"replicaCount": 2})
    assert done.returncode
    assert "replicaCount" in done.stderr
    assert not json.loads(helm.run("list", "--all", "--output=json"))
