import pytest

from leasehold.domain.facts import Key
from leasehold.flows import check
from tests.stories.town import SHOP, Town

STORE = Key("SecretStore", SHOP, "vault")


def ready(town):
    return town.ready("vault", "SecretStore")


async def test_a_store_that_works_says_so_once():
    town = Town()
    op = await town.start()
    assert ready(town) == ("True", "Valid", "store validated")
    assert town.cluster.status("SecretStore", SHOP, "vault")["capabilities"] == "ReadWrite"
    await op.after(3600.0)
    assert town.writes("secretstores/status") == 1
    assert town.reasons("vault") == ["Valid"]


async def test_a_store_is_checked_again_after_its_interval():
    town = Town()
    await town.boot()
    due = await check.check(town.op.house, STORE)
    assert due == town.clock.now() + 300.0
    town.edit("SecretStore", "vault", lambda body: body["spec"].update(refreshInterval="1m"))
    town.op.hear()
    assert await check.check(town.op.house, STORE) == town.clock.now() + 60.0


async def test_a_store_that_was_valid_waits_for_its_turn_after_a_restart():
    town = Town()
    await town.start()
    before = town.attempts
    await town.boot()
    due = await check.check(town.op.house, STORE)
    assert town.clock.now() < due <= town.clock.now() + 300.0
    assert town.attempts == before


@pytest.mark.parametrize("code", [503, 500, 429])
async def test_a_store_whose_backend_fails_says_what_helps_and_recovers(code):
    town = Town()
    town.status = (code, {})
    op = await town.start()
    status, reason, message = ready(town)
    assert (status, reason) == ("False", "InvalidProviderConfig")
    assert message.startswith("unable to validate store: ")
    assert "http://vault.test:8200" in message
    assert "; " in message  # the remedy
    town.status = None
    await op.after(60.0)
    assert ready(town)[0] == "True"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"refreshInterval": "soon"}, "spec.refreshInterval"),
        ({"provider": {"akeyless": {}}}, "akeyless"),
    ],
)
async def test_a_store_that_cannot_work_names_the_field(spec, message):
    town = Town()
    town.edit("SecretStore", "vault", lambda body: body["spec"].update(spec))
    await town.start()
    status, reason, text = ready(town)
    assert (status, reason) == ("False", "InvalidProviderConfig")
    assert message in text


@pytest.mark.parametrize(
    ("spec", "rules"),
    [
        ({"controller": "another"}, {}),
        ({}, {"namespaced_stores": False}),
    ],
)
async def test_a_store_that_is_not_ours_is_left_alone(spec, rules):
    town = Town()
    town.edit("SecretStore", "vault", lambda body: body["spec"].update(spec))
    await town.start(**rules)
    assert ready(town) == ("", "", "")
    assert town.attempts == 0


async def test_checks_are_counted_with_their_outcome():
    town = Town()
    op = await town.start()
    assert (STORE, "ok") in op.signals.passes
    town.status = (503, {})
    await op.after(301.0)
    assert op.signals.passes[-1] == (STORE, "Unavailable")
