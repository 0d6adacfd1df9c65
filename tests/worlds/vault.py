"""A Vault in memory, with a memory: logins, KV of both versions, database leases, owners, seal, limits, outages.

It stands in for the network (`providers.vault.transport.Transport`) and speaks as Vault 1.21 does: statuses, bodies
and error texts are those measured on real servers. The same contracts run on it and on the real one. Time is the
clock's; nothing waits.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from leasehold.domain.ports import Clock
from leasehold.providers.vault.errors import Trouble, Why
from leasehold.providers.vault.transport import Reply, Request, Wiring
from tests.worlds.vault_tokens import DATABASE_GONE, DEAD_TOKEN, PERMISSION, Book, HeldLease, Refused, Role, Token

ROOT = "hvs.root"
Answer = tuple[int, dict[str, Any] | None]


@dataclass
class Mount:
    """A secrets engine."""

    kind: str
    version: int = 1
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class DatabaseRole:
    """A role of the database engine, in seconds."""

    default_ttl: float = 60.0
    max_ttl: float = 300.0


def encode_jwt(namespace: str, account: str, audience: str) -> str:
    """Return what stands for a ServiceAccount's JWT."""
    claims = json.dumps([namespace, account, audience]).encode()
    return "jwt." + base64.urlsafe_b64encode(claims).decode()


