"""A mint: one request, sent at most once, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from leasehold.domain.errors import DomainError, Misconfigured, Missing, Unavailable
from leasehold.domain.ports import Grant, MintRequest
from leasehold.domain.values import SecretBytes, SecretMap
from leasehold.providers.vault import kv
from leasehold.providers.vault.documents import extract, go_bytes
from leasehold.providers.vault.errors import Deed, Trouble, Why, explain

_WITHOUT_BODY = frozenset({"GET", "LIST", "DELETE"})
_UNKNOWN = frozenset({Why.LOST, Why.SILENT, Why.GARBLED, Why.OVERSIZED})
"""Reasons after which nobody knows whether something was minted."""
_AUTH_TEXTS = ("client_token", "accessor", "entity_id")
_AUTH_LISTS = ("policies", "token_policies", "identity_policies", "metadata", "mfa_requirement")
"""Fields that ESO shows of a login, also where Vault leaves them out."""
_RAW_FIELDS = ("request_id", "lease_id", "lease_duration", "renewable", "data", "warnings")
_RAW_OPTIONAL = ("auth", "wrap_info", "mount_type")


async def mint(vault: Any, request: MintRequest, *, address: str) -> Grant:
    """Send the request with the hvac client of a mint lane and return what it gave.

    Raises:
        Denied, Missing, Misconfigured: nothing was minted.
        Unavailable: nothing is known, or the engine failed half-way.
    """
    path = kv.clean(request.path)
    try:
        answer = await _send(vault, path, request)
    except Trouble as trouble:
        if trouble.why is Why.ABSENT and request.allow_empty:
            return _nothing()
        raise _explain(trouble, Deed(address, path)) from None
    if not answer:
        if request.allow_empty:
            return _nothing()
        raise Missing(
            "the answer is empty", path=path, remedy="set allowEmptyResponse, or name a path that gives something"
        )
    return Grant(
        values=_values(answer, request.result, path=path),
        lease_id=SecretBytes(str(answer.get("lease_id") or "")),
        ttl=_ttl(answer, request.result),
        renewable=bool(answer.get("renewable")),
    )


async def _send(vault: Any, path: str, request: MintRequest) -> dict[str, Any]:
    method = request.method.upper() or "GET"
    parts: dict[str, Any] = {"exact": True}
    if method not in _WITHOUT_BODY:
        parts["json"] = dict(request.parameters)
        method = "POST" if method == "POST" else "PUT"  # as ESO: whatever else is a write
    elif request.query:
        parts["params"] = {name: list(values) for name, values in request.query.items()}
    answer: dict[str, Any] = await vault.adapter.request(method, f"/v1/{quote(path)}", **parts)
    return answer


def _explain(trouble: Trouble, deed: Deed) -> DomainError:
    if trouble.why not in _UNKNOWN:
        return explain(trouble, deed)
    return Unavailable(
        f"Vault at {deed.address} did not say what became of the request",
        path=deed.path,
        remedy="its login is revoked before another try",
    )


def _nothing() -> Grant:
    return Grant(values={}, lease_id=SecretBytes(b""), ttl=0.0, renewable=False)


def _ttl(answer: Mapping[str, Any], result: str) -> float:
    auth = answer.get("auth")
    source = auth if result == "Auth" and isinstance(auth, Mapping) else answer
    return float(source.get("lease_duration") or 0)


def _values(answer: Mapping[str, Any], result: str, *, path: str) -> SecretMap:
    """Return the part of the answer that is asked for, as ESO shows it: Data exact, Auth and Raw like an extract."""
    if result == "Auth":
        auth = answer.get("auth")
        return extract(_auth(auth)) if isinstance(auth, Mapping) else {}
    if result == "Raw":
        raw = {name: answer.get(name) for name in _RAW_FIELDS}
        raw |= {name: answer[name] for name in _RAW_OPTIONAL if answer.get(name)}
        if isinstance(inner := raw.get("auth"), Mapping):
            raw["auth"] = _auth(inner)
        return extract(raw)
    data = answer.get("data")
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise Misconfigured("the answer has no data of the usual shape", path=path, remedy="set resultType to Raw")
    return {key: go_bytes(value) for key, value in data.items()}


def _auth(auth: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: auth.get(name) or "" for name in _AUTH_TEXTS}
    shown |= {name: auth.get(name) for name in _AUTH_LISTS}
    return {
        **shown,
        "orphan": bool(auth.get("orphan")),
        "renewable": bool(auth.get("renewable")),
        "lease_duration": auth.get("lease_duration") or 0,
    }
