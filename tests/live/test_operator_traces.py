"""What a run of the operator leaves behind: no secret outside of Secrets, no call beyond its rights, no right unused.

One play exercises everything that its RBAC is for, with everything logged; then the operator ends and the tests read
its log, its metrics, the events, the objects and the API server's audit log.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.controlplane import ControlPlane
from testbed.mounts import Mount
from testbed.operator import Operator
from testbed.pods import Kwok
from testbed.processes import Yard
from testbed.vault import Vault
from testbed.wire import Wire
from tests.live.troupe import Scene, hire, keys, settle, until, until_refreshed, vault_provider
from tools import rbac

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"
KINDS = ("Deployment", "StatefulSet", "DaemonSet")
_SHOWN = ("ExternalSecret", "SecretStore", "VaultDynamicSecret", "ConfigMap", *KINDS)
Call = tuple[str, str, str, bool]
"""Verb, API group, resource with its subresource, whether in the operator's own namespace."""


@dataclass(slots=True)
class Play:
    """The run, and what it has shown."""

    operator: Operator
    scene: Scene
    mount: Mount
    role: str = field(default_factory=lambda: f"t{secrets.token_hex(3)}")
    canaries: dict[str, str] = field(default_factory=dict)
    """What is secret, and what it is."""
    signals: dict[str, str] = field(default_factory=dict)
    """Where people can look, and what is there."""
    ready: Any = None
    finalizers: set[str] = field(default_factory=set)

    @property
    def vault(self) -> Vault:
        return self.mount.vault

    def hide(self, what: str, value: str) -> str:
        """Note a secret, plain and in base64 (cut so that no neighbour matters), and return it."""
        self.canaries[value] = what
        self.canaries[b64encode(value.encode()).decode().rstrip("=")[:-1]] = f"{what}, base64"
        return value

    def gather(self) -> None:
        """Note what is secret right now: credentials, lease ids, accessors, tokens."""
        for key, value in self.scene.values("db").items():
            if key == "password":
                self.hide("database password", value)
        for lease in self.leases():
            self.canaries[lease] = "lease id"
        for accessor in self.vault.api("LIST", "auth/token/accessors")["data"]["keys"]:
            self.canaries[accessor] = "accessor"

    def leases(self) -> list[str]:
        answer = self.vault.ask("LIST", f"sys/leases/lookup/database/creds/{self.role}")
        return list(answer.body["data"]["keys"]) if answer.status == 200 else []

    def look(self) -> None:
        """Note what people can see right now."""
        shown: list[Any] = [item for kind in _SHOWN for item in self.scene.list(kind)]
        shown += self.scene.list("ClusterSecretStore")
        for scene in (self.scene, self.scene.at(self.operator.namespace)):
            # of a Secret anybody may see all but its data
            shown += [{**item, "data": list(item.get("data") or ())} for item in scene.list("Secret")]
        events = [item for name in (self.scene.namespace, "default") for item in self.scene.at(name).list("Event")]
        self.signals["objects"] = self.signals.get("objects", "") + json.dumps(shown)
        self.signals["events"] = json.dumps(events)
        self.signals["metrics"] = self.operator.metrics()
        self.signals["log"] = self.operator.process.log.read_text(encoding="utf-8")
        wanted = self.scene.list("ExternalSecret")
        self.finalizers |= {each for item in wanted for each in item["metadata"].get("finalizers", ())}

    def perform(self) -> None:
        """Play it, act by act."""
        self.read()
        self.fail()
        self.lend()
        self.roll_out()
        self.go()

    def read(self) -> None:
        """Stores of both kinds, a CA in a ConfigMap, logins with Secrets, drift, a target that moves."""
        scene, mount = self.scene, self.mount
        value = self.hide("KV value", f"canary-{secrets.token_hex(12)}")
        mount.put("app", {"password": value, "other": self.hide("KV value", f"canary-{secrets.token_hex(12)}")})
        role = f"{mount.path}-{scene.namespace}"
        scene.create("ConfigMap", "ca", data={"ca.crt": scene.plane.ca_pem})
        provider = vault_provider(self.vault, role, path=mount.path, version="v2")
        provider["caProvider"] = {"type": "ConfigMap", "name": "ca", "key": "ca.crt", "namespace": scene.namespace}
        provider["auth"]["kubernetes"]["serviceAccountRef"]["namespace"] = scene.namespace
        scene.create("ClusterSecretStore", scene.namespace, spec={"provider": {"vault": provider}})
        made = self.vault.api("POST", "auth/token/create", {"policies": [mount.policy], "ttl": "1h"})
        token = self.hide("Vault token", made["auth"]["client_token"])
        scene.create("Secret", "login", stringData={"token": token})
        login = {"tokenSecretRef": {"name": "login", "key": "token"}}
        scene.store("token", {"server": self.vault.url, "path": mount.path, "version": "v2", "auth": login})
        cluster = {"kind": "ClusterSecretStore", "name": scene.namespace}
        scene.want("app", refreshInterval="1s", data=keys("app", "password"), rollout={"minInterval": "0s"})
        scene.want("all", secretStoreRef=cluster, dataFrom=[{"extract": {"key": "app"}}])
        scene.want("token", secretStoreRef={"name": "token"}, data=keys("app", "password"), target={"name": "old"})
        for name in ("app", "all", "old"):
            until(f"Secret {name} is there", lambda name=name: scene.values(name))  # type: ignore[misc]
        scene.change("token", target={"name": "new"})
        scene.until_gone("Secret", "old")
        for turn in range(2):
            # the same event again is counted, not told anew
            scene.delete("Secret", "all")
            until(f"Secret all is repaired, turn {turn}", lambda: scene.values("all"))
            until("an event tells of it", lambda turn=turn: self.repairs() > turn)  # type: ignore[misc]

    def repairs(self) -> int:
        events = [item for item in self.scene.list("Event") if item["involvedObject"]["name"] == "all"]
        return sum(item.get("count") or 1 for item in events if item["reason"] == "Repaired")

    def fail(self) -> None:
        """Reads that fail close to a value: a foreign key, a wrong decoding, a template that cannot be rendered."""
        scene = self.scene
        text = self.hide("undecodable value", f"canary!{secrets.token_hex(12)}")
        self.mount.put("bad", {"password": text})
        data = keys("bad", "password")
        scene.want("missing", data=keys("bad", "nothing"))
        scene.want("decoded", data=[{**data[0], "remoteRef": {**data[0]["remoteRef"], "decodingStrategy": "Base64"}}])
        scene.want("shaped", data=data, target={"template": {"data": {"x": "{{ .password | nothing }}"}}})
        scene.want("foreign", secretStoreRef={"name": "nothing"}, data=data)
        for name in ("missing", "decoded", "shaped", "foreign"):
            scene.until_reason(name, "SecretSyncedError")

    def lend(self) -> None:
        """A leased credential, renewed and replaced."""
        scene, vault = self.scene, self.vault
        vault.database_role(self.role, default_ttl="6s", max_ttl="15s")
        vault.write_policy(self.role, f'path "database/creds/{self.role}" {{ capabilities = ["read"] }}')
        vault.kubernetes_role(
            self.role, accounts=["app"], namespaces=[scene.namespace], policies=[self.role], audience="vault"
        )
        spec = {"path": f"database/creds/{self.role}", "provider": vault_provider(vault, self.role)}
        scene.create("VaultDynamicSecret", "db", spec=spec)
        source = {"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": "db"}}}
        scene.create(
            "ExternalSecret",
            "db",
            spec={"dataFrom": [source], "lease": {"gracePeriod": "2s", "rotateBefore": "5s"}},
        )
        first = until("a credential is there", lambda: scene.values("db"))
        self.gather()
        self.look()
        until("it is replaced", lambda: scene.values("db") != first)
        until("the old one is over", lambda: "LeaseRetired" in scene.events("db"))
        self.gather()

    def roll_out(self) -> None:
        """A value that changes, and three workloads that must see it."""
        scene = self.scene
        for kind in KINDS:
            scene.create(kind, kind.lower(), spec=_workload(kind))
        for kind in KINDS:
            until(f"the {kind} runs", lambda kind=kind: _available(scene.find(kind, kind.lower())))  # type: ignore[misc]
        until_refreshed(self.operator, scene, "app")
        self.mount.put("app", {"password": self.hide("KV value", f"canary-{secrets.token_hex(12)}")})
        until("the rollout is complete", lambda: self.rollout() == ["Complete"] * len(KINDS))

    def rollout(self) -> list[str]:
        told = self.scene.status("app").get("rollout") or {}
        return [each.get("state", "") for each in told.get("workloads", ())]

    def go(self) -> None:
        """Look once more, restart the operator, and delete what it keeps."""
        self.ready = Wire(f"http://127.0.0.1:{self.operator._live}").ask("GET", "/readyz")
        self.look()
        self.operator.restart()
        self.scene.delete("ExternalSecret", "db")
        until("its leases are revoked", lambda: not self.leases())
        self.scene.delete("ClusterSecretStore", self.scene.namespace)
        self.look()
        self.operator.stop()
        self.signals["log"] = self.operator.process.log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def play(
    yard: Yard, control_plane: ControlPlane, pods: Kwok, vault: Vault, kubernetes_auth: str, database: str
) -> Iterator[Play]:
    """The run, over."""
    mount, name = Mount.create(vault), f"t-{secrets.token_hex(4)}"
    control_plane.create_namespace(name)
    with hire(yard, control_plane, vault, name="traces") as operator:
        play = Play(operator, settle(control_plane, name, mount), mount)
        play.perform()
        yield play
    control_plane.api("DELETE", f"/api/v1/namespaces/{name}")
    mount.remove()


