"""Cold start, idle and restart: N ExternalSecrets over a Vault KV store with Kubernetes auth, there before we start.

The floor runs first, in the same run and on the same servers, over objects of the same shape.

usage: python -m bench cold [--objects 1000] [--namespaces 10] [--idle 20] [--json FILE]
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import figures
from bench.figures import Mark, Tally
from testbed.controlplane import ControlPlane
from testbed.operator import ROOT, Operator
from testbed.processes import Yard
from testbed.vault import Vault
from testbed.wire import Wire

ACCOUNT, ROLE, MOUNT = "app", "bench", "bench"
FLOOR_USER = "system:serviceaccount:leasehold-system:floor"
PATIENCE = 300.0


@dataclass(slots=True)
class Report:
    """What was measured, ready to print."""

    objects: int
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def show(self) -> str:
        """Return the rows as a table, one line per figure."""
        lines = [f"{self.objects} ExternalSecrets over Vault KV v2, Kubernetes auth"]
        for name, row in self.rows.items():
            lines.append(f"\n{name}")
            lines += [f"  {figure:<34} {value}" for figure, value in row.items()]
        return "\n".join(lines)


class Bench:
    """The servers, and two sets of namespaces: one for the floor, one for the operator."""

    def __init__(self, yard: Yard, *, objects: int, namespaces: int) -> None:
        """Start the control plane and Vault."""
        self.objects, self.count = objects, namespaces
        self.plane, self.vault = ControlPlane(yard), Vault(yard, storage="memory")
        self.plane.start()
        self.vault.start()
        self.vault.configure_kubernetes_auth(self.plane)
        self.operator = Operator(yard, self.plane, settings={"LEASEHOLD_LOGLEVEL": "warn"})
        self.operator.install()
        self.operator.trust(self.vault)
        self.yard = yard
        self._wire = Wire(
            self.plane.url, ca_pem=self.plane.ca_pem, headers={"Authorization": f"Bearer {self.plane.admin_token}"}
        )

    def seed(self, prefix: str) -> list[str]:
        """Create namespaces with a store and ExternalSecrets, and their documents in Vault; return the names."""
        names = [f"{prefix}{index}" for index in range(self.count)]
        if prefix == "floor":
            self.vault.enable("secret", "kv", at=MOUNT, version=2)
            self.vault.write_policy(ROLE, f'path "{MOUNT}/data/*" {{ capabilities = ["read"] }}')
            self.vault.kubernetes_role(
                ROLE, accounts=[ACCOUNT], namespaces=["*"], policies=[ROLE], audience="vault", token_ttl="1h"
            )
            for index in range(self.objects):
                self.vault.api("POST", f"{MOUNT}/data/doc-{index}", {"data": {"password": f"value-{index}"}})
        for name in names:
            self.plane.create_namespace(name)
            self.plane.create_service_account(name, ACCOUNT)
        stores = [_store(name, self.vault.url) for name in names]
        secrets = [_external_secret(names[index % self.count], index) for index in range(self.objects)]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": stores})
        self.plane.kubectl.run("create", "-f", "-", text=text)
        for start in range(0, len(secrets), 500):
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": secrets[start : start + 500]})
            self.plane.kubectl.run("create", "-f", "-", text=text)
        return names

    def drop(self, names: list[str]) -> None:
        """Delete the namespaces' ExternalSecrets, stores and Secrets, so that the operator does not see them."""
        for name in names:
            for resource in ("externalsecrets", "secretstores"):
                self._wire.call("DELETE", f"/apis/external-secrets.io/v1/namespaces/{name}/{resource}")
            self._wire.call("DELETE", f"/api/v1/namespaces/{name}/secrets")

    def synced(self, names: list[str]) -> int:
        """Return how many ExternalSecrets are Ready, read from the API server's cache."""
        listed = self._wire.call("GET", "/apis/external-secrets.io/v1/externalsecrets?resourceVersion=0")["items"]
        return sum(
            any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in item.get("status", {}).get("conditions", [])
            )
            for item in listed
            if item["metadata"]["namespace"] in names
        )

    def audits(self) -> tuple[Mark, Mark]:
        """Mark the present ends of both audit logs."""
        return Mark.end_of(self.plane.audit_log), Mark.end_of(self.vault.audit_log)


