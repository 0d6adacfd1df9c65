from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.domain.errors import Misconfigured
from leasehold.providers.vault.documents import KvDocument, Number, extract, go_bytes, go_float, go_json, parse_object
from tests.contracts.canary import assert_clean


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": {"d": None, "c": True}}, '{"a":{"c":true,"d":null},"b":1}'),
        ("<a href='x'>&</a>", "\"\\u003ca href='x'\\u003e\\u0026\\u003c/a\\u003e\""),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ('"\\\b\f\n\r\t', '"\\"\\\\\\b\\f\\n\\r\\t"'),
        ("\x00\x1f\x7f", '"\\u0000\\u001f\x7f"'),
        ("Grüße 😀", '"Grüße 😀"'),
        ("half \ud800 pair", '"half \ufffd pair"'),
        ([1, "2", [], {}], '[1,"2",[],{}]'),
        (Number("1.50"), "1.50"),
        (Number("12345678901234567890123"), "12345678901234567890123"),
        ({"é": 1, "z": 2, "Z": 3}, '{"Z":3,"z":2,"é":1}'),
        (False, "false"),
    ],
)
def test_go_json(value: Any, text: str) -> None:
    assert go_json(value) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_go_json_is_json_and_hides_html(value: Any) -> None:
    text = go_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("text", b"text"),
        (None, b""),
        (True, b"true"),
        (Number("1e5"), b"1e5"),
        ([1], b"[1]"),
        ("\ud800", "\ufffd".encode()),
    ],
)
def test_go_bytes(value: Any, raw: bytes) -> None:
    assert go_bytes(value).reveal() == raw


@pytest.mark.parametrize(
    ("written", "plain", "nested"),
    [
        ("12", "12", "12"),
        ("1.50", "1.5", "1.5"),
        ("5432.0", "5432", "5432"),
        ("1e5", "100000", "100000"),
        ("1E-7", "0.0000001", "1e-7"),
        ("1e21", "1000000000000000000000", "1e+21"),
        ("-0.0", "-0", "-0"),
        ("1.25e-10", "0.000000000125", "1.25e-10"),
        ("9007199254740993", "9007199254740993", "9007199254740993"),
        ("0.12345678901234567890", "0.12345678901234567890", "0.12345678901234567890"),
        ("1e400", "1e400", "1e400"),
    ],
)
def test_numbers_look_as_after_a_float_unless_that_would_change_them(written: str, plain: str, nested: str) -> None:
    assert go_float(Number(written), plain=True) == plain
    assert go_float(Number(written), plain=False) == nested


def test_extract_loosens_numbers_and_value_keeps_them() -> None:
    members = parse_object(b'{"a":1.50,"b":{"c":1.50,"d":[2.0]},"e":"1.50"}', path="p")
    assert {key: value.reveal() for key, value in extract(members).items()} == {
        "a": b"1.5",
        "b": b'{"c":1.5,"d":[2]}',
        "e": b"1.50",
    }
    assert KvDocument(members, path="p").value("a").reveal() == b"1.50"


@pytest.mark.parametrize("text", [b"canary", b"[1]", b"1", b'"canary"', b"[" * 100_000, b"\xff"])
def test_no_object(text: bytes) -> None:
    with pytest.raises(Misconfigured, match="no JSON object") as caught:
        parse_object(text, path="secret/data/app")
    assert_clean(caught.value)


def test_null_is_an_empty_object() -> None:
    assert parse_object(b"null", path="p") == {}


def test_a_document_shows_nothing() -> None:
    assert_clean(KvDocument({"a": "canary"}, path="p"))


def test_a_key_that_looks_like_a_path_is_a_key() -> None:
    found = KvDocument({"a.b": "1", "#": "2"}, path="p")
    assert found.value("a.b").reveal() == b"1"
    assert found.value("#").reveal() == b"2"
