"""What the chart makes of values, as golden files: a change of a template is read as a difference.

After a change that is wanted: LEASEHOLD_GOLDEN=write pytest tests/charts, then read the difference.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from leasehold import __version__

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "leasehold"
GOLDEN = ROOT / "tests" / "golden" / "chart"
Object = dict[str, Any]
Helm = Callable[..., Any]
Render = Callable[..., list[Object]]

CASES: dict[str, Object] = {
    "default": {},
    "namespaced": {
        "rbac": {"scope": "namespaced"},
        "scopedNamespace": "payments",
        "operatorNamespace": "records",
        "vault": {"operatorRole": "leasehold", "operatorAudience": "vault"},
    },
    "bare": {
        "rbac": {"create": False},
        "serviceAccount": {"create": False},
        "metrics": {"address": 0},
        "probes": {"address": "0"},
        "podSecurityContext": None,
        "securityContext": None,
        "resources": None,
        "networkPolicy": {"enabled": True},
        "replicaCount": 0,
    },
    "everything": {
        "image": {"repository": "example.org/leasehold", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "fullnameOverride": "keeper",
        "commonLabels": {"team": "platform"},
        "serviceAccount": {"name": "keeper", "annotations": {"example.org/role": "keeper"}},
        "crds": {"annotations": {"example.org/wave": "-1"}},
        "metrics": {"address": "[::]:9090", "service": {"port": 9090, "annotations": {"example.org/scrape": "yes"}}},
        "podMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "interval": "15s",
            "scrapeTimeout": "5s",
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "x"}],
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "probes": {"address": ":9091", "liveness": {"periodSeconds": 20}},
        "resources": {"limits": {"memory": "1Gi"}},
        "terminationGracePeriodSeconds": 90,
        "priorityClassName": "system-cluster-critical",
        "extraCA": {"configMap": "authorities", "key": "bundle.pem"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraArgs": ["--loglevel=debug"],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "extraContainers": [{"name": "beside", "image": "example.org/beside:1"}],
        "extraPodSpec": {"dnsPolicy": "Default"},
        "podLabels": {"example.org/mesh": "no"},
        "podAnnotations": {"example.org/note": "1"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control-plane", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "egress": [{"ports": [{"port": 443}]}],
        },
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: text\n",
        ],
    },
}


def is_crd(document: Object) -> bool:
    return bool(document["kind"] == "CustomResourceDefinition")


@pytest.mark.parametrize("case", CASES)
def test_golden(render: Render, case: str) -> None:
    documents = [document for document in render(CASES[case]) if not is_crd(document)]
    text = yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=118)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("LEASEHOLD_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(CASES)


def test_crds_are_those_of_the_models_and_kept(render: Render) -> None:
    annotations = {"helm.sh/resource-policy": "keep", "example.org/wave": "-1"}
    wanted = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "crds").glob("*.yaml"))]
    for crd in wanted:
        crd["metadata"]["annotations"] = annotations
    found = [document for document in render(CASES["everything"]) if is_crd(document)]
    names = {crd["metadata"]["name"]: crd for crd in wanted}
    assert {crd["metadata"]["name"]: crd for crd in found} == names


def test_crds_can_be_left_out(render: Render) -> None:
    assert not [document for document in render({"crds": {"install": False}}) if is_crd(document)]


def test_every_namespaced_object_names_its_namespace(render: Render) -> None:
    outside = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    for case, values in CASES.items():
        for document in render({**values, "extraObjects": []}):
            has = "namespace" in document["metadata"]
            assert has is (document["kind"] not in outside), (case, document["kind"])


def test_a_long_release_name_still_makes_names_that_pass(helm: Helm) -> None:
    done = helm({}, release="r" * 53)
    assert not done.returncode, done.stderr
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(done.stdout) if document]
    assert max(len(name) for name in names if "." not in name) <= 63


def test_renders_without_warnings(helm: Helm) -> None:
    for values in CASES.values():
        assert helm(values).stderr == ""


def test_the_chart_has_the_version_of_the_program() -> None:
    meta = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert meta["appVersion"] == __version__