def _store(namespace: str, server: str) -> dict[str, Any]:
    login = {
        "mountPath": "kubernetes",
        "role": ROLE,
        "serviceAccountRef": {"name": ACCOUNT, "audiences": ["vault"]},
    }
    provider = {"vault": {"server": server, "path": MOUNT, "version": "v2", "auth": {"kubernetes": login}}}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "vault", "namespace": namespace},
        "spec": {"provider": provider},
    }


def _external_secret(namespace: str, index: int) -> dict[str, Any]:
    data = [{"secretKey": "password", "remoteRef": {"key": f"doc-{index}", "property": "password"}}]
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": f"app-{index}", "namespace": namespace},
        "spec": {"refreshInterval": "1h0m0s", "secretStoreRef": {"name": "vault"}, "data": data},
    }


def run(*, objects: int, namespaces: int, idle: float) -> Report:
    """Measure the floor, the cold start, an idle window and a restart."""
    report = Report(objects)
    with tempfile.TemporaryDirectory() as folder, Yard(Path(folder) / "bench") as yard:
        bench = Bench(yard, objects=objects, namespaces=namespaces)
        floor = _floor(bench, report)
        names = bench.seed("work")
        _cold(bench, report, names, floor)
        _idle(bench, report, idle)
        _restart(bench, report, idle)
        bench.operator.stop()
    return report


def _floor(bench: Bench, report: Report) -> dict[str, float]:
    names = bench.seed("floor")
    bench.plane.create_service_account("leasehold-system", "floor")
    bench.plane.kubectl.run(
        "create",
        "clusterrolebinding",
        "floor",
        "--clusterrole=cluster-admin",
        "--serviceaccount=leasehold-system:floor",
    )
    config = {
        "api": bench.plane.url,
        "ca_pem": bench.plane.ca_pem,
        "token": bench.plane.service_account_token("leasehold-system", "floor"),
        "vault": bench.vault.url,
        "namespaces": names,
        "account": ACCOUNT,
        "role": ROLE,
        "mount": MOUNT,
    }
    path = bench.yard.folder / "floor.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    api, _ = bench.audits()
    before = figures.cpu_seconds(bench.plane.apiserver.pid)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bench.floor", str(path)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    wall = time.monotonic() - started
    own = json.loads(done.stdout)
    result = {"wall": wall, "api_cpu": figures.cpu_seconds(bench.plane.apiserver.pid) - before, **own}
    report.rows["floor"] = {
        "wall s": f"{wall:.2f}",
        "CPU ms per object": f"{own['cpu'] / bench.objects * 1000:.2f}",
        "API server CPU ms per object": f"{result['api_cpu'] / bench.objects * 1000:.2f}",
        "peak MiB": f"{own['peak_mib']:.0f}",
        "API requests": _count(figures.api_requests(api, FLOOR_USER)),
    }
    bench.drop(names)
    return result