class VaultWorld:
    """One Vault server in memory. Faults are plain attributes that a test sets."""

    def __init__(self, clock: Clock, *, address: str = "http://vault.test:8200") -> None:
        self.clock, self.address = clock, address
        self.book = Book(clock.now)
        self.mounts: dict[str, Mount] = {}
        self.kubernetes: dict[str, Role] = {}
        self.jwt: dict[str, Role] = {}
        self.app_roles: dict[tuple[str, str], Role] = {}
        self.user_pass: dict[tuple[str, str], Role] = {}
        self.certificates: dict[str, Role] = {}
        self.database: dict[str, DatabaseRole] = {}
        self.gone_accounts: set[tuple[str, str]] = set()
        self.ca_pem = ""
        self.enterprise = False
        self.sealed = False
        self.database_down = False
        self.gone_role = ""
        """A database role that was deleted after it had given leases."""
        self.fault: Why | None = None
        """No answer, for this reason, until it is None again."""
        self.lose_answers = 0
        """So many requests are worked on and their answers lost."""
        self.standby_answers = 0
        self.throttled = False
        self.throttle_header = ""
        self.gate: asyncio.Event | None = None
        """Requests that arrive wait here."""
        self.seen: list[tuple[str, str]] = []
        """Method and path of each request that arrived."""
        self.headers: list[dict[str, str]] = []
        self.lines: list[WorldTransport] = []
        """Every transport that was made to this server."""
        root = self.book.issue(Role(paths=("*",), ttl=0))
        del self.book.tokens[root.value]
        root.value, root.accessor = ROOT, "accessor-root"
        self.book.tokens[ROOT] = root

    # ------------------------------------------------------------------------------------------------------ furnishing

    def mount(self, path: str, kind: str, *, version: int = 1) -> Mount:
        """Mount a secrets engine."""
        self.mounts[f"{path}/"] = made = Mount(kind, version)
        return made

    def put(self, path: str, value: Any, *, mount: str = "secret", raw: bool = False) -> None:
        """Write a secret; on version 2 a new version of it. ``raw`` writes the JSON text as it is."""
        engine = self.mounts[f"{mount}/"]
        value = value if raw else json.dumps(value)
        if engine.version == 1:
            engine.data[path] = value
        else:
            engine.data.setdefault(path, {"versions": [], "custom": {}})["versions"].append({"json": value, "end": ""})

    def delete(self, path: str, *, mount: str = "secret", destroy: bool = False) -> None:
        """Delete (or destroy) the latest version of a version 2 secret, or the whole of a version 1 secret."""
        engine = self.mounts[f"{mount}/"]
        if engine.version == 1:
            del engine.data[path]
        else:
            engine.data[path]["versions"][-1]["end"] = "destroyed" if destroy else "deleted"

    def drop_user(self, user: str) -> None:
        """Remove a database user behind Vault's back."""
        self.book.users.discard(user)

    def count(self, name: str) -> int:
        """Return how many requests arrived whose path ends so."""
        return Counter(path.endswith(name) for _, path in self.seen)[True]

    def connect(self, wiring: Wiring) -> WorldTransport:
        """Return a transport to this server: `Habits.vault["connect"]` of the registry."""
        self.lines.append(WorldTransport(self, wiring))
        return self.lines[-1]

    # ------------------------------------------------------------------------------------------------------- answering

    async def receive(self, request: Request, wiring: Wiring) -> Reply:
        """Answer a request, or raise what a broken network shows."""
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        if self.ca_pem and wiring.ca_pem != self.ca_pem:
            raise Trouble(Why.UNTRUSTED)
        if self.fault is not None:
            raise Trouble(self.fault)
        parts = urlsplit(request.url)
        path = unquote(parts.path).removeprefix("/v1/")
        self.seen.append((request.method, path))
        self.headers.append(dict(request.headers))
        body = json.loads(request.body) if request.body else {}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers: dict[str, str] = {"content-type": "application/json"}
        try:
            status, answer = self._answer(request, path, {**query, **body}, wiring)
        except Refused as refused:
            status, answer = refused.status, refused.body
            if status == 429 and self.throttle_header:
                headers["retry-after"] = self.throttle_header
        if self.lose_answers:
            self.lose_answers -= 1
            raise Trouble(Why.LOST)
        return Reply(status, headers, b"" if answer is None else _dump(answer))

    def _answer(self, request: Request, path: str, body: dict[str, Any], wiring: Wiring) -> Answer:
        if path == "sys/health":
            said = {"initialized": True, "sealed": self.sealed, "standby": False, "enterprise": self.enterprise}
            return (503 if self.sealed else 200), said
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        if self.throttled:
            raise Refused(429, f'request path "{path}": rate limit quota exceeded')
        if self.standby_answers:
            self.standby_answers -= 1
            raise Refused(500, "local node not active but active cluster node not found")
        self.book.reap()
        if re.fullmatch(r"auth/.+/login(/.+)?", path):
            return self._login(path, body, wiring)
        token = self._token(request)
        if not token.may(path):
            raise Refused(403, PERMISSION)
        for pattern, handle in self._routes():
            if re.fullmatch(pattern, path):
                return handle(token, path, body)
        return self._secret(token, path, body)

    def _token(self, request: Request) -> Token:
        value = request.headers.get("X-Vault-Token", "")
        if not value:
            raise Refused(403, "permission denied")
        token = self.book.tokens.get(value)
        if token is None:
            raise Refused(403, DEAD_TOKEN)
        return token

    def _routes(self) -> tuple[tuple[str, Callable[[Token, str, dict[str, Any]], Answer]], ...]:
        book = self.book

        def revoke_accessor(_: Token, __: str, body: dict[str, Any]) -> Answer:
            book.revoke(book.by_accessor(body["accessor"]))
            return 204, None

        def revoke_self(token: Token, _: str, __: dict[str, Any]) -> Answer:
            book.revoke(token)
            return 204, None

        return (
            ("auth/token/lookup-self", lambda token, _, __: (200, {"data": book.looked_up(token)})),
            ("auth/token/renew-self", lambda token, _, body: (200, book.renew_token(token, body.get("increment", 0)))),
            ("auth/token/revoke-self", revoke_self),
            ("auth/token/create", self._create_child),
            (
                "auth/token/renew-accessor",
                lambda _, __, body: (200, _faceless(book.renew_token(book.by_accessor(body["accessor"]), 0))),
            ),
            (
                "auth/token/lookup-accessor",
                lambda _, __, body: (200, {"data": book.looked_up(book.by_accessor(body["accessor"]))}),
            ),
            ("auth/token/revoke-accessor", revoke_accessor),
            ("sys/leases/renew", self._renew),
            ("sys/leases/lookup", self._look_up),
            ("sys/leases/revoke", self._revoke_lease),
            ("sys/internal/ui/mounts/.+", self._ui_mount),
        )

    def _create_child(self, token: Token, _: str, body: dict[str, Any]) -> Answer:
        role = Role(paths=token.paths, ttl=float(body.get("ttl", "0").removesuffix("h")) * 3600, default_policy=False)
        return 200, {"auth": self.book.shown(self.book.issue(role, parent=token.value))}

    # ---------------------------------------------------------------------------------------------------------- logins

    def _login(self, path: str, body: dict[str, Any], wiring: Wiring) -> Answer:
        mount = path.removeprefix("auth/").split("/login")[0]
        if mount == "kubernetes":
            role = self._bound(self.kubernetes, body, status=403)
        elif mount == "jwt":
            role = self._bound(self.jwt, body, status=400)
        elif mount == "approle":
            role = _known(self.app_roles.get((body["role_id"], body["secret_id"])), "invalid role or secret ID")
        elif mount == "userpass":
            user = path.rpartition("/")[2]
            role = _known(self.user_pass.get((user, body["password"])), "invalid username or password")
        elif mount == "cert":
            role = _known(self.certificates.get(wiring.certificate), "failed to match all constraints for this login")
        else:
            raise Refused(403, "permission denied")
        return 200, {"auth": self.book.shown(self.book.issue(role))}

    def _bound(self, roles: dict[str, Role], body: dict[str, Any], *, status: int) -> Role:
        """Check a JWT against a role, with the texts of the kubernetes (403) or the jwt (400) method."""
        kubernetes = status == 403
        role = roles.get(body.get("role", ""))
        if role is None:
            name = body.get("role", "")
            raise Refused(400, f'invalid role name "{name}"' if kubernetes else f'role "{name}" could not be found')
        if not str(body["jwt"]).startswith("jwt."):
            text = "permission denied" if kubernetes else "error validating token: failed to verify id token signature"
            raise Refused(status, text)
        namespace, account, audience = json.loads(base64.urlsafe_b64decode(body["jwt"].removeprefix("jwt.")))
        if role.audience and audience != role.audience:
            text = "invalid audience (aud) claim: audience claim does not match any expected audience"
            raise Refused(status, text if kubernetes else f"error validating token: {text}")
        if role.namespaces != ("*",) and namespace not in role.namespaces:
            raise Refused(
                status, "namespace not authorized" if kubernetes else "error validating token: invalid subject"
            )
        if role.accounts != ("*",) and account not in role.accounts:
            text = "service account name not authorized" if kubernetes else "error validating token: invalid subject"
            raise Refused(status, text)
        if (namespace, account) in self.gone_accounts:
            raise Refused(status, "permission denied")
        return role

    # ---------------------------------------------------------------------------------------------------------- leases

    def _mint(self, token: Token, role: str) -> Answer:
        made = self.database.get(role)
        if made is None:
            raise Refused(400, f"unknown role: {role}")
        if self.database_down:
            raise Refused(500, f"unable to create new user: rpc error: code = Internal desc = {DATABASE_GONE}")
        now, number = self.clock.now(), len(self.seen)
        user = f"v-canary-{role}-{number}"
        ttl = made.default_ttl
        if token.kind == "batch" and token.ends is not None:
            ttl = min(ttl, token.ends - now)
        lease = HeldLease(f"database/creds/{role}/canary{number}", token.value, user, role, now, now + ttl, 0.0)
        lease.max_ends = now + made.max_ttl
        self.book.leases[lease.id] = lease
        self.book.users.add(user)
        return 200, {
            "request_id": "r",
            "lease_id": lease.id,
            "lease_duration": int(ttl),
            "renewable": True,
            "data": {"username": user, "password": f"canary-password-{number}"},
            "mount_type": "database",
        }

    def _renew(self, _: Token, __: str, body: dict[str, Any]) -> Answer:
        lease = self.book.leases.get(body["lease_id"])
        if lease is None:
            raise Refused(400, "lease not found")
        if not lease.renewable:
            raise Refused(400, "lease is not renewable")
        if lease.role == self.gone_role:
            raise Refused(400, f'error during renew: could not find role with name "{lease.role}"')
        if self.database_down:
            raise Refused(400, f"failed to renew entry: resp: (*logical.Response)(nil) err: {DATABASE_GONE}")
        if lease.user not in self.book.users:
            text = f'failed to renew entry: role "{lease.user}" does not exist (SQLSTATE 42704)'
            raise Refused(400, text)
        now = self.clock.now()
        role = self.database[lease.role]
        asked = float(body.get("increment") or role.default_ttl)
        left = lease.issued + role.max_ttl - now
        if left < 1:
            raise Refused(
                400, "failed to renew entry: resp: (*logical.Response)(nil) err: past the max TTL, cannot renew"
            )
        owner = self.book.tokens[lease.token]
        if owner.kind == "batch" and owner.ends is not None:
            left = min(left, owner.ends - now)
        granted = min(asked, left)
        lease.ends = now + granted
        warnings = ["TTL exceeded the effective max_ttl; TTL value is capped accordingly"] if granted < asked else None
        return 200, {
            "lease_id": lease.id,
            "lease_duration": int(granted),
            "renewable": True,
            "data": None,
            "warnings": warnings,
        }

    def _look_up(self, _: Token, __: str, body: dict[str, Any]) -> Answer:
        lease = self.book.leases.get(body["lease_id"])
        if lease is None:
            raise Refused(400, "invalid lease")
        return 200, {"data": {"id": lease.id, "renewable": lease.renewable, "ttl": int(lease.ends - self.clock.now())}}

    def _revoke_lease(self, _: Token, __: str, body: dict[str, Any]) -> Answer:
        if (lease := self.book.leases.get(body["lease_id"])) is not None:
            self.book.end(lease)
        return 204, None

    # ---------------------------------------------------------------------------------------------------------- secrets

    def _ui_mount(self, _: Token, path: str, __: dict[str, Any]) -> Answer:
        wanted = path.removeprefix("sys/internal/ui/mounts/") + "/"
        for name, mount in self.mounts.items():
            if wanted.startswith(name):
                options = {"version": str(mount.version)} if mount.kind == "kv" else None
                return 200, {"data": {"path": name, "type": mount.kind, "options": options}}
        raise Refused(403, "preflight capability check returned 403, please ensure client's policies grant access")

    def _secret(self, token: Token, path: str, body: dict[str, Any]) -> Answer:
        for name, mount in self.mounts.items():
            if not path.startswith(name):
                continue
            rest = path.removeprefix(name)
            if mount.kind == "database":
                return self._mint(token, rest.removeprefix("creds/"))
            return _versioned(mount, rest, body) if mount.version == 2 else _plain(mount, rest)
        raise Refused(404, f'no handler for route "{path}". route entry not found.')


