"""Bad days: backends and API servers that fail. The last good Secret stays, nobody storms, nobody has to help."""

from collections import Counter
from collections.abc import Callable

import pytest

from leasehold.providers.vault.errors import Why
from tests.stories.town import HOUR, SHOP, Town

FETCH = "could not get secret data from provider: "
GOOD = {"password": "canary-first"}
SECOND = {"password": "canary-second"}
Act = Callable[[Town], object]


def answering(status: int, **headers: str) -> Act:
    return lambda town: setattr(
        town, "status", (status, {name.replace("_", "-"): text for name, text in headers.items()})
    )


def setting(name: str, value: object) -> Act:
    return lambda town: setattr(town.vault, name, value)


def healthy(town: Town) -> None:
    town.status, town.hanging = None, False
    town.vault.fault, town.vault.sealed, town.vault.throttled, town.vault.throttle_header = None, False, False, ""


OUTAGES: dict[str, tuple[Act, tuple[str, ...], int]] = {
    # name: how it begins, what the condition names, most requests in ten minutes
    "sealed": (setting("sealed", True), ("is sealed", "unseal it"), 60),
    "refusing connections": (setting("fault", Why.REFUSED), ("refuses connections", "vault.test:8200"), 60),
    "unresolved": (setting("fault", Why.UNRESOLVED), ("does not resolve", "provider.vault.server"), 60),
    "closing connections": (setting("fault", Why.LOST), ("closed the connection",), 200),
    "hanging": (lambda town: setattr(town, "hanging", True), ("does not answer in time",), 60),
    "throttling": (setting("throttled", True), ("limits the rate", "quota"), 200),
    "throttling with a time": (answering(429, Retry_After="30"), ("limits the rate", "quota"), 40),
    "failing": (answering(500), ("see its log",), 200),
    "behind a dead proxy": (answering(502), ("fails", "see its log"), 60),
    "without an active node": (answering(473), ("no active node",), 200),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_a_backend_that_fails_for_ten_minutes_and_comes_back(town: Town, name: str) -> None:
    begins, named, most = OUTAGES[name]
    for number in range(20):
        town.secret(f"db-{number}", refreshInterval="60s")
    op = await town.start()
    town.vault.put("app/db", SECOND)
    begins(town)
    before = town.attempts
    await op.after(600.0)
    assert town.attempts - before <= most
    status, reason, message = town.ready("db-3")
    assert (status, reason, message.startswith(FETCH)) == ("False", "SecretSyncedError", True)
    told = [text for _, text in town.cluster.told()] + [message, town.ready("vault", "SecretStore")[2]]
    assert [word for word in named if not any(word in text for text in told)] == [], told
    assert (town.data("db-3"), town.writes()) == (GOOD, 20)
    assert max(Counter(_statuses(town)).values()) <= 3  # the first sync, the failure, at most one better word
    healthy(town)
    await op.after(500.0)
    assert all(town.ready(f"db-{number}") == ("True", "SecretSynced", "secret synced") for number in range(20))
    assert all(town.data(f"db-{number}") == SECOND for number in range(20))
    assert town.writes() == 40


def _statuses(town: Town) -> list[str]:
    return [call.name for call in town.cluster.calls if call.label == "externalsecrets/status"]


async def test_a_minute_without_backend_costs_a_thousand_objects_a_few_probes(town: Town) -> None:
    for number in range(1000):
        town.secret(f"db-{number}", refreshInterval="10m")
    op = await town.start()
    await op.after(600.0 - 10.0)
    before, town.vault.fault = town.attempts, Why.REFUSED
    await op.after(60.0)
    assert town.attempts - before <= 30
    town.vault.fault = None
    await op.after(420.0)
    assert all(town.ready(f"db-{number}")[0] == "True" for number in range(1000))
    flips = Counter(_statuses(town))
    assert max(flips.values()) <= 4  # first sync, false, true, and the time that moves at most every five minutes
    assert town.writes() == 1000


async def test_a_blip_between_refreshes_is_not_noticed(town: Town) -> None:
    for number in range(100):
        town.secret(f"db-{number}", refreshInterval="10m")
    op = await town.start()
    before = town.writes("externalsecrets/status")
    town.vault.fault = Why.REFUSED
    await op.after(60.0)
    town.vault.fault = None
    await op.after(300.0)
    assert town.writes("externalsecrets/status") == before


async def test_a_retry_after_is_waited_for(town: Town) -> None:
    town.secret(refreshInterval="60s")
    op = await town.start()
    town.status = (429, {"Retry-After": "45"})
    await op.after(61.0)
    town.status, before = None, town.attempts
    await op.after(43.0)
    assert town.attempts == before
    await op.after(10.0)
    assert town.ready()[0] == "True"


async def test_a_hanging_backend_is_waited_for_once_not_once_per_object(town: Town) -> None:
    for number in range(200):
        town.secret(f"db-{number}")
    await town.boot()
    town.hanging, before = True, town.clock.monotonic()
    await town.op.quiet()
    assert town.clock.monotonic() - before <= 65.0
    town.hanging = False
    await town.op.after(300.0)
    assert all(town.data(f"db-{number}") == GOOD for number in range(200))


async def test_the_database_is_down_while_a_credential_is_to_be_minted(town: Town) -> None:
    town.leased()
    town.vault.database_down = True
    op = await town.start()
    await op.after(600.0)
    status, reason, message = town.ready()
    assert (status, reason, message.startswith(FETCH)) == ("False", "SecretSyncedError", True)
    assert "database/creds/app" in message
    assert "see its log" in message
    assert (town.data(), town.leases) == (None, [])
    assert town.mints <= 20
    town.vault.database_down = False
    await op.after(500.0)
    assert (town.ready()[0], len(town.leases), town.works()) == ("True", 1, True)
    assert len([token for token in town.vault.book.tokens.values() if token.period]) == 1  # no owner is left over


async def test_the_database_is_down_while_a_lease_is_to_be_renewed(town: Town) -> None:
    town.leased()
    op = await town.start()
    before = town.data()
    await op.after(1800.0)
    town.vault.database_down = True
    await op.after(1200.0)
    assert (town.ready()[0], town.data(), town.works()) == ("True", before, True)
    assert town.reasons().count("LeaseRenewalFailed") == 1
    town.vault.database_down = False
    await op.after(2 * HOUR)
    assert (town.mints, town.data(), town.works()) == (1, before, True)


async def test_an_outage_longer_than_the_lease_ends_in_one_new_credential(town: Town) -> None:
    town.leased()
    op = await town.start()
    before = town.data()
    town.vault.fault = Why.REFUSED
    await op.after(2 * HOUR)
    assert town.data() == before
    assert town.ready()[0] == "False"
    town.vault.fault = None
    await op.after(600.0)
    assert (town.ready()[0], town.works(), len(town.leases), town.mints) == ("True", True, 1, 2)
    assert "LeaseLost" in town.reasons()


@pytest.mark.parametrize("leased", [False, True])
async def test_the_api_server_is_away_for_ten_seconds(town: Town, leased: bool) -> None:
    (town.leased if leased else town.secret)(**({} if leased else {"refreshInterval": "5s"}))
    op = await town.start()
    town.vault.put("app/db", SECOND)
    town.cluster.edit("ExternalSecret", SHOP, "db", lambda body: body["metadata"].update(annotations={"a": "b"}))
    down = town.cluster.fail(None)
    await op.after(10.0)
    down.lift()
    await op.after(30.0)
    assert town.ready()[0] == "True"
    assert len(town.leases) == int(leased)
    assert town.works() if leased else town.data() == SECOND


async def test_the_api_server_is_away_during_a_first_mint(town: Town) -> None:
    town.leased()
    op = await town.boot()
    down = town.cluster.fail(None)
    await op.after(10.0)
    assert len(town.leases) <= 1
    down.lift()
    await op.after(120.0)
    assert (town.ready()[0], town.works(), len(town.leases)) == ("True", True, 1)


@pytest.mark.parametrize("verb", ["create", "update", "patch", "get"])
async def test_a_lost_answer_of_the_api_server_is_no_second_lease(town: Town, verb: str) -> None:
    town.leased()
    op = await town.boot()
    for resource in ("secrets", "externalsecrets/status"):
        town.cluster.lose_answer(verb, resource)
    await op.after(600.0)
    assert (town.ready()[0], town.works(), len(town.leases)) == ("True", True, 1)


async def test_events_that_are_lost_are_made_up_for_by_the_next_list(town: Town) -> None:
    town.secret()
    town.secret("gone")
    op = await town.start()
    town.secret(data=[{"secretKey": "user", "remoteRef": {"key": "app/db", "property": "username"}}])
    town.secret("late")
    town.cluster.remove("ExternalSecret", SHOP, "gone")
    op.lose()
    await op.after(30.0)
    assert (town.data(), town.data("late")) == (GOOD, None)
    await op.relist()
    assert (town.data(), town.data("late")) == ({"user": "canary-user"}, GOOD)
    assert op.due("ExternalSecret", SHOP, "gone") is None


async def test_an_external_secret_whose_deletion_was_lost_loses_its_lease(town: Town) -> None:
    town.leased()
    op = await town.start()
    town.cluster.remove("ExternalSecret", SHOP, "db")
    op.lose()
    await op.relist()
    assert (town.leases, town.data()) == ([], None)


async def test_events_that_come_many_times_cost_nothing(town: Town) -> None:
    town.leased()
    op = await town.boot()
    op.hear(times=5)
    await op.quiet()
    town.cluster.calls.clear()
    for number in range(3):
        town.edit("ExternalSecret", "db", lambda body, n=number: body["status"].update(note=str(n)))  # type: ignore[misc]
        op.hear(times=4)
        await op.quiet()
    assert (town.mints, town.cluster.writes) == (1, [])
