import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.domain.values import SecretBytes, fingerprint, fingerprint_each, fingerprint_values
from tests.worlds.objects import values

KEY = SecretBytes("key of the fingerprints")
CANARY = "c4n4ry"


SHOWS = [repr, str, "{}".format, "{:>40}".format, "{!r}".format, "%s".__mod__, lambda value: f"{value}"]


@pytest.mark.parametrize("show", SHOWS)
def test_a_value_is_never_shown(show):
    assert CANARY not in show(SecretBytes(CANARY))


@pytest.mark.parametrize("show", [repr, str])
def test_a_map_of_values_shows_none(show):
    assert CANARY not in show({"key": SecretBytes(CANARY)})


@pytest.mark.parametrize("way_out", [copy.copy, copy.deepcopy, pickle.dumps, json.dumps, hash])
def test_a_value_is_neither_copied_nor_serialised_nor_hashed(way_out):
    with pytest.raises(TypeError) as refusal:
        way_out(SecretBytes(CANARY))
    assert CANARY not in str(refusal.value)


@given(st.binary())
def test_reveal_gives_back_what_was_put_in(raw):
    value = SecretBytes(raw)
    assert (value.reveal(), value.size, bool(value)) == (raw, len(raw), bool(raw))


def test_text_is_utf_8_and_a_bytearray_is_not_shared():
    raw = bytearray(b"abc")
    value = SecretBytes(bytes(raw))
    raw[0] = 0
    assert value == SecretBytes("abc")
    assert SecretBytes("ß").reveal() == b"\xc3\x9f"


@given(st.binary(), st.binary())
def test_values_are_equal_when_their_bytes_are(left, right):
    assert (SecretBytes(left) == SecretBytes(right)) is (left == right)


def test_a_value_is_equal_to_no_plain_bytes():
    assert SecretBytes(b"x") != b"x"


def test_a_fingerprint_depends_on_its_key():
    assert fingerprint(KEY, b"hunter2") != fingerprint(SecretBytes("other"), b"hunter2")
    assert len(fingerprint(KEY, b"hunter2")) == 16


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_parts_are_framed(left, right):
    assert (fingerprint(KEY, *left) == fingerprint(KEY, *right)) is (left == right)


def test_fingerprints_of_values_do_not_depend_on_their_order():
    assert fingerprint_values(KEY, values(a="1", b="2")) == fingerprint_values(KEY, values(b="2", a="1"))
    assert fingerprint_values(KEY, values(a="1", b="2")) != fingerprint_values(KEY, values(a="2", b="1"))


def test_only_the_named_values_count_and_absent_ones_are_left_out():
    both = values(a="1", b="2")
    assert fingerprint_values(KEY, both, ["a", "gone"]) == fingerprint_values(KEY, values(a="1"))


def test_each_key_has_a_fingerprint_of_its_own():
    before, after = fingerprint_each(KEY, values(a="1", b="1")), fingerprint_each(KEY, values(a="1", b="2"))
    assert list(before) == ["a", "b"]
    assert before["a"] != before["b"]  # equal values do not show that they are equal
    assert (before["a"] == after["a"], before["b"] == after["b"]) == (True, False)
