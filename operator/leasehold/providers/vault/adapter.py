"""hvac on our own transport: what hvac loses (status, Retry-After, the reason) survives, and no text of Vault's does.

Every hvac method that just returns what its adapter returns can be awaited. Answers are plain dicts; anything that
is no success is a `Trouble`. The circuit of the address, the metrics and the correlation header are here, because
every call passes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import hvac
import orjson
from hvac.adapters import RawAdapter

from leasehold.domain.errors import DomainError
from leasehold.domain.ports import Clock
from leasehold.domain.values import SecretBytes
from leasehold.providers.circuit import Circuit, Down, Health, Judgement
from leasehold.providers.vault.documents import Number
from leasehold.providers.vault.errors import OUTAGES, Deed, Trouble, Why, classify, explain
from leasehold.providers.vault.transport import Reply, Request, Transport

PROVIDER = "HashiCorp/Vault"
"""ESO's name of this provider in metrics."""
LANES = ("read", "lease", "mint")
"""Lanes of a circuit. A database that hangs holds renewals for 90 s and mints too; reads must not wait for them."""
LIMITS: Mapping[str, float] = {"read": 15.0, "lease": 30.0, "mint": 100.0}
"""Seconds for a whole answer, by lane: Vault itself gives a mint up after 90 s."""
_CALLS: tuple[tuple[str, str], ...] = (
    (r"auth/token/lookup-self$", "LookupSelf"),
    (r"auth/token/revoke-self$", "RevokeSelf"),
    (r"auth/token/renew-self$", "RenewSelf"),
    (r"auth/token/renew-accessor$", "RenewAccessor"),
    (r"auth/token/lookup-accessor$", "LookupAccessor"),
    (r"auth/token/revoke-accessor$", "RevokeAccessor"),
    (r"auth/.+/login(/[^/]+)?$", "Login"),
    (r"auth/token/create$", "Login"),
    (r"sys/leases/renew$", "RenewLease"),
    (r"sys/leases/lookup$", "LookupLease"),
    (r"sys/leases/revoke$", "RevokeLease"),
    (r"sys/health$", "Health"),
    (r"sys/internal/ui/mounts/", "LookupMount"),
)
_EXACT = json.JSONDecoder(parse_int=Number, parse_float=Number)
_NAMES = tuple((re.compile(pattern), name) for pattern, name in _CALLS)

Observe = Callable[[str, str, str, float], None]
"""Takes provider, call, status (success or error) and seconds."""


def ignore(provider: str, call: str, status: str, seconds: float) -> None:
    """Observe nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """Everything that all calls of one store have in common."""

    transport: Transport
    circuit: Circuit
    address: str
    base: str = ""
    """Path before /v1 where Vault stands behind one."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Clock = field(kw_only=True)
    observe: Observe = ignore
    correlation: Callable[[], str] = str
    """Returns the identifier of the pass under way, "" for none."""
    limits: Mapping[str, float] = field(default_factory=lambda: LIMITS)


