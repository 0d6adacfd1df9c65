import json

import pytest

from leasehold.api.sources import ConversionStrategy, DecodingStrategy
from leasehold.domain import sources
from leasehold.domain.errors import Misconfigured, Missing
from leasehold.domain.ports import Remote
from leasehold.domain.values import SecretBytes
from tests.worlds.objects import LEASED, external_secret, values

AUTO, BASE64, BASE64_URL = DecodingStrategy.AUTO, DecodingStrategy.BASE64, DecodingStrategy.BASE64_URL
NONE = DecodingStrategy.NONE
DEFAULT, UNICODE = ConversionStrategy.DEFAULT, ConversionStrategy.UNICODE
CANARY = "c4n4ry"


class Paper:
    """A document of flat texts."""

    def __init__(self, **texts):
        self.texts = texts

    def value(self, property_path):
        if not property_path:
            return SecretBytes(json.dumps(self.texts))
        if property_path not in self.texts:
            raise Missing("there is no such property", path=property_path)
        return SecretBytes(self.texts[property_path])

    def entries(self, property_path):
        return values(**self.texts)


def extract(key, **more):
    return {"extract": {"key": key, **more}}


def item(secret_key, key, **more):
    source = {"sourceRef": more.pop("sourceRef")} if "sourceRef" in more else {}
    return {"secretKey": secret_key, "remoteRef": {"key": key, **more}, **source}


def assembled(secret, *answers, absent=()):
    found = sources.entries(secret)
    given = dict(zip((entry.id for entry in found), answers, strict=True))
    return sources.assemble(found, given, absent=frozenset(absent))


# ------------------------------------------------------------------------------------------------------------ entries


def test_data_from_comes_first_and_data_wins():
    found = sources.entries(external_secret(data=[item("a", "x")], dataFrom=[extract("y"), extract("z")]))
    assert [entry.id for entry in found] == ["dataFrom[0]", "dataFrom[1]", "data[0]"]


def test_an_entry_says_what_is_read_and_what_is_taken_from_it():
    ref = {
        "property": "p",
        "version": "3",
        "metadataPolicy": "Fetch",
        "conversionStrategy": "Unicode",
        "decodingStrategy": "Auto",
        "nullBytePolicy": "Fail",
    }
    (entry,) = sources.entries(external_secret(data=[item("k", "path", **ref)]))
    assert entry.remote == Remote("path", "3", metadata=True)
    assert (entry.secret_key, entry.field, entry.conversion, entry.decoding) == ("k", "p", UNICODE, AUTO)
    assert entry.refuse_null_bytes
    assert entry.store == ("SecretStore", "vault")


CLUSTER = {"name": "other", "kind": "ClusterSecretStore"}


@pytest.mark.parametrize(
    ("ref", "source", "store"),
    [
        ({"name": "vault"}, None, ("SecretStore", "vault")),
        (CLUSTER, None, ("ClusterSecretStore", "other")),
        ({"name": "vault"}, {"storeRef": CLUSTER}, ("ClusterSecretStore", "other")),
        # a generator is of no meaning for data: the store of the object is used, as in ESO
        ({"name": "vault"}, {"generatorRef": {"kind": "Password", "name": "x"}}, ("SecretStore", "vault")),
    ],
)
def test_an_entry_may_have_a_store_of_its_own(ref, source, store):
    more = {"sourceRef": source} if source else {}
    secret = external_secret(secretStoreRef=ref, data=[item("k", "path", **more)])
    assert sources.entries(secret)[0].store == store


def test_stores_are_named_once_and_generators_not_at_all():
    secret = external_secret(
        data=[item("a", "x"), item("b", "y"), item("c", "z", sourceRef={"storeRef": CLUSTER})], dataFrom=LEASED
    )
    assert sources.stores(sources.entries(secret)) == (("SecretStore", "vault"), ("ClusterSecretStore", "other"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"data": [], "dataFrom": []}, "nothing to read"),
        ({"secretStoreRef": {}}, "no store to read from"),
        ({"dataFrom": [{"find": {"name": {"regexp": "x"}}}]}, "find is not supported"),
        ({"dataFrom": [{**extract("x"), "rewrite": [{"regexp": {"source": "a", "target": "b"}}]}]}, "rewrite is not"),
        ({"dataFrom": [{"sourceRef": {"generatorRef": {"kind": "Password", "name": "x"}}}]}, "kind Password is not"),
        ({"dataFrom": [{"sourceRef": {"storeRef": {"name": "vault"}}}]}, "the entry reads nothing"),
        ({"data": [item("a", "x"), item("b", "y"), item("a", "z")]}, "secretKey a comes more than once"),
    ],
)
def test_what_cannot_be_followed_names_its_field(spec, problem):
    with pytest.raises(Misconfigured, match=problem) as refusal:
        sources.entries(external_secret(**spec))
    assert refusal.value.path.startswith("spec.")
    assert refusal.value.remedy