class WorldTransport:
    """A `Transport` to the world, which knows with which certificates it was made."""

    def __init__(self, world: VaultWorld, wiring: Wiring) -> None:
        self._world, self._wiring = world, wiring
        self.closed = False

    async def send(self, request: Request) -> Reply:
        """Hand the request over."""
        return await self._world.receive(request, self._wiring)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def _plain(mount: Mount, path: str) -> Answer:
    if path not in mount.data:
        raise Refused(404)
    return 200, {"lease_id": "", "lease_duration": 2764800, "renewable": False, "data": _Raw(mount.data[path])}


def _versioned(mount: Mount, path: str, body: dict[str, Any]) -> Answer:
    kind, _, name = path.partition("/")
    if kind not in ("data", "metadata"):
        warning = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints."
        raise Refused(404, body={"data": None, "warnings": [warning], "errors": []})
    held = mount.data.get(name)
    if held is None:
        raise Refused(404)
    if kind == "metadata":
        shown = {"created_time": "2026-01-01T00:00:00Z", "current_version": len(held["versions"])}
        shown |= {"delete_version_after": "0s", "custom_metadata": held["custom"] or None, "versions": {}}
        return 200, {"data": shown}
    wanted = str(body.get("version") or 0)
    if not wanted.lstrip("-").isdigit():
        raise Refused(400, "Field validation failed: error converting input for field")
    number = int(wanted) if int(wanted) > 0 else len(held["versions"])
    if number > len(held["versions"]):
        raise Refused(404)
    version = held["versions"][number - 1]
    metadata = {
        "version": number,
        "destroyed": version["end"] == "destroyed",
        "deletion_time": "",
        "custom_metadata": None,
    }
    if version["end"]:
        metadata["deletion_time"] = "" if version["end"] == "destroyed" else "2026-01-01T00:00:00Z"
        raise Refused(404, body={"data": {"data": None, "metadata": metadata}})
    return 200, {"lease_id": "", "data": {"data": _Raw(version["json"]), "metadata": metadata}}


class _Raw:
    """JSON text that is sent as it was written."""

    def __init__(self, text: str) -> None:
        self.text = text


def _dump(answer: dict[str, Any]) -> bytes:
    raws: list[str] = []

    def keep(value: object) -> str:
        assert isinstance(value, _Raw)
        raws.append(value.text)
        return f"\u0000raw{len(raws) - 1}\u0000"

    text = json.dumps(answer, default=keep)
    for index, raw in enumerate(raws):
        text = text.replace(json.dumps(f"\u0000raw{index}\u0000"), raw)
    return text.encode()


def _faceless(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of renew-accessor, which shows no token."""
    return {**answer, "auth": {**answer["auth"], "client_token": ""}}


def _known(role: Role | None, text: str) -> Role:
    if role is None:
        raise Refused(400, text)
    return role
