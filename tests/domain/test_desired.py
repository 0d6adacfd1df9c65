import hashlib

import pytest

from leasehold.domain import desired
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import external_secret, values

PREFIX = "externalsecrets.external-secrets.io/"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "map[]"),
        (values(a="b"), "map[a:[98]]"),
        (values(a=""), "map[a:[]]"),
        (values(b="12", a="0"), "map[a:[48] b:[49 50]]"),
        ({"k": SecretBytes(b"\x00\xff")}, "map[k:[0 255]]"),
        (values(**{"B": "x", "a": "x", "A.b": "x"}), "map[A.b:[120] B:[120] a:[120]]"),  # Go sorts by bytes
    ],
)
def test_the_data_hash_is_that_of_gos_text(data, text):
    assert desired.data_hash(data) == hashlib.sha3_224(text.encode()).hexdigest()


def test_the_data_hash_of_esos_own_vector():
    data = values(foo="value1", bar="value2")
    assert desired.data_hash(data) == "1bed8bcbcb4547ffe19a19cd47d9078e84aa6598266d86b99f992d64"


def test_created_by_is_the_digest_of_namespace_and_name():
    assert desired.created_by("shop", "db") == hashlib.sha3_224(b"shop/db").hexdigest()


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "{annotations:map[] labels:map[]}"),
        ({"labels": {"b": "2", "a": "1"}}, "{annotations:map[] labels:map[a:1 b:2]}"),
        ({"annotations": {"x": "y z"}}, "{annotations:map[x:y z] labels:map[]}"),
    ],
)
def test_the_synced_version_is_generation_and_digest_of_metadata(metadata, text):
    secret = external_secret(metadata={"generation": 3, **metadata})
    assert desired.synced_version(secret) == f"3-{hashlib.sha3_224(text.encode()).hexdigest()}"


def test_the_synced_version_moves_with_every_part():
    versions = {
        desired.synced_version(external_secret(metadata=metadata))
        for metadata in ({}, {"generation": 2}, {"labels": {"a": "1"}}, {"annotations": {"a": "1"}})
    }
    assert len(versions) == 4


@pytest.mark.parametrize("length", [1, 27])
def test_a_short_name_stands_in_the_field_manager(length):
    assert desired.field_manager("n" * length) == PREFIX + "n" * length


@pytest.mark.parametrize("length", [28, 63, 253])
def test_a_long_name_is_digested(length):
    name = "n" * length
    assert desired.field_manager(name) == f"{PREFIX}sha3/{hashlib.sha3_224(name.encode()).hexdigest()}"


def test_the_target_is_named_after_the_object_unless_it_has_a_name():
    assert desired.target_name(external_secret("db")) == "db"
    assert desired.target_name(external_secret("db", target={"name": "creds"})) == "creds"


def test_the_owner_reference():
    assert desired.owner_reference(external_secret("db")) == {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "name": "db",
        "uid": "uid-db",
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize(
    ("policy", "owns", "merges"),
    [
        (None, True, False),
        ("Owner", True, False),
        ("Orphan", False, False),
        ("Merge", False, True),
        ("CreateOrMerge", False, True),
        ("None", False, False),
    ],
)
def test_what_creation_policies_mean(policy, owns, merges):
    secret = external_secret(target={"creationPolicy": policy} if policy else {})
    assert (desired.owns(secret), desired.merges(secret)) == (owns, merges)
