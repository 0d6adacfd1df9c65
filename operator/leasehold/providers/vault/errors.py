"""What Vault's answers mean: status and text to a reason, a reason to an error or to the fate of a lease.

Vault's texts quote database errors, role names and tokens, so they are looked at here and go no further: what is
raised outside is made of our own sentences, addresses and paths. Texts are those of Vault 1.21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from leasehold.domain.errors import Bug, Denied, DomainError, Misconfigured, Missing, Unavailable
from leasehold.domain.ports import LeaseOutcome


class Why(StrEnum):
    """The reason behind an answer of 400 and more, or behind no answer at all."""

    # about a lease or its owner: a verdict
    GONE = "gone"
    MAXED = "maxed"
    FIXED = "fixed"
    OWNERLESS = "ownerless"
    # about what was asked
    ABSENT = "absent"
    DELETED = "deleted"
    DESTROYED = "destroyed"
    VERSIONED = "versioned"
    UNMOUNTED = "unmounted"
    ROLE = "role"
    CONNECTION = "connection"
    STATEMENT = "statement"
    BAD = "bad"
    METHOD = "method"
    # about who asked
    TOKEN = "token"
    DENIED = "denied"
    AUDIENCE = "audience"
    ACCOUNT = "account"
    NAMESPACE = "namespace"
    EXPIRED = "expired"
    CREDENTIALS = "credentials"
    # about the server
    SEALED = "sealed"
    UNINITIALISED = "uninitialised"
    STANDBY = "standby"
    STALE = "stale"
    THROTTLED = "throttled"
    BACKEND = "backend"
    FAILED = "failed"
    PLAIN = "plain"
    MOVED = "moved"
    # no answer
    REFUSED = "refused"
    UNRESOLVED = "unresolved"
    SILENT = "silent"
    LOST = "lost"
    UNTRUSTED = "untrusted"
    TLS = "tls"
    OVERSIZED = "oversized"
    GARBLED = "garbled"


OUTAGES = frozenset({Why.REFUSED, Why.UNRESOLVED, Why.SEALED, Why.UNINITIALISED, Why.THROTTLED, Why.FAILED})
"""Reasons that concern the address as a whole, so that nobody else needs to find out by himself."""
PASSING = frozenset({Why.LOST, Why.STANDBY, Why.STALE})
"""Reasons that are over in a moment: worth a second try at once, if the call may be repeated at all."""
VERDICTS: Mapping[Why, LeaseOutcome] = {
    Why.GONE: LeaseOutcome.GONE,
    Why.MAXED: LeaseOutcome.MAXED,
    Why.FIXED: LeaseOutcome.FIXED,
    Why.OWNERLESS: LeaseOutcome.OWNERLESS,
}

_TABLE: tuple[tuple[int, str, Why], ...] = (  # the first match wins
    (400, r"lease not found|lease expired|^invalid lease$|failed previous revocation", Why.GONE),
    (400, r"past the max TTL", Why.MAXED),
    (400, r"is not renewable|batch tokens cannot", Why.FIXED),
    (400, r"invalid accessor", Why.OWNERLESS),
    (400, r"token not found", Why.TOKEN),
    (400, r"failed to renew entry.*SQLSTATE 42704", Why.GONE),
    (400, r"could not find role|[Uu]nknown role|invalid role name|role \".*\" could not be found", Why.ROLE),
    (400, r"failed to (renew|revoke) entry", Why.BACKEND),
    (400, r"invalid audience|audience claim|no audiences bound", Why.AUDIENCE),
    (400, r"token is expired|invalid expiration time|invalid not before|not yet valid", Why.EXPIRED),
    (400, r"invalid subject|sub claim", Why.ACCOUNT),
    (400, r"error validating token|verify id token signature|no known key", Why.CREDENTIALS),
    (400, r"invalid role or secret ID|invalid role ID|invalid secret id|invalid username or password", Why.CREDENTIALS),
    (400, r"failed to match all constraints|invalid certificate|no chain matching", Why.CREDENTIALS),
    (400, r"HTTP request to an HTTPS server", Why.PLAIN),
    (400, r"", Why.BAD),
    (403, r"invalid token|token not found|bad token", Why.TOKEN),
    (403, r"invalid audience|audience claim", Why.AUDIENCE),
    (403, r"namespace not authorized", Why.NAMESPACE),
    (403, r"service account name not authorized", Why.ACCOUNT),
    (403, r"token is expired|token not yet valid", Why.EXPIRED),
    (403, r"invalid accessor", Why.OWNERLESS),
    (403, r"", Why.DENIED),
    (404, r"no handler for route|unsupported path", Why.UNMOUNTED),
    (404, r"Invalid path for a versioned", Why.VERSIONED),
    (404, r"", Why.ABSENT),
    (405, r"", Why.METHOD),
    (412, r"", Why.STALE),
    (429, r"", Why.THROTTLED),
    (472, r"", Why.STANDBY),
    (473, r"", Why.STANDBY),
    (500, r"active cluster node not found", Why.STANDBY),
    (500, r"does not exist during renewal", Why.ROLE),
    (500, r"failed to find entry for connection", Why.CONNECTION),
    (500, r"SQLSTATE 42601", Why.STATEMENT),
    (500, r"", Why.BACKEND),
    (501, r"", Why.UNINITIALISED),
    (503, r"sealed", Why.SEALED),  # anything else with this status comes from what stands before Vault
)
_RULES = tuple((status, re.compile(pattern, re.DOTALL), why) for status, pattern, why in _TABLE)


def classify(status: int, body: object) -> Why:
    """Return the reason behind an answer that is no success; ``body`` is its JSON, or its text."""
    text = _text(body)
    for code, pattern, why in _RULES:
        if status == code and pattern.search(text):
            return _version_state(body) if why is Why.ABSENT else why
    if 300 <= status < 400:
        return Why.MOVED
    return Why.FAILED if status >= 500 else Why.BAD


def _text(body: object) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, Mapping):
        return ""
    said = [*(body.get("errors") or ()), *(body.get("warnings") or ())]
    return "; ".join(text.strip() for text in said if isinstance(text, str))


def _version_state(body: object) -> Why:
    """Tell a version that was deleted or destroyed from a path that was never written (KV version 2)."""
    data = body.get("data") if isinstance(body, Mapping) else None
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    if not isinstance(metadata, Mapping):
        return Why.ABSENT
    return Why.DESTROYED if metadata.get("destroyed") else Why.DELETED


class Trouble(Exception):
    """An answer that is no success, or no answer; carries no text of Vault's. Never leaves this folder."""

    def __init__(self, why: Why, *, status: int = 0, retry_after: float | None = None) -> None:
        """Take the reason, the HTTP status (0 without an answer) and the seconds of a Retry-After header."""
        super().__init__(why.value)
        self.why, self.status, self.retry_after = why, status, retry_after


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reason is to a user: kind of error, cause (``{vault}`` is the address) and remedy."""

    kind: type[DomainError]
    cause: str
    remedy: str
    names_path: bool = True
    """False where the path has nothing to do with it: then every object shows the same text."""


_AGAIN = "it is tried again by itself"
MEANINGS: Mapping[Why, Meaning] = {
    Why.GONE: Meaning(Bug, "{vault} says that the lease is gone", "report this: it is no error but a verdict"),
    Why.MAXED: Meaning(Bug, "{vault} says that the lease is at its maximum", "report this: it is a verdict"),
    Why.FIXED: Meaning(Misconfigured, "{vault} does not renew this", "use a token or lease that can be renewed"),
    Why.OWNERLESS: Meaning(Bug, "{vault} does not know the accessor", "report this: it is a verdict"),
    Why.ABSENT: Meaning(Missing, "{vault} has nothing at this path", "write the secret, or change remoteRef.key"),
    Why.DELETED: Meaning(Missing, "this version is deleted in {vault}", "undelete it, or write a new version"),
    Why.DESTROYED: Meaning(Missing, "this version is destroyed in {vault}", "write a new version"),
    Why.VERSIONED: Meaning(
        Misconfigured, "{vault} has KV version 2 there and was asked as version 1", "set provider.vault.version to v2"
    ),
    Why.UNMOUNTED: Meaning(
        Misconfigured, "{vault} has no secrets engine at this path", "enable it, or mend provider.vault.path or the key"
    ),
    Why.ROLE: Meaning(Misconfigured, "{vault} has no role of that name there", "create the role, or mend its name"),
    Why.CONNECTION: Meaning(
        Misconfigured, "the role in {vault} names a database connection that is not there", "write the connection"
    ),
    Why.STATEMENT: Meaning(
        Misconfigured, "the database refuses the SQL of the role in {vault}", "mend its creation statements"
    ),
    Why.BAD: Meaning(Misconfigured, "{vault} does not accept the request", "check path, version and parameters"),
    Why.METHOD: Meaning(Misconfigured, "{vault} does not do this at this path", "check path and method"),
    Why.TOKEN: Meaning(Denied, "{vault} does not accept the token", "store a token that is valid"),
    Why.DENIED: Meaning(Denied, "{vault} denies access", "grant it in the policy of whoever logs in"),
    Why.AUDIENCE: Meaning(
        Denied, "{vault} expects another audience in the JWT", "give the audience of the role to the account"
    ),
    Why.ACCOUNT: Meaning(
        Denied, "the role in {vault} is not bound to this account", "bind the role to it, or name another role"
    ),
    Why.NAMESPACE: Meaning(
        Denied, "the role in {vault} is not bound to this namespace", "bind the role to it, or name another role"
    ),
    Why.EXPIRED: Meaning(
        Denied, "the JWT is outside its time for {vault}", "check the clocks, or renew the stored JWT"
    ),
    Why.CREDENTIALS: Meaning(Denied, "{vault} does not accept the credentials", "store credentials that are valid"),
    Why.SEALED: Meaning(Unavailable, "{vault} is sealed", f"unseal it; {_AGAIN}", names_path=False),
    Why.UNINITIALISED: Meaning(
        Unavailable, "{vault} is not initialised", f"initialise and unseal it; {_AGAIN}", names_path=False
    ),
    Why.STANDBY: Meaning(Unavailable, "{vault} has no active node", _AGAIN, names_path=False),
    Why.STALE: Meaning(Unavailable, "{vault} lags behind its primary", _AGAIN, names_path=False),
    Why.THROTTLED: Meaning(
        Unavailable, "{vault} limits the rate of requests", f"raise its rate limit quota; {_AGAIN}", names_path=False
    ),
    Why.BACKEND: Meaning(
        Unavailable, "{vault} cannot reach, or is refused by, what its engine works on", f"see its log; {_AGAIN}"
    ),
    Why.FAILED: Meaning(Unavailable, "{vault} fails", f"see its log; {_AGAIN}", names_path=False),
    Why.PLAIN: Meaning(Misconfigured, "{vault} speaks HTTPS", "write https in provider.vault.server", names_path=False),
    Why.MOVED: Meaning(
        Misconfigured, "{vault} redirects elsewhere", "name the address that answers itself", names_path=False
    ),
    Why.REFUSED: Meaning(
        Unavailable,
        "{vault} refuses connections",
        f"start it, or mend provider.vault.server; {_AGAIN}",
        names_path=False,
    ),
    Why.UNRESOLVED: Meaning(
        Unavailable, "the name of {vault} does not resolve", f"mend provider.vault.server; {_AGAIN}", names_path=False
    ),
    Why.SILENT: Meaning(Unavailable, "{vault} does not answer in time", f"see its load; {_AGAIN}", names_path=False),
    Why.LOST: Meaning(
        Unavailable,
        "{vault} closed the connection without an answer",
        f"{_AGAIN}; if it stays so, Vault may want a client certificate (provider.vault.tls)",
        names_path=False,
    ),
    Why.UNTRUSTED: Meaning(
        Misconfigured,
        "the certificate of {vault} is not trusted or is for another name",
        "set its authority in provider.vault.caBundle or caProvider",
        names_path=False,
    ),
    Why.TLS: Meaning(
        Misconfigured,
        "the TLS handshake with {vault} fails",
        "check https in provider.vault.server and the client certificate in provider.vault.tls",
        names_path=False,
    ),
    Why.OVERSIZED: Meaning(Misconfigured, "{vault} answers with more than a Secret can hold", "read something smaller"),
    Why.GARBLED: Meaning(
        Misconfigured, "{vault} does not answer as Vault does", "check provider.vault.server", names_path=False
    ),
}


@dataclass(frozen=True, slots=True)
class Deed:
    """What was being done when it failed: the words that make an error findable."""

    address: str
    """Scheme, host and port of the server."""
    path: str = ""
    """API path, without lease or token."""
    login: str = ""
    """At a login: method, mount and role, for example ``kubernetes login at auth/kubernetes, role app``."""


def explain(trouble: Trouble, deed: Deed) -> DomainError:
    """Return the error for a flow: our words, the path and the remedy."""
    meaning = MEANINGS[trouble.why]
    cause = meaning.cause.format(vault=f"Vault at {deed.address}")
    remedy = meaning.remedy
    if deed.login and trouble.why is Why.DENIED:
        cause = f"Vault at {deed.address} refuses the login"
        remedy = (
            "check that the mount and the account exist, that the role is bound to the account, and that Vault may"
            " review tokens"
        )
    if deed.login and trouble.why is Why.BAD:
        cause = f"Vault at {deed.address} does not accept the login"
        remedy = "check the role and the mount of the auth method"
    path = (deed.login or deed.path) if meaning.names_path else ""
    return meaning.kind(cause, path=path, remedy=remedy, retry_after=trouble.retry_after)


def concerns_tls(error: DomainError, *, presented: bool) -> bool:
    """Tell whether other certificates could help; ``presented`` where we show one: it may be refused wordlessly."""
    reasons = (Why.UNTRUSTED, Why.TLS, Why.LOST) if presented else (Why.UNTRUSTED, Why.TLS)
    return error.remedy in {MEANINGS[why].remedy for why in reasons}
