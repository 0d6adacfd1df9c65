import pytest

from leasehold.domain.errors import Misconfigured, Missing, Unavailable
from leasehold.domain.reasons import Why
from leasehold.flows import fetch, look
from tests.stories.town import Town, key


async def fetched(town, why=Why.FIRST_SYNC):
    """Fetch for the ExternalSecret db, its store checked before."""
    op = await town.boot()
    from leasehold.domain.facts import Key

    await op.runner.look_at(Key("SecretStore", "shop", "vault"))
    facts = look.facts(op.house, op.house.view.external_secret(key()))
    return await fetch.fetch(op.house, facts, why)


def item(name, path="app/db", prop="password"):
    return {"secretKey": name, "remoteRef": {"key": path, "property": prop}}


async def test_entries_of_one_document_cost_one_read():
    town = Town()
    town.secret(data=[item("a"), item("b", prop="username"), item("c")], dataFrom=[{"extract": {"key": "app/db"}}])
    found = await fetched(town)
    assert {name: value.reveal() for name, value in found.values.items()} == {
        "a": b"canary-first",
        "b": b"canary-user",
        "c": b"canary-first",
        "password": b"canary-first",
        "username": b"canary-user",
    }
    assert town.reads == 1


async def test_one_missing_document_gives_nothing_at_all_under_retain():
    town = Town()
    town.secret(data=[item("a"), item("b", path="app/none")])
    with pytest.raises(Missing):
        await fetched(town)


@pytest.mark.parametrize("policy", ["Delete", "Merge"])
async def test_a_missing_document_may_vanish_where_the_policy_lets_it(policy):
    town = Town()
    town.secret(data=[item("a"), item("b", path="app/none")], target={"deletionPolicy": policy})
    found = await fetched(town)
    assert set(found.values) == {"a"}
    assert found.absent == {"data[1]"}


async def test_the_gate_of_a_broken_store_is_closed():
    town = Town()
    town.status = (503, {})
    town.secret()
    with pytest.raises(Unavailable, match=r'SecretStore "vault" is not ready'):
        await fetched(town)


async def test_a_missing_property_is_no_missing_secret():
    town = Town()
    town.secret(data=[item("a", prop="none")], target={"deletionPolicy": "Delete"})
    with pytest.raises(Misconfigured):
        await fetched(town)


async def test_a_generator_mints_once_for_all_its_keys():
    town = Town()
    town.leased()
    found = await fetched(town)
    assert set(found.values) == {"username", "password"}
    assert found.leased == {"dataFrom[0]"}
    assert town.mints == 1


@pytest.mark.parametrize("why", sorted(fetch.FRESH))
async def test_who_asks_for_what_is_so_now_gets_no_older_answer(why):
    town = Town()
    town.secret()
    await town.start()
    before = town.reads
    facts = look.facts(town.op.house, town.op.house.view.external_secret(key()))
    await fetch.fetch(town.op.house, facts, Why.REFRESH_DUE)
    assert town.reads == before
    await fetch.fetch(town.op.house, facts, why)
    assert town.reads == before + 1