def _workload(kind: str) -> Any:
    name = kind.lower()
    variable = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "app", "key": "password"}}}
    return {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "none", "env": [variable]}]},
        },
        **({"serviceName": name} if kind == "StatefulSet" else {}),
    }


def _available(workload: Any) -> int:
    status = workload.get("status", {})
    return int(status.get("availableReplicas") or status.get("numberAvailable") or 0)


def _calls(play: Play) -> dict[Call, set[int]]:
    """Return what the operator has asked of the API server, and the statuses of the answers."""
    found: dict[Call, set[int]] = {}
    with play.scene.plane.audit_log.open(encoding="utf-8") as lines:
        for line in lines:
            if f'"{play.operator.user}"' not in line:
                continue
            entry = json.loads(line)
            if entry["user"].get("username") != play.operator.user or entry["stage"] == "Panic":
                continue
            if "resource" not in (what := entry.get("objectRef") or {}):
                # discovery: open to every account, by a role that Kubernetes brings
                assert re.match(r"/(apis?|version)\b", entry["requestURI"]), entry["requestURI"]
                continue
            resource = "/".join(part for part in (what["resource"], what.get("subresource", "")) if part)
            own = what.get("namespace") == play.operator.namespace
            call = (entry["verb"], what.get("apiGroup", ""), resource, own)
            told = entry["responseStatus"]
            # 403 is also how admission refuses whatever is made in a namespace that is being deleted
            ending = told["code"] == 403 and "being terminated" in told.get("message", "")
            found.setdefault(call, set()).update(() if ending else {told["code"]})
    return found


