"""One town for a story: a cluster, a Vault and the operator on one clock, and words to tell what happened there.

Every value, token and lease id of the worlds carries a canary; `leaks` searches whatever a user or an operator of the
cluster can read for it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from leasehold.cluster.api import Request as KubeRequest
from leasehold.domain.facts import Key
from leasehold.flows.house import Rules
from leasehold.providers.registry import Habits, OperatorIdentity, Registry
from leasehold.providers.vault.errors import Trouble, Why
from leasehold.providers.vault.transport import Reply, Request, Wiring
from leasehold.telemetry import correlation
from leasehold.telemetry.metrics import Metrics
from tests.worlds.clock import ManualClock
from tests.worlds.cluster import SYSTEM, ClusterWorld, Crash
from tests.worlds.operation import Operation, house
from tests.worlds.vault import DatabaseRole, VaultWorld
from tests.worlds.vault_tokens import Role

SHOP = "shop"
HOUR = 3600.0
OPERATOR = OperatorIdentity(mount="kubernetes", role="leasehold", audience="vault")
CANARIES = ("canary", "Y2FuYXJ5", "accessor-0", "hvs.", "hvb.", "jwt.", "p4ssw0rd")
"""Parts of values (plain and encoded), accessors, tokens, JWTs and foreign error texts."""
READER_PATHS = ("secret/*", "nowhere/*", "sys/internal/*")
OPERATOR_PATHS = (
    "auth/token/renew-accessor",
    "auth/token/lookup-accessor",
    "auth/token/revoke-accessor",
    "sys/leases/renew",
    "sys/leases/lookup",
    "sys/capabilities-self",
)
FIRST = {"username": "canary-user", "password": "canary-first"}
PASSWORD = [{"secretKey": "password", "remoteRef": {"key": "app/db", "property": "password"}}]
LEASED = [{"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": "creds"}}}]


class Town:
    """Namespace shop with the store "vault"; nothing runs before `start`."""

    def __init__(self, *, errors: list[str] | None = None, logs: io.StringIO | None = None) -> None:
        self.clock = ManualClock()
        self.cluster, self.vault = ClusterWorld(self.clock), VaultWorld(self.clock)
        self.metrics = Metrics(version="story")
        self.logs = io.StringIO() if logs is None else logs
        self.errors: list[str] = [] if errors is None else errors
        """Text and parts of every domain error that was made."""
        self.attempts = 0
        """Requests that were sent to Vault, answered or not."""
        self.hanging = False
        """Vault takes requests and says nothing; callers wait to their own limit."""
        self.crash_before: int | None = None
        """So many further requests to Vault pass; then the process ends before one is sent."""
        self.crash_after: int | None = None
        """So many further requests to Vault pass; then the process ends after one was answered."""
        self.status: tuple[int, dict[str, str]] | None = None
        """Vault's answer to everything, where set: status and headers."""
        self._op: Operation | None = None
        self._furnish()

    def _furnish(self) -> None:
        vault = self.vault
        vault.mount("secret", "kv", version=2)
        vault.mount("database", "database")
        vault.database["app"] = DatabaseRole(default_ttl=HOUR, max_ttl=24 * HOUR)
        vault.kubernetes["reader"] = Role(paths=READER_PATHS, audience="vault", kind="batch")
        vault.kubernetes["tenant"] = Role(
            paths=("database/*", "sys/internal/*"), audience="vault", period=24 * HOUR, default_policy=False
        )
        vault.kubernetes["leasehold"] = Role(paths=OPERATOR_PATHS, accounts=("leasehold",), namespaces=(SYSTEM,))
        vault.put("app/db", FIRST)
        self.account("app")
        self.store()

    # ----------------------------------------------------------------------------------------------- what users write

    def account(self, name: str) -> None:
        """Make a ServiceAccount."""
        self.cluster.put({"kind": "ServiceAccount", "metadata": {"name": name, "namespace": SHOP}})

    def provider(self, role: str = "reader", **more: Any) -> dict[str, Any]:
        """Return provider.vault: a login as ServiceAccount app, KV version 2 at secret."""
        kubernetes = {"mountPath": "kubernetes", "role": role}
        kubernetes["serviceAccountRef"] = {"name": "app", "audiences": ["vault"]}  # type: ignore[assignment]
        auth = {"kubernetes": kubernetes}
        return {"server": self.vault.address, "path": "secret", "version": "v2", "auth": auth, **more}

    def store(self, name: str = "vault", *, provider: Mapping[str, Any] | None = None, **spec: Any) -> None:
        """Write a SecretStore."""
        held = {"provider": {"vault": dict(provider or self.provider())}, **spec}
        self._put("SecretStore", name, held, api="external-secrets.io/v1")

    def secret(self, name: str = "db", **spec: Any) -> None:
        """Write an ExternalSecret: one key of app/db, unless the spec says otherwise."""
        filled = {"secretStoreRef": {"name": "vault"}, **spec}
        if "data" not in spec and "dataFrom" not in spec:
            filled["data"] = PASSWORD
        self._put("ExternalSecret", name, filled, api="external-secrets.io/v1")

    def leased(self, name: str = "db", **spec: Any) -> None:
        """Write an ExternalSecret of a leased database credential, and its generator."""
        self.generator()
        self.secret(name, **{"dataFrom": LEASED, "refreshInterval": "1h", **spec})

    def generator(self, name: str = "creds", **more: Any) -> None:
        """Write a VaultDynamicSecret."""
        spec = {"path": "database/creds/app", "provider": self.provider("tenant"), **more}
        self._put("VaultDynamicSecret", name, spec, api="generators.external-secrets.io/v1alpha1")

    def deployment(self, name: str = "web", *, secret: str = "db", key: str = "password") -> None:
        """Write a Deployment that reads a key into its environment."""
        ref = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "env": [ref]}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
        self._put("Deployment", name, spec, api="apps/v1")

    def _put(self, kind: str, name: str, spec: Mapping[str, Any], *, api: str) -> None:
        old = self.cluster.find(kind, SHOP, name)
        metadata = {"name": name, "namespace": SHOP}
        for field in ("labels", "annotations", "finalizers"):
            if old is not None and field in old["metadata"]:
                metadata[field] = old["metadata"][field]
        self.cluster.put({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)})

    def edit(self, kind: str, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change an object in place."""
        self.cluster.edit(kind, SHOP, name, change)

    def annotate(self, name: str = "db", **annotations: str) -> None:
        """Annotate an ExternalSecret."""
        self.edit(
            "ExternalSecret", name, lambda body: body["metadata"].setdefault("annotations", {}).update(annotations)
        )

    # ----------------------------------------------------------------------------------------------------- the operator

    @property
    def op(self) -> Operation:
        """The operator that runs now."""
        assert self._op is not None, "not started"
        return self._op

    async def start(self, *, operator: OperatorIdentity | None = OPERATOR, **rules: Any) -> Operation:
        """Start the operator, or start it again after its end, and let it come to rest."""
        await self.boot(operator=operator, **rules)
        await self.op.quiet()
        return self.op

    async def boot(self, *, operator: OperatorIdentity | None = OPERATOR, **rules: Any) -> Operation:
        """Start the operator and look at nothing yet. What ran before is forgotten, as a crash forgets it."""
        habits = Habits(observe=self._observe, correlation=correlation.current, vault={"connect": self._connect})
        registry = Registry(self.cluster.credentials(), clock=self.clock, operator=operator, habits=habits)
        self._op = await house(self.cluster, registry, rules=Rules(**rules))
        self._op.desk.house = replace(self._op.house, signals=Both(self._op.signals, self.metrics))
        return self._op

    def _observe(self, provider: str, call: str, status: str, seconds: float) -> None:
        self.metrics.backend_called(provider=provider, call=call, status=status, seconds=seconds)

    def _connect(self, wiring: Wiring) -> Wire:
        return Wire(self, wiring)

    # ------------------------------------------------------------------------------------------------------- what is so

    def data(self, name: str = "db") -> dict[str, str] | None:
        """Return the texts of a Secret in shop."""
        return self.cluster.data(SHOP, name)

    def ready(self, name: str = "db", kind: str = "ExternalSecret") -> tuple[str, str, str]:
        """Return status, reason and message of a Ready condition; three empty texts where there is none."""
        return self.cluster.ready(kind, SHOP, name) or ("", "", "")

    def shown(self, name: str = "db") -> dict[str, Any]:
        """Return the status of an ExternalSecret."""
        return self.cluster.status("ExternalSecret", SHOP, name)

    def reasons(self, name: str = "db") -> list[str]:
        """Return the reasons of the Events about an object, in order."""
        return [reason for reason, _ in self.cluster.told(name)]

    def due(self, name: str = "db") -> float | None:
        """Return in how many seconds an ExternalSecret is looked at next."""
        at = self.op.due("ExternalSecret", SHOP, name)
        return None if at is None else at - self.clock.now()

    @property
    def reads(self) -> int:
        """How many reads of KV documents arrived."""
        return sum(path.startswith("secret/data/") for _, path in self.vault.seen)

    @property
    def logins(self) -> int:
        """How many logins arrived."""
        return sum("/login" in path for _, path in self.vault.seen)

    @property
    def mints(self) -> int:
        """How many credentials were asked for."""
        return sum(path.startswith("database/creds/") for _, path in self.vault.seen)

    @property
    def leases(self) -> list[str]:
        """Ids of the leases that live now."""
        self.vault.book.reap()
        return list(self.vault.book.leases)

    def works(self, name: str = "db") -> bool:
        """Tell whether the database lets the published user in."""
        return self.lets_in((self.data(name) or {}).get("username"))

    def lets_in(self, user: str | None) -> bool:
        """Tell whether the database lets a user in."""
        self.vault.book.reap()
        return user in self.vault.book.users

    def writes(self, plural: str = "secrets", *, namespace: str = SHOP) -> int:
        """How many writing requests for a resource arrived, by plural and subresource."""
        return sum(_writes(call, plural, namespace) for call in self.cluster.calls)

    # ----------------------------------------------------------------------------------------------------------- canary

    def leaks(self) -> list[str]:
        """Return the places where a canary shows that are no data of a Secret."""
        places = [(f"log line {line}", text) for line, text in enumerate(self.logs.getvalue().splitlines())]
        places += [("metrics", self.metrics.render()[0].decode())]
        places += [("domain error", text) for text in self.errors]
        for body in self.cluster.storage.objects.values():
            told = {key: part for key, part in body.items() if key not in ("data", "spec")}
            if "template" in body.get("spec", {}):
                told["spec"] = body["spec"]
            places.append((f"{body.get('kind')} {body['metadata']['name']}", json.dumps(told)))
        places += [("agenda", str(key)) for key in self._op.looked] if self._op else []
        return [place for place, text in places if any(canary in text for canary in CANARIES)]

    def close(self) -> None:
        """End the story: fail where a secret showed or a pass ended with a bug; forget what was said."""
        said = self.logs.getvalue()
        assert self.leaks() == [], "a secret shows"
        assert "pass_crashed" not in said, "a pass ended with a bug"
        assert "pass_restless" not in said, "a key asked for the next look again and again"
        self.errors.clear()
        self.logs.seek(0)
        self.logs.truncate()


def _writes(call: KubeRequest, plural: str, namespace: str) -> bool:
    return call.verb not in ("get", "list") and call.label == plural and call.namespace == namespace


class Wire:
    """A transport to the town's Vault that counts, hangs, and answers in Vault's place."""

    def __init__(self, town: Town, wiring: Wiring) -> None:
        self._town, self._inner = town, town.vault.connect(wiring)

    async def send(self, request: Request) -> Reply:
        """Hand the request over, unless the town says otherwise."""
        self._town.attempts += 1
        if self._town.hanging:
            await self._town.clock.sleep(request.limit)
            raise Trouble(Why.SILENT)
        if self._town.status is not None:
            code, headers = self._town.status
            return Reply(code, headers, b'{"errors": ["canary: what Vault says"]}')
        if self._strikes("crash_before"):
            raise Crash("before a request to Vault")
        reply = await self._inner.send(request)
        if self._strikes("crash_after"):
            raise Crash("after a request to Vault")
        return reply

    def _strikes(self, fault: str) -> bool:
        left: int | None = getattr(self._town, fault)
        if left is not None:
            setattr(self._town, fault, left - 1 if left else None)
        return left == 0

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


class Both:
    """Signals that are remembered and shown in /metrics."""

    def __init__(self, figures: object, metrics: object) -> None:
        self._receivers = (figures, metrics)

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*arguments: object, **named: object) -> None:
            for receiver in self._receivers:
                getattr(receiver, name)(*arguments, **named)

        return tell


def key(name: str = "db") -> Key:
    """Return the agenda key of an ExternalSecret in shop."""
    return Key("ExternalSecret", SHOP, name)