def _cold(bench: Bench, report: Report, names: list[str], floor: dict[str, float]) -> None:
    api, backend = bench.audits()
    before = figures.cpu_seconds(bench.plane.apiserver.pid)
    started = time.monotonic()
    bench.operator.start(wait=False)
    _wait(bench, names, api)
    wall = time.monotonic() - started
    api_cpu = figures.cpu_seconds(bench.plane.apiserver.pid) - before
    pid = bench.operator.process.pid
    cpu, (now, peak) = figures.cpu_seconds(pid), figures.memory_mib(pid)
    requests, reads = figures.api_requests(api, bench.operator.user), figures.backend_requests(backend)
    documents = Counter({path: n for (_, path), n in reads.items() if path.startswith(f"{MOUNT}/data/")})
    logins = sum(n for (_, path), n in reads.items() if path.endswith("/login"))
    report.rows["cold start"] = {
        "wall s (ratio to floor)": f"{wall:.2f} ({wall / floor['wall']:.2f}x)",
        "CPU s (ms per object)": f"{cpu:.2f} ({cpu / bench.objects * 1000:.2f})",
        "CPU ratio to floor": f"{cpu / floor['cpu']:.2f}x",
        "API server CPU ms per object (ratio)": (
            f"{api_cpu / bench.objects * 1000:.2f} ({api_cpu / floor['api_cpu']:.2f}x)"
        ),
        "MiB now, peak": f"{now:.0f}, {peak:.0f}",
        "Secret writes": requests["create", "secrets"] + requests["update", "secrets"] + requests["patch", "secrets"],
        "status writes": requests["patch", "externalsecrets/status"],
        "events": requests["create", "events"] + requests["patch", "events"],
        "reads per document, at most": max(documents.values(), default=0),
        "documents read": len(documents),
        "logins": f"{logins} (identities: {bench.count} + 1 own)",
        "API requests": _count(requests),
        "backend requests": sum(reads.values()),
    }


def _wait(bench: Bench, names: list[str], api: Mark) -> None:
    """Wait until all is synced, by the audit log: asked by lists, the API server would be busy with us alone."""
    written = Tally(api, bench.operator.user, '"resource":"externalsecrets"', '"subresource":"status"', '"code":200')
    end = time.monotonic() + PATIENCE
    while written.count() < bench.objects or bench.synced(names) < bench.objects:
        if time.monotonic() > end:
            raise SystemExit(f"only {bench.synced(names)} of {bench.objects} synced; see {bench.operator.process.log}")
        if not bench.operator.process.alive:
            raise SystemExit(f"the operator has ended; see {bench.operator.process.log}")
        time.sleep(0.05)


def _idle(bench: Bench, report: Report, seconds: float) -> None:
    time.sleep(3.0)
    api, backend = bench.audits()
    pid = bench.operator.process.pid
    before = figures.cpu_seconds(pid)
    time.sleep(seconds)
    requests = figures.api_requests(api, bench.operator.user)
    report.rows[f"idle for {seconds:.0f} s"] = {
        "API requests": _count(requests),
        "backend requests": sum(figures.backend_requests(backend).values()),
        "CPU s": f"{figures.cpu_seconds(pid) - before:.2f}",
        "MiB settled": f"{figures.memory_mib(pid)[0]:.0f}",
    }


def _restart(bench: Bench, report: Report, seconds: float) -> None:
    bench.operator.kill()
    api, backend = bench.audits()
    started = time.monotonic()
    bench.operator.start()
    ready = time.monotonic() - started
    time.sleep(max(seconds - ready, 0.0))
    pid = bench.operator.process.pid
    requests, reads = figures.api_requests(api, bench.operator.user), figures.backend_requests(backend)
    documents = sum(n for (_, path), n in reads.items() if path.startswith(f"{MOUNT}/data/"))
    writes = {key: n for key, n in requests.items() if key[0] in ("create", "update", "patch", "delete")}
    report.rows["restart (kill -9), all fresh"] = {
        "ready after s": f"{ready:.2f}",
        "CPU s": f"{figures.cpu_seconds(pid):.2f}",
        "writes": _count(Counter(writes)),
        "document reads": documents,
        "API requests": _count(requests),
        "MiB": f"{figures.memory_mib(pid)[0]:.0f}",
    }


def _count(requests: Counter[tuple[str, str]]) -> str:
    listed = ", ".join(f"{verb} {name} {n}" for (verb, name), n in requests.most_common(12))
    return f"{sum(requests.values())}: {listed}" if requests else "0"
