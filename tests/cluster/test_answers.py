"""Errors by consequence, and never a foreign word. What real answers give is in `test_api` and in the contracts."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold.cluster.answers import TurnedAway, Unknown, retry_after, status, translate
from leasehold.cluster.api import ACCOUNTS, SECRETS, Request
from leasehold.domain.errors import Denied, DomainError, Pace
from tests.contracts.canary import assert_clean

CREATE = Request("create", SECRETS, "shop", body={"data": {"password": "canary"}})


def test_every_code_has_a_consequence_and_no_foreign_text() -> None:
    for code in range(300, 600):
        told = {"reason": "R", "message": "canary", "details": {"causes": [{"field": "f", "message": "canary"}]}}
        error = translate(CREATE, code, told, None)
        assert isinstance(error, DomainError)
        assert_clean(error)


def test_what_is_made_is_named() -> None:
    request = Request("create", SECRETS, "shop", body={"metadata": {"name": "db"}})
    assert request.where == "secrets shop/db"
    assert "secrets shop/db" in str(translate(request, 409, {"reason": "AlreadyExists"}, None))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", "may not create serviceaccounts/token"),
        ('User "x" cannot create resource "serviceaccounts/token"', "may not create serviceaccounts/token"),
        ("exceeded quota: canary", "ResourceQuota"),
        ("admission webhook canary denied the request", "admission rule"),
    ],
)
def test_what_is_forbidden_is_told_apart(message: str, told: str) -> None:
    request = Request("create", ACCOUNTS, "shop", "app", subresource="token")
    error = translate(request, 403, {"message": message}, None)
    assert isinstance(error, Denied)
    assert not isinstance(error, Unknown)
    assert told in str(error)
    assert error.remedy
    assert error.retry_pace is Pace.SLOW
    assert_clean(error)


def test_only_what_names_a_time_may_be_sent_again() -> None:
    def kind(code: int, wait: float | None) -> type[DomainError]:
        return type(translate(CREATE, code, {}, wait))

    assert kind(429, None) is kind(429, 1.0) is kind(503, 1.0) is kind(500, 0.0) is TurnedAway
    assert not issubclass(kind(503, None), TurnedAway)
    assert not issubclass(kind(409, 1.0), TurnedAway)


@pytest.mark.parametrize("raw", [b"", b"canary", b"[]", b'"x"', b'{"kind":"Secret"}', b"{}"])
def test_a_body_that_is_no_status(raw: bytes) -> None:
    assert status(raw) == {}


def test_a_body_that_is_one() -> None:
    assert status(b'{"kind":"Status","reason":"Conflict"}')["reason"] == "Conflict"


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("2", {}, 2.0),
        ("2", {"retryAfterSeconds": 9}, 2.0),
        ("", {"retryAfterSeconds": 9}, 9.0),
        ("0", {}, 0.0),
        ("", {"retryAfterSeconds": 0}, None),
        ("", {"retryAfterSeconds": "canary"}, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", {}, None),
        ("-1", {}, None),
        ("1.5", {}, None),
        ("soon", {}, None),
        ("", None, None),
    ],
)
def test_when_to_come_again(header: str, details: dict[str, Any] | None, seconds: float | None) -> None:
    assert retry_after({"Retry-After": header} if header else {}, {"details": details}) == seconds