class VaultAdapter(RawAdapter):  # type: ignore[misc]
    """hvac's adapter for one line, lane, namespace and token."""

    def __init__(self, line: Line, *, lane: str = "read", namespace: str = "", **_: Any) -> None:
        """Take the line and what hvac.Client hands over, which is of no use here."""
        super().__init__(base_uri=line.address, session=_NoSession(), namespace=namespace)
        self.line, self.lane = line, lane
        self.token: SecretBytes | None = None

    def get_login_token(self, response: Mapping[str, Any]) -> SecretBytes:
        """Return the token of a login's answer."""
        return SecretBytes(response["auth"]["client_token"])

    async def login(self, url: str, *, use_token: bool = True, **kwargs: Any) -> dict[str, Any]:
        """Log in and, if told, use the token from now on."""
        answer: dict[str, Any] = await self.request("post", url, **kwargs)
        if use_token:
            self.token = self.get_login_token(answer)
        return answer

    async def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer, {} where there is none.

        Takes of hvac's keywords ``json``, ``params``, ``wrap_ttl`` and ``raise_exception``; ``exact`` of ours keeps
        numbers as they were written.

        Raises:
            Trouble: there is no answer, or one that is no success (raise_exception=False: any JSON answer is).
            DomainError: the address is known to be down.
        """
        request = self._build(method, url, headers or {}, kwargs)

        async def send() -> dict[str, Any]:
            status, started = "error", self.line.clock.monotonic()
            try:
                reply = await self.line.transport.send(request)
                answer = _parse(reply, exact=kwargs.get("exact", False), strict=kwargs.get("raise_exception", True))
                status = "success"
            except Trouble as trouble:
                if trouble.why in (Why.ABSENT, Why.DELETED, Why.DESTROYED):
                    status = "success"  # a backend that says "there is none" has answered well
                raise
            finally:
                seconds = self.line.clock.monotonic() - started
                self.line.observe(PROVIDER, _call_name(url, lane=self.lane), status, seconds)
            return answer

        return await self.line.circuit.run(send, judge=self._judge, lane=self.lane)

    def _build(self, method: str, url: str, headers: Mapping[str, str], kwargs: Mapping[str, Any]) -> Request:
        sent = {**self.line.headers, "X-Vault-Request": "true", **headers}
        if self.token:
            sent["X-Vault-Token"] = self.token.reveal().decode("latin-1").strip()
        if self.namespace:
            sent["X-Vault-Namespace"] = self.namespace
        if correlation := self.line.correlation():
            sent["X-Correlation-Id"] = correlation
        if kwargs.get("wrap_ttl"):
            sent["X-Vault-Wrap-TTL"] = str(kwargs["wrap_ttl"])
        verb, params = method.upper(), dict(kwargs.get("params") or {})
        if verb == "LIST":
            verb, params = "GET", {**params, "list": "true"}
        body = None
        if kwargs.get("json") is not None:
            sent["Content-Type"] = "application/json"
            body = orjson.dumps(kwargs["json"], default=_reveal)
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        path = re.sub("/{2,}", "/", url).strip("/")
        return Request(
            method=verb,
            url=f"{self.line.address}{self.line.base}/{path}{query}",
            headers=sent,
            body=body,
            limit=self.line.limits[self.lane],
            once=self.lane == "mint",
        )

    def _judge(self, result: dict[str, Any] | Exception) -> Judgement:
        if not isinstance(result, Exception):
            return Health.ANSWERED
        if not isinstance(result, Trouble):
            return Health.UNKNOWN
        # a read that nobody answers is Vault's fault, a renewal or a mint may hang in its database
        if result.why in OUTAGES or (result.why is Why.SILENT and self.lane == "read"):
            error: DomainError = explain(result, Deed(self.line.address))
            return Down(error, throttled=result.why is Why.THROTTLED)
        return Health.ANSWERED if result.status else Health.UNKNOWN


def client(line: Line, *, lane: str = "read", namespace: str = "") -> Any:
    """Return an hvac client on the line; its token is set by ``client.adapter.token`` (a SecretBytes)."""
    # url and token are given, or hvac would look for them in the environment and in the home directory
    return hvac.Client(
        url=line.address, token="", adapter=lambda **_: VaultAdapter(line, lane=lane, namespace=namespace)
    )


class _NoSession:
    """Stands where hvac's base class wants a session of requests, which is never used."""

    verify = cert = proxies = None


def _parse(reply: Reply, *, exact: bool, strict: bool) -> dict[str, Any]:
    body = _loads(reply.body, exact=exact)
    if not isinstance(body, dict):
        if 200 <= reply.status < 300 and not reply.body:
            return {}
        text = reply.body[:512].decode("utf-8", "replace")
        raise Trouble(
            Why.GARBLED if reply.status < 300 else classify(reply.status, text),
            status=reply.status,
            retry_after=_retry_after(reply),
        )
    if reply.status >= 300 and strict:
        raise Trouble(classify(reply.status, body), status=reply.status, retry_after=_retry_after(reply))
    return body


def _loads(raw: bytes, *, exact: bool) -> Any:
    """Return the JSON, None where it is none. ``exact`` keeps the digits of every number."""
    try:
        if exact:
            return _EXACT.decode(raw.decode())
        return orjson.loads(raw)
    except (ValueError, RecursionError):
        return None


def _retry_after(reply: Reply) -> float | None:
    value = reply.headers.get("Retry-After") or reply.headers.get("retry-after") or ""
    return float(value) if value.isascii() and value.isdigit() else None


def _reveal(value: object) -> str:
    """Hand credentials over to the one place that sends them."""
    if isinstance(value, SecretBytes):
        return value.reveal().decode("utf-8", "replace")
    raise TypeError("not JSON")


def _call_name(url: str, *, lane: str) -> str:
    if lane == "mint":
        return "Mint"
    if "auth/" not in url and "sys/" not in url:  # most calls: no pattern can match
        return "ReadSecretData"
    for pattern, name in _NAMES:
        if pattern.search(url):
            return name
    return "ReadSecretData"
