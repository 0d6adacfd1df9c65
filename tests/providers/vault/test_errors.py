"""Every row of what was measured on real servers, and what it means to whoever asked."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold.domain.errors import Bug, Denied, DomainError, Misconfigured, Missing, Unavailable
from leasehold.domain.ports import LeaseOutcome
from leasehold.providers.vault.errors import MEANINGS, VERDICTS, Deed, Trouble, Why, classify, concerns_tls, explain
from tests.contracts.canary import assert_clean

PD = "1 error occurred:\n\t* permission denied\n\n"
DB = "failed to connect to `user=canary database=postgres`: dial tcp 127.0.0.1:5432: connect: connection refused"
GONE, MAXED, FIXED, OWNERLESS = LeaseOutcome.GONE, LeaseOutcome.MAXED, LeaseOutcome.FIXED, LeaseOutcome.OWNERLESS

ROWS: list[tuple[str, int, str, type[DomainError] | LeaseOutcome]] = [
    # kubernetes auth
    (
        "wrong audience",
        403,
        "invalid audience (aud) claim: audience claim does not match any expected audience",
        Denied,
    ),
    ("wrong namespace", 403, "namespace not authorized", Denied),
    ("namespace selector", 403, "namespace not authorized err=failed to get namespace (code 403 canary)", Denied),
    ("wrong account", 403, "service account name not authorized", Denied),
    ("expired JWT", 403, "invalid expiration time (exp) claim: token is expired", Denied),
    ("early JWT", 403, "invalid not before (nbf) claim: token not yet valid", Denied),
    ("garbage, deleted account, no reviewer", 403, "permission denied", Denied),
    ("unknown role", 400, 'invalid role name "canary"', Misconfigured),
    ("no jwt", 400, "missing jwt", Misconfigured),
    # tokens
    ("dead token", 403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n", Denied),
    ("used up token", 400, "token not found", Denied),
    ("batch token renewed", 400, "batch tokens cannot be renewed", FIXED),
    ("role of a token deleted", 500, "failed to renew entry: role canary does not exist during renewal", Misconfigured),
    ("dead accessor", 400, "invalid accessor", OWNERLESS),
    ("policy", 403, PD, Denied),
    # mint
    ("unknown database role", 400, "unknown role: canary", Misconfigured),
    ("database down", 500, f"unable to create new user: rpc error: code = Internal desc = {DB}", Unavailable),
    ("admin password wrong", 500, "unable to create new user: failed SASL auth: FATAL: canary", Unavailable),
    ("database hangs", 500, "rpc error: code = Canceled desc = context canceled", Unavailable),
    ("bad SQL", 500, 'ERROR: syntax error at or near "canary" (SQLSTATE 42601)', Misconfigured),
    ("no connection", 500, 'failed to find entry for connection with name: "canary"', Misconfigured),
    # renew
    (
        "past the maximum",
        400,
        "failed to renew entry: resp: (*logical.Response)(nil) err: past the max TTL, cannot renew",
        MAXED,
    ),
    (
        "renew, database down",
        400,
        f"failed to renew entry: resp: (*logical.Response)(nil) err: unable to update user: {DB}",
        Unavailable,
    ),
    (
        "renew, database hangs",
        400,
        "failed to renew entry: rpc error: code = Canceled desc = context canceled",
        Unavailable,
    ),
    ("user dropped", 400, 'failed to renew entry: err: ERROR: role "v-canary" does not exist (SQLSTATE 42704)', GONE),
    (
        "database role deleted, in full",
        400,
        'failed to renew entry: resp: (nil) err: error during renew: could not find role with name "canary"',
        Misconfigured,
    ),
    ("database role deleted", 400, 'error during renew: could not find role with name "canary"', Misconfigured),
    ("unknown lease", 400, "lease not found", GONE),
    ("revocation queued", 400, "lease expired", GONE),
    ("irrevocable", 400, "lease is expired and has failed previous revocation attempts", GONE),
    ("not renewable", 400, "lease is not renewable", FIXED),
    ("bad increment", 400, "Field validation failed: error converting input canary for field", Misconfigured),
    ("looked up unknown lease", 400, "invalid lease", GONE),
    ("revoke, database down", 400, f"failed to revoke entry: {DB}", Unavailable),
    # KV
    ("missing", 404, "", Missing),
    ("no mount, as root", 404, 'no handler for route "canary/x". route entry not found.', Misconfigured),
    ("version is no number", 400, "Field validation failed: error converting input x for field", Misconfigured),
    ("too long", 500, "JSON string value exceeds allowed length", Unavailable),
    ("method", 405, "unsupported operation", Misconfigured),
    # other engines and methods
    ("PKI name", 400, "common name evil.canary not allowed by this role", Misconfigured),
    ("wrapping", 400, "wrapping token is not valid or does not exist", Misconfigured),
    ("approle", 400, "invalid role or secret ID", Denied),
    ("userpass", 400, "invalid username or password", Denied),
    ("jwt subject", 400, "error validating token: invalid subject (sub) claim", Denied),
    (
        "jwt audience",
        400,
        "error validating token: invalid audience (aud) claim: audience claim does not match",
        Denied,
    ),
    ("jwt expired", 400, "error validating token: invalid expiration time (exp) claim: token is expired", Denied),
    ("jwt signature", 400, "error validating token: failed to verify id token signature", Denied),
    ("jwt role", 400, 'role "canary" could not be found', Misconfigured),
    # limits, seal, standby
    ("rate limit", 429, 'request path "secret/data/canary": rate limit quota exceeded', Unavailable),
    ("sealed", 503, "Vault is sealed", Unavailable),
    ("not initialised", 501, "", Unavailable),
    ("standby", 500, "local node not active but active cluster node not found", Unavailable),
    ("disaster recovery", 472, "", Unavailable),
    ("performance standby", 473, "", Unavailable),
    ("lags behind", 412, "required index state not present", Unavailable),
    ("enterprise only", 404, "enterprise-only feature", Missing),
    ("internal", 500, "internal error", Unavailable),
]


@pytest.mark.parametrize(("status", "text", "wanted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_every_measured_answer(status: int, text: str, wanted: type[DomainError] | LeaseOutcome) -> None:
    why = classify(status, {"errors": [text] if text else []})
    if isinstance(wanted, LeaseOutcome):
        assert VERDICTS[why] is wanted
        return
    assert why not in VERDICTS
    error = explain(Trouble(why, status=status), Deed("https://vault:8200", "secret/data/app"))
    assert type(error) is wanted
    assert "https://vault:8200" in str(error)
    assert error.remedy
    assert_clean(error, secrets=("canary", "dial tcp", "SQLSTATE"))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"data": {"data": None, "metadata": {"deletion_time": "t", "destroyed": False}}}, Why.DELETED),
        ({"data": {"data": None, "metadata": {"deletion_time": "", "destroyed": True}}}, Why.DESTROYED),
        ({"errors": []}, Why.ABSENT),
        (
            {"data": None, "warnings": ["Invalid path for a versioned K/V secrets engine. See the API docs"]},
            Why.VERSIONED,
        ),
        ("<html>nginx</html>", Why.ABSENT),
        ([1], Why.ABSENT),
    ],
)
def test_404(body: Any, why: Why) -> None:
    assert classify(404, body) is why


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (301, "", Why.MOVED),
        (307, "", Why.MOVED),
        (502, "<html>", Why.FAILED),
        (503, "<html>no backend</html>", Why.FAILED),
        (504, "", Why.FAILED),
        (400, "Client sent an HTTP request to an HTTPS server.\n", Why.PLAIN),
        (418, "", Why.BAD),
    ],
)
def test_what_stands_before_vault(status: int, text: str, why: Why) -> None:
    assert classify(status, text) is why


@pytest.mark.parametrize("why", list(Why))
def test_each_reason_has_a_meaning(why: Why) -> None:
    meaning = MEANINGS[why]
    error = explain(Trouble(why, retry_after=7.0), Deed("https://vault:8200", "secret/data/app"))
    assert error.remedy == meaning.remedy
    assert error.retry_after == 7.0
    assert error.path == ("secret/data/app" if meaning.names_path else "")
    assert isinstance(error, Bug) is (why in VERDICTS and why is not Why.FIXED)


def test_a_login_is_named_by_method_and_role() -> None:
    deed = Deed("https://vault:8200", login="kubernetes login at auth/kubernetes, role app")
    error = explain(Trouble(Why.DENIED, status=403), deed)
    assert str(error).startswith("Vault at https://vault:8200 refuses the login (kubernetes login at auth/kubernetes")
    assert "role app" in str(explain(Trouble(Why.BAD, status=400), deed))


def test_a_trouble_shows_its_reason_only() -> None:
    assert repr(Trouble(Why.DENIED, status=403)) == "Trouble('denied')"


def test_only_certificates_concern_tls() -> None:
    for presented, reasons in ((False, {Why.UNTRUSTED, Why.TLS}), (True, {Why.UNTRUSTED, Why.TLS, Why.LOST})):
        errors = {why: explain(Trouble(why), Deed("https://v")) for why in Why}
        assert {why for why, error in errors.items() if concerns_tls(error, presented=presented)} == reasons
