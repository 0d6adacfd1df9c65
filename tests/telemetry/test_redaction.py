"""Nothing that looks like a credential is said aloud, whatever road it takes."""

import dataclasses
import enum
from typing import Any

import pytest

from leasehold.domain.errors import Denied
from leasehold.domain.facts import Key
from leasehold.domain.values import SecretBytes
from leasehold.telemetry import redaction
from leasehold.telemetry.redaction import HIDDEN

CANARY = "canary-7f3a9c"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "client_token",
        "password",
        "db.password",
        "secret",
        "secret_id",
        "authorization",
        "lease_id",
        "accessor",
        "private_key",
        "values",
        "data",
        "Api-Key",
        "X-Vault-Token",
        "TOKEN",
    ],
)
def test_telling_names_are_blanked(name: str) -> None:
    assert redaction.fields({name: CANARY}) == {name: HIDDEN}


@pytest.mark.parametrize("name", ["namespace", "name", "secret_name", "token_ttl", "path", "keys", "reason"])
def test_other_names_are_shown(name: str) -> None:
    assert redaction.fields({name: "plain"}) == {name: "plain"}


def test_telling_names_are_blanked_at_any_depth() -> None:
    shown = redaction.fields({"request": [{"headers": {"authorization": CANARY, "accept": "json"}}]})
    assert shown == {"request": [{"headers": {"authorization": HIDDEN, "accept": "json"}}]}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("login gave hvs.CAESIJ2k3l4m5n6o7p8q9r0s", "login gave "),
        ("login gave s.iyNUhq8Ov4hIAx6snw5mB2nL", "login gave "),
        (f"jwt {JWT} refused", "jwt "),
        ("Authorization: Bearer abcdef0123456789", "Authorization: "),
        ("postgres://app:s3cr3t@db:5432/x", "postgres://"),
        ("key -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- end", "key "),
        ("key -----BEGIN EC PRIVATE KEY-----\nMIIE cut off", "key "),
    ],
)
def test_credentials_in_texts_are_blanked(text: str, left: str) -> None:
    shown = redaction.text(text)
    assert shown.startswith(left + HIDDEN)
    for part in ("CAESI", "iyNUhq", "c2lnb", "abcdef", "s3cr3t", "MIIE"):
        assert part not in shown


def test_harmless_texts_are_left_alone() -> None:
    text = "secret/data/app of https://vault.example:8200 answered 403 for basic auth"
    assert redaction.text(text) == text


def test_long_texts_are_cut() -> None:
    assert len(redaction.text("x" * 5000)) == redaction.LONGEST + 1


class _Colour(enum.IntEnum):
    RED = 3


@dataclasses.dataclass
class _Foreign:
    note: str

    def __str__(self) -> str:
        return self.note


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (SecretBytes(CANARY), "[secret]"),
        (CANARY.encode(), "<13 bytes>"),
        (Key("SecretStore", "a", "b"), "SecretStore a/b"),
        (_Colour.RED, 3),
        (_Foreign(CANARY), "<_Foreign>"),
        ((1, True, None, "x"), [1, True, None, "x"]),
        ({"a": SecretBytes(CANARY)}, {"a": "[secret]"}),
    ],
)
def test_plain(value: object, wanted: Any) -> None:
    assert redaction.plain(value) == wanted


def _raise_foreign() -> None:
    password = CANARY
    raise ValueError(f"bad {password}")


def test_foreign_exceptions_lose_their_text() -> None:
    try:
        _raise_foreign()
    except ValueError as error:
        told = redaction.exception(error)
    assert told == {"type": "builtins.ValueError"}


def test_our_errors_keep_text_frames_and_chain() -> None:
    try:
        try:
            SecretBytes(CANARY).__reduce__()
        except TypeError as error:
            raise Denied("login refused", path="auth/kubernetes", remedy="check the role") from error
    except Denied as error:
        told = redaction.exception(error)
    assert told["type"] == "leasehold.domain.errors.Denied"
    assert told["message"] == "login refused (auth/kubernetes); check the role"
    assert told["cause"]["type"] == "builtins.TypeError"
    assert [frame.split(" ")[1] for frame in told["cause"]["frames"]] == ["_refuse"]
    assert "message" not in told["cause"]


def test_groups_are_opened() -> None:
    told = redaction.exception(ExceptionGroup(CANARY, [ValueError(CANARY), Denied("no")]))
    assert [part["type"] for part in told["exceptions"]] == ["builtins.ValueError", "leasehold.domain.errors.Denied"]
    assert CANARY not in str(told)


def test_chains_end() -> None:
    error: BaseException = ValueError()
    for _ in range(50):
        outer = ValueError()
        outer.__cause__ = error
        error = outer
    assert str(redaction.exception(error)).count("ValueError") == 4
