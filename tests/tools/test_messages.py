"""Messages are read out of the code with their remedies; names stand for what is filled in."""

import ast

import pytest

from tools import messages
from tools.messages import Message


def test_on_disk() -> None:
    for path, text in messages.pages().items():
        assert (messages.ROOT / path).read_text(encoding="utf-8") == text, "run `make generate`"


def test_what_is_written_in_the_code_is_found() -> None:
    found = set(messages._written())
    assert (
        Message("Misconfigured", "no store to read from", "set spec.secretStoreRef.name or its own sourceRef") in found
    )
    assert {one.kind for one in found} == set(messages.KINDS)


def test_answers_of_vault_are_found() -> None:
    assert Message("Unavailable", "Vault at <address> is sealed", "unseal it; it is tried again by itself") in set(
        messages._vault()
    )


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ('"plain"', "plain"),
        ('f"{kind} {self._name} is {items[0]}"', "<kind> <name> is <items>"),
        ("f\"{', '.join(names)} and {len(x)}\"", "<names> and <x>"),
        ("NAMED_ELSEWHERE", ""),
    ],
)
def test_names_stand_for_what_is_filled_in(source: str, wanted: str) -> None:
    assert messages._text(ast.parse(source, mode="eval").body) == wanted
