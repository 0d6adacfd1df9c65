"""Tokens, leases and logins of the Vault in memory: what lives, how long, and on what it hangs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any


class Refused(Exception):
    """An answer of 400 and more, with Vault's own texts (they are what the adapter classifies)."""

    def __init__(self, status: int, *errors: str, body: dict[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body if body is not None else {"errors": list(errors)}


PERMISSION = "1 error occurred:\n\t* permission denied\n\n"
DEAD_TOKEN = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
DATABASE_GONE = 'failed to connect to `user=vaultadm database=postgres`: dial tcp 127.0.0.1:5432: "p4ssw0rd-in-a-text"'
DEFAULT_POLICY = (
    "auth/token/lookup-self",
    "auth/token/renew-self",
    "auth/token/revoke-self",
    "sys/capabilities-self",
    "sys/leases/renew",
    "sys/leases/lookup",
)


@dataclass
class Token:
    """One token; times in seconds of the world's clock."""

    value: str
    accessor: str
    paths: tuple[str, ...]
    ttl: float
    ends: float | None
    period: float = 0.0
    max_ends: float | None = None
    kind: str = "service"
    parent: str = ""

    def may(self, path: str) -> bool:
        """Tell whether a policy of the token covers the path."""
        return any(path == rule or (rule.endswith("*") and path.startswith(rule[:-1])) for rule in self.paths)


@dataclass
class HeldLease:
    """One lease and the database user behind it."""

    id: str
    token: str
    user: str
    role: str
    issued: float
    ends: float
    max_ends: float
    renewable: bool = True


@dataclass
class Role:
    """A role of any auth method."""

    paths: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ("*",)
    namespaces: tuple[str, ...] = ("*",)
    audience: str = ""
    ttl: float = 3600.0
    period: float = 0.0
    max_ttl: float = 0.0
    kind: str = "service"
    default_policy: bool = True


@dataclass
class Book:
    """All tokens and leases, ended by time when somebody looks."""

    now: Callable[[], float]
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: dict[str, HeldLease] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    _serial: Any = field(default_factory=lambda: count(1))

    def issue(self, role: Role, *, parent: str = "") -> Token:
        """Make a token of a role."""
        number = next(self._serial)
        ttl = role.period or role.ttl
        now = self.now()
        paths = (*role.paths, *(DEFAULT_POLICY if role.default_policy else ()))
        batch = role.kind == "batch"
        token = Token(
            value=f"hvb.{number:04d}canary" if batch else f"hvs.{number:04d}canary",
            accessor="" if batch else f"accessor-{number:04d}",
            paths=paths,
            ttl=ttl,
            ends=now + ttl if ttl else None,
            period=role.period,
            max_ends=now + role.max_ttl if role.max_ttl and not role.period else None,
            kind=role.kind,
            parent=parent,
        )
        self.tokens[token.value] = token
        return token

    def reap(self) -> None:
        """End what has ended by now."""
        now = self.now()
        for token in [held for held in self.tokens.values() if held.ends is not None and held.ends <= now]:
            self.revoke(token)
        for lease in [held for held in self.leases.values() if held.ends <= now]:
            self.end(lease)

    def revoke(self, token: Token) -> None:
        """End a token, its children, and every lease that hangs on them."""
        self.tokens.pop(token.value, None)
        for lease in [held for held in self.leases.values() if held.token == token.value]:
            self.end(lease)
        for child in [held for held in self.tokens.values() if held.parent == token.value]:
            self.revoke(child)

    def end(self, lease: HeldLease) -> None:
        """End a lease and drop its user."""
        self.leases.pop(lease.id, None)
        self.users.discard(lease.user)

    def by_accessor(self, accessor: str) -> Token:
        """Return the token of an accessor."""
        for token in self.tokens.values():
            if accessor and token.accessor == accessor:
                return token
        raise Refused(400, "invalid accessor")

    def renew_token(self, token: Token, increment: float) -> dict[str, Any]:
        """Renew a token, as renew-self and renew-accessor do."""
        if token.kind == "batch":
            raise Refused(400, "batch tokens cannot be renewed")
        now = self.now()
        granted = token.period or increment or token.ttl
        warnings = None
        if token.max_ends is not None and now + granted > token.max_ends:
            granted, warnings = token.max_ends - now, ['TTL of "x" exceeded the effective max_ttl of "y"']
        token.ends = now + granted if granted else None
        return {"auth": {**self.shown(token), "lease_duration": int(granted)}, "warnings": warnings}

    def shown(self, token: Token) -> dict[str, Any]:
        """Return the auth part of a login's answer."""
        return {
            "client_token": token.value,
            "accessor": token.accessor,
            "policies": ["default"],
            "token_policies": ["default"],
            "metadata": {},
            "lease_duration": int(token.ttl),
            "renewable": token.kind != "batch" and token.ends is not None,
            "entity_id": "",
            "token_type": token.kind,
            "orphan": True,
        }

    def looked_up(self, token: Token) -> dict[str, Any]:
        """Return the data of lookup-self and lookup-accessor."""
        left = 0 if token.ends is None else int(token.ends - self.now())
        return {"ttl": left, "renewable": token.ends is not None and token.kind != "batch", "type": token.kind}