@pytest.mark.parametrize("policy", ["Delete", "Merge"])
def test_where_keys_may_vanish_a_key_may_come_twice(policy):
    secret = external_secret(data=[item("a", "x"), item("a", "y")], target={"deletionPolicy": policy})
    assert assembled(secret, Paper(q="1"), values(q="2"))["a"] == SecretBytes('{"q":"2"}')


# ------------------------------------------------------------------------------------------------------------- leases


def test_entries_of_one_leased_path_share_one_lease():
    secret = external_secret(
        data=[item("u", "db/creds/app", property="username"), item("p", "db/creds/app", property="password")],
        dataFrom=[extract("db/creds/app"), extract("db/creds/other"), *LEASED, *LEASED],
    )
    assert sources.lease_sources(sources.entries(secret)) == {
        "dataFrom[0]": "dataFrom[0]",
        "data[0]": "dataFrom[0]",
        "data[1]": "dataFrom[0]",
        "dataFrom[1]": "dataFrom[1]",
        "dataFrom[2]": "dataFrom[2]",  # a generator runs for each of its entries
        "dataFrom[3]": "dataFrom[3]",
    }


def test_values_of_one_lease_go_where_the_entries_say():
    secret = external_secret(data=[item("u", "x", property="username"), item("all", "x")], dataFrom=[extract("x")])
    lease = values(username="v-1", password="ä")
    assert assembled(secret, lease, lease, lease) == {
        **lease,
        "u": SecretBytes("v-1"),
        "all": SecretBytes('{"password":"ä","username":"v-1"}'),
    }


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        (external_secret(data=[item("u", "x", property="nope")]), Missing),
        (external_secret(dataFrom=[extract("x", property="nope")]), Misconfigured),
    ],
)
def test_a_lease_without_the_wanted_property(secret, kind):
    with pytest.raises(kind):
        assembled(secret, values(username="v-1"))


def leased_hash(path="db/creds/app", version="", backend=("vault",), account="", key="k"):
    (entry,) = sources.entries(external_secret(data=[item(key, path, version=version)]))
    return sources.lease_hash(entry, list(backend), account)


def test_the_hash_of_a_leased_source_moves_with_what_is_asked_of_whom():
    other = [
        leased_hash(path="db/creds/other"),
        leased_hash(version="2"),
        leased_hash(backend=("bao",)),
        leased_hash(account="web"),
    ]
    assert len({leased_hash(), *other}) == 5
    assert leased_hash() == leased_hash(key="other")  # where the value goes is another matter


@pytest.mark.parametrize(
    ("path", "mount", "full"),
    [
        ("creds/app", "database", "database/creds/app"),
        ("database/creds/app", "database", "database/creds/app"),
        ("/creds/app/", "/database/", "database/creds/app"),
        ("database", "database", "database"),
        ("databases/x", "database", "database/databases/x"),
        ("database/creds/app", "", "database/creds/app"),
    ],
)
def test_the_path_of_a_leased_read(path, mount, full):
    request = sources.mint_request(Remote(path), mount)
    assert (request.path, request.method) == (full, "GET")


# ----------------------------------------------------------------------------------------------------------- assembly


def test_later_entries_win():
    secret = external_secret(dataFrom=[extract("x"), extract("y")], data=[item("c", "z", property="q")])
    answers = (Paper(a="1", b="1", c="1"), Paper(b="2", c="2"), Paper(q="3"))
    assert assembled(secret, *answers) == values(a="1", b="2", c="3")


def test_an_absent_entry_leaves_its_keys_out():
    secret = external_secret(dataFrom=[extract("x"), extract("y")])
    assert assembled(secret, Paper(a="1"), Paper(b="2"), absent=["dataFrom[0]"]) == values(b="2")


def test_a_missing_property_is_missing():
    with pytest.raises(Missing):
        assembled(external_secret(data=[item("k", "x", property="nope")]), Paper(a="1"))


def test_a_null_byte_is_refused_where_that_is_asked_for_and_not_shown():
    document = Paper(k=f"{CANARY}\x00")
    assert assembled(external_secret(dataFrom=[extract("x")]), document) == values(k=f"{CANARY}\x00")
    with pytest.raises(Misconfigured, match="key k holds a null byte") as refusal:
        assembled(external_secret(dataFrom=[extract("x", nullBytePolicy="Fail")]), document)
    assert CANARY not in str(refusal.value)


# --------------------------------------------------------------------------------------------------------------- keys
