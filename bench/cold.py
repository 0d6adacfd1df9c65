"""Cold start, idle and restart: N ExternalSecrets over a Vault KV store with Kubernetes auth, there before we start.

The floor runs first, in the same run and on the same servers, over objects of the same shape.

Requests are counted from the audit logs of the API server and of Vault, CPU and memory by the kernel.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import figures
from bench.figures import Mark, Tally
from bench.report import Rows
from testbed.controlplane import ControlPlane
from testbed.operator import ROOT, Operator
from testbed.processes import Yard
from testbed.vault import Vault
from testbed.wire import Wire

ACCOUNT, ROLE, MOUNT = "app", "bench", "bench"
FLOOR_USER = "system:serviceaccount:leasehold-system:floor"
FLOOR, EMPTY, COLD = "floor (a bare client)", "start without objects", "cold start"
IDLE, RESTART = "idle", "restart after kill -9, all fresh"
WRITES = ("create", "update", "patch")
PATIENCE = 120.0
QUIET = 3.0
"""Seconds after the last status write until everything is quiet: Events, echoes."""


class NotDone(Exception):
    """The operator did not do its work."""


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


def promises(objects: int, namespaces: int) -> Mapping[tuple[str, str], tuple[float, float]]:
    """Return what must be true of every run, as bounds of figures: requests only, never times."""
    return {
        (COLD, "Secret writes"): (objects, objects),
        (COLD, "status writes of ExternalSecrets"): (objects, objects),
        (COLD, "documents read"): (objects, objects),
        (COLD, "reads of one document, at most"): (1, 1),
        (COLD, "logins"): (namespaces, namespaces + 1),  # one per identity, and the operator's own
        (IDLE, "API requests"): (0, 0),
        (IDLE, "backend requests"): (0, 0),
        (RESTART, "API writes"): (0, 0),
        (RESTART, "documents read"): (0, 0),
    }


def run(*, objects: int, namespaces: int, idle: float) -> Rows:
    """Measure the floor, a start with nothing to do, the cold start, an idle window and a restart.

    Raises:
        NotDone: the operator ended, or did not finish.
        BedError: a server did not start.
    """
    rows: Rows = {}
    with tempfile.TemporaryDirectory() as folder, Yard(Path(folder) / "bench") as yard:
        bench = Bench(yard, objects=objects, namespaces=namespaces)
        rows[FLOOR] = _floor(bench)
        rows[EMPTY] = _empty(bench)
        names = bench.seed("work")
        rows[COLD] = _cold(bench, names, rows)
        rows[IDLE] = _idle(bench, idle)
        rows[RESTART] = _restart(bench, idle)
        bench.operator.stop()
    return rows


def _floor(bench: Bench) -> dict[str, float]:
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
    others, started = figures.Others(), time.monotonic()
    command = [sys.executable, "-m", "bench.floor", str(path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotDone(f"the floor failed: {done.stderr.strip()[-500:]}")
    wall, own = time.monotonic() - started, json.loads(done.stdout)
    requests = figures.api_requests(api, FLOOR_USER)
    result = {
        "wall s": wall,
        "CPU s": own["cpu"],
        "CPU ms per object": own["cpu"] / bench.objects * 1000,
        "API server CPU s": figures.cpu_seconds(bench.plane.apiserver.pid) - before,
        "peak MiB": own["peak_mib"],
        "API requests": sum(requests.values()),
        "cores used by others": others.cores(),
    }
    bench.drop(names)
    return result


def _empty(bench: Bench) -> dict[str, float]:
    """Start the operator in a cluster without objects: what every start costs."""
    bench.operator.start()
    pid = bench.operator.process.pid
    result = {"CPU s": figures.cpu_seconds(pid), "peak MiB": figures.memory_mib(pid)[1]}
    bench.operator.stop()
    return result


def _cold(bench: Bench, names: list[str], rows: Rows) -> dict[str, float]:
    floor, empty = rows[FLOOR], rows[EMPTY]
    api, backend = bench.audits()
    before = figures.cpu_seconds(bench.plane.apiserver.pid)
    others, started = figures.Others(), time.monotonic()
    bench.operator.start(wait=False)
    _wait(bench, names, api)
    wall, foreign = time.monotonic() - started, others.cores()
    api_cpu = figures.cpu_seconds(bench.plane.apiserver.pid) - before
    pid = bench.operator.process.pid
    time.sleep(QUIET)
    cpu, (now, peak) = figures.cpu_seconds(pid), figures.memory_mib(pid)
    requests, reads = figures.api_requests(api, bench.operator.user, names), figures.backend_requests(backend)
    documents = _documents(reads)
    return {
        "wall s": wall,
        "wall, times the floor's": wall / floor["wall s"],
        "CPU s": cpu,
        "CPU, times the floor's": cpu / floor["CPU s"],
        "CPU ms per object": cpu / bench.objects * 1000,
        "CPU ms per object, without the start": (cpu - empty["CPU s"]) / bench.objects * 1000,
        "API server CPU s": api_cpu,
        "API server CPU, times the floor's": api_cpu / floor["API server CPU s"],
        "MiB": now,
        "peak MiB": peak,
        "Secret writes": sum(requests[verb, "secrets"] for verb in WRITES),
        "status writes of ExternalSecrets": requests["patch", "externalsecrets/status"],
        "status writes of stores": requests["patch", "secretstores/status"],
        "Events": requests["create", "events"] + requests["patch", "events"],
        "API requests": sum(figures.api_requests(api, bench.operator.user).values()),
        "documents read": len(documents),
        "reads of one document, at most": max(documents.values(), default=0),
        "logins": sum(n for (_, path), n in reads.items() if path.endswith("/login")),
        "backend requests": sum(reads.values()),
        "cores used by others": foreign,
    }


def _documents(reads: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter({path: n for (_, path), n in reads.items() if path.startswith(f"{MOUNT}/data/")})


def _wait(bench: Bench, names: list[str], api: Mark) -> None:
    """Wait until all is synced, by the audit log: asked by lists, the API server would be busy with us alone."""
    written = Tally(api, bench.operator.user, '"resource":"externalsecrets"', '"subresource":"status"', '"code":200')
    end = time.monotonic() + PATIENCE
    while written.count() < bench.objects or bench.synced(names) < bench.objects:
        if time.monotonic() > end or not bench.operator.process.alive:
            tail = bench.operator.process.log.read_text(encoding="utf-8", errors="replace")[-1500:]
            raise NotDone(f"{bench.synced(names)} of {bench.objects} synced; the operator's log ends with\n{tail}")
        time.sleep(0.05)


def _idle(bench: Bench, seconds: float) -> dict[str, float]:
    api, backend = bench.audits()
    pid = bench.operator.process.pid
    before = figures.cpu_seconds(pid)
    time.sleep(seconds)
    return {
        "seconds": seconds,
        "API requests": sum(figures.api_requests(api, bench.operator.user).values()),
        "backend requests": sum(figures.backend_requests(backend).values()),
        "CPU s": figures.cpu_seconds(pid) - before,
        "MiB": figures.memory_mib(pid)[0],
    }


def _restart(bench: Bench, seconds: float) -> dict[str, float]:
    """Kill it and start it again; the objects are fresh, so that nothing is to be done."""
    bench.operator.kill()
    api, backend = bench.audits()
    started = time.monotonic()
    bench.operator.start()
    ready = time.monotonic() - started
    time.sleep(max(seconds - ready, 0.0))
    pid = bench.operator.process.pid
    requests, reads = figures.api_requests(api, bench.operator.user), figures.backend_requests(backend)
    return {
        "ready after s": ready,
        "CPU s": figures.cpu_seconds(pid),
        "API requests": sum(requests.values()),
        "API writes": sum(
            n
            for (verb, what), n in requests.items()
            if verb in (*WRITES, "delete") and what != "serviceaccounts/token"  # a store's turn to be checked
        ),
        "documents read": sum(_documents(reads).values()),
        "peak MiB": figures.memory_mib(pid)[1],
    }