def test_no_secret_is_shown(play: Play) -> None:
    assert {"KV value", "Vault token", "database password", "lease id", "accessor"} <= set(play.canaries.values())
    leaks = {
        (where, what) for where, text in play.signals.items() for value, what in play.canaries.items() if value in text
    }
    assert leaks == set()


def test_no_token_of_any_kind_is_shown(play: Play) -> None:
    for where, text in play.signals.items():
        assert not re.search(r"hvs\.[\w-]{12,}|eyJ[\w-]{12,}\.[\w-]+\.", text), where


def test_a_canary_would_be_found(play: Play) -> None:
    """The search is no good if the places are empty, or if what is secret is not where it should be."""
    assert all(len(text) > 1000 for text in play.signals.values())
    assert play.scene.values("app")["password"] in play.canaries
    for word in ("SecretSyncedError", "Repaired", "LeaseRotated", "RolloutComplete"):
        assert word in "".join(play.signals.values()), word


def test_the_metrics_page_has_what_is_documented(play: Play) -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert "leasehold_lease_expiry_timestamp_seconds" in documented
    named = set(re.findall(r"^# TYPE (\w+) ", play.signals["metrics"], flags=re.MULTILINE))
    assert documented <= named


def test_readiness_is_told_in_json(play: Play) -> None:
    assert (play.ready.status, play.ready.body["status"]) == (200, "pass")
    assert play.ready.body["checks"]
    assert {(check["status"], check["reason"]) for check in play.ready.body["checks"]} == {("pass", "")}


def test_the_calls_are_the_rights(play: Play) -> None:
    calls = _calls(play)
    allowed = {
        (verb, rule.group, rule.resource, rule.scope is rbac.Scope.OWN)
        for rule in rbac.RULES
        if not rule.implied
        for verb in rule.verbs
    }
    assert {call for call, statuses in calls.items() if 403 in statuses} == set()
    assert set(calls) - allowed == set()
    assert allowed - set(calls) == set()


def test_no_finalizer_was_added(play: Play) -> None:
    assert play.finalizers == set()
