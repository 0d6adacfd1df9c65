"""Keys and values as a Secret can have them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.api.sources import ConversionStrategy, DecodingStrategy
from leasehold.domain import keys
from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import values

AUTO, BASE64, BASE64_URL = DecodingStrategy.AUTO, DecodingStrategy.BASE64, DecodingStrategy.BASE64_URL
NONE = DecodingStrategy.NONE
DEFAULT, UNICODE = ConversionStrategy.DEFAULT, ConversionStrategy.UNICODE
CANARY = "c4n4ry"


@pytest.mark.parametrize(
    ("key", "default", "unicode"),
    [
        ("plain-key.v1_x", "plain-key.v1_x", "plain-key.v1_x"),
        ("a/b", "a_b", "a_U002f_b"),
        ("a b", "a_b", "a_U0020_b"),
        ("ä", "_", "_U00e4_"),  # ESO lets letters pass, and the API server refuses the Secret for ever
        ("😀", "_", "_U1f600_"),
        ("a//b", "a__b", "a_U002f__U002f_b"),
    ],
)
def test_key_conversion(key, default, unicode):
    for strategy, converted in ((DEFAULT, default), (UNICODE, unicode)):
        assert list(keys.convert_keys(values(**{key: "v"}), strategy, where="x")) == [converted]


def test_an_empty_key_is_dropped():
    assert keys.convert_keys({"": SecretBytes("v"), **values(a="1")}, DEFAULT, where="x") == values(a="1")


def test_keys_that_become_one_are_an_error():
    both = values(**{"a/b": "1", "a b": "2"})
    with pytest.raises(Misconfigured, match="two remote keys become a_b"):
        keys.convert_keys(both, DEFAULT, where="x")
    assert len(keys.convert_keys(both, UNICODE, where="x")) == 2


@given(st.dictionaries(st.text(max_size=6), st.just(SecretBytes("v")), max_size=5))
def test_converted_keys_are_valid_and_none_is_lost(members):
    converted = keys.convert_keys(members, UNICODE, where="x")
    for key in converted:
        keys.check_key(key, where="x")
    assert len(converted) == len([key for key in members if key])


@pytest.mark.parametrize("key", ["a" * 254, "a/b", "ä", "", "a\n"])
def test_a_key_that_no_secret_can_have(key):
    with pytest.raises(Misconfigured, match="no valid Secret key"):
        keys.check_key(key, where="x")


@pytest.mark.parametrize("key", ["a" * 253, "..", "-", "A.b_c-9"])
def test_a_key_that_a_secret_can_have(key):
    keys.check_key(key, where="x")


# ----------------------------------------------------------------------------------------------------------- decoding

GO = [
    # text, by Go's StdEncoding, by its URLEncoding (None: an error)
    (b"", b"", b""),
    (b"QQ==", b"A", b"A"),
    (b"QR==", b"A", b"A"),  # odd bits at the end are taken
    (b"QUJD", b"ABC", b"ABC"),
    (b"QUJD\r\n", b"ABC", b"ABC"),
    (b"Q\nQ=\n=", b"A", b"A"),
    (b"QUJD=", None, None),
    (b"QQ=", None, None),
    (b"QQ", None, None),
    (b"QQ==QQ==", None, None),
    (b"=", None, None),
    (b"Q Q=", None, None),
    (b"QQ==\t", None, None),
    (b"+/+/", b"\xfb\xff\xbf", None),
    (b"-_-_", None, b"\xfb\xff\xbf"),
    (b"+/-_", None, None),
    (b"plain text", None, None),
    (b"\xff\xfe", None, None),
]


def decoded(raw, strategy):
    try:
        return keys.decode(SecretBytes(raw), strategy, where="spec.data[0]", key="k").reveal()
    except Misconfigured:
        return None


@pytest.mark.parametrize(("raw", "standard", "url"), GO)
def test_decoding_is_gos(raw, standard, url):
    assert decoded(raw, BASE64) == standard
    assert decoded(raw, BASE64_URL) == url
    assert decoded(raw, NONE) == raw


@pytest.mark.parametrize(("raw", "standard", "url"), GO)
def test_auto_tries_the_two_alphabets_and_keeps_the_rest(raw, standard, url):
    assert decoded(raw, AUTO) == next(found for found in (standard, url, raw) if found is not None)


def test_a_value_that_does_not_decode_is_not_shown():
    with pytest.raises(Misconfigured, match="the value of key k is no Base64") as refusal:
        keys.decode(SecretBytes(CANARY), BASE64, where="spec.data[0]", key="k")
    assert CANARY not in str(refusal.value)


@given(st.binary())
def test_what_was_encoded_is_decoded(raw):
    assert decoded(base64.b64encode(raw), BASE64) == raw
    assert decoded(base64.urlsafe_b64encode(raw), BASE64_URL) == raw
