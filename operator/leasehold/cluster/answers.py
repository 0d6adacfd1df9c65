"""What the API server answers: errors by consequence, without its words, which may carry values of a Secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from leasehold.domain.errors import Conflict, Denied, DomainError, Misconfigured, Missing, Unavailable


class Asked(Protocol):
    """The request, in the words of its failure."""

    @property
    def verb(self) -> str:
        """get | list | watch | create | update | patch | delete."""
        ...

    @property
    def label(self) -> str:
        """Plural and subresource, as RBAC writes them."""
        ...

    @property
    def where(self) -> str:
        """What the request is about."""
        ...


class TurnedAway(Unavailable):
    """The server did not act: the very same request may be sent again."""


class Unknown(Denied):
    """The server does not know our token (401): it did not act either."""


def translate(request: Asked, code: int, told: Mapping[str, Any], wait: float | None) -> DomainError:
    """Return the error of an answer; the server's message is not quoted, it may carry values of a Secret."""
    where = request.where
    if code == 401:
        return Unknown("the API server does not know the operator", path=where, remedy="check the operator's token")
    if code == 403:
        return _forbidden(request, told)
    if code == 404:
        return Missing("it does not exist", path=where, remedy="check name and namespace")
    if code in (409, 410):
        return Conflict(_moved(code, told), path=where, remedy="it is looked at again")
    if code == 429 or (code >= 500 and wait is not None):
        return TurnedAway("the API server is busy", path=where, remedy="it is tried again", retry_after=wait)
    if code >= 500 or code == 408:
        return Unavailable(f"the API server failed ({code})", path=where, remedy="it is tried again")
    fields = ", ".join(dict.fromkeys(field for cause in _causes(told) if (field := str(cause.get("field", "")))))
    detail = f"{told.get('reason') or code}{': ' + fields if fields else ''}"
    return Misconfigured(f"the API server refuses it ({detail})", path=where, remedy="mend the object")


def _moved(code: int, told: Mapping[str, Any]) -> str:
    if code == 410:
        return "the list was not read in time"
    return "it exists already" if told.get("reason") == "AlreadyExists" else "it changed in between"


def _forbidden(request: Asked, told: Mapping[str, Any]) -> DomainError:
    """Tell a missing right from a namespace that ends, a quota that is used up, and the word of an admission plug-in.

    The server has one reason for all of them; its message is looked into and not quoted.
    """
    where, message = request.where, str(told.get("message", ""))
    if any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(told)):
        return Denied("its namespace is being deleted", path=where, remedy="nothing is to be done")
    if "exceeded quota" in message:
        return Denied("the ResourceQuota of its namespace is used up", path=where, remedy="raise the quota")
    if message and "cannot" not in message:
        return Denied("an admission rule of the cluster refuses it", path=where, remedy="ask who owns the rule")
    remedy = "grant it in the operator's role, or check its scope"
    return Denied(f"the operator may not {request.verb} {request.label}", path=where, remedy=remedy)


def _causes(told: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (told.get("details") or {}).get("causes") or ()


def status(raw: bytes) -> Mapping[str, Any]:
    """Return the Status that a body is, {} where it is none."""
    try:
        told = orjson.loads(raw)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("kind") == "Status" else {}


def retry_after(headers: Mapping[str, str], told: Mapping[str, Any]) -> float | None:
    """Return the seconds of the header, or those of the Status; a date in the header is not what API servers send."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    seconds = (told.get("details") or {}).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else None
