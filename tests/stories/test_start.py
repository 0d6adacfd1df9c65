"""The beginning: what a cold start and a restart cost, and what a fleet at rest costs."""

from tests.stories.town import SHOP, Town

FLEET = 200
PATHS = 20


def fleet(town: Town, count: int = FLEET, paths: int = PATHS, **spec: object) -> None:
    """Write many ExternalSecrets over a few remote documents."""
    for path in range(paths):
        town.vault.put(f"app/{path}", {"password": f"canary-{path}"})
    for number in range(count):
        data = [{"secretKey": "password", "remoteRef": {"key": f"app/{number % paths}", "property": "password"}}]
        town.secret(f"db-{number}", data=data, **spec)


async def test_a_cold_start_costs_one_write_each_one_read_per_path_and_one_login(town: Town) -> None:
    fleet(town)
    op = await town.start()
    assert (town.writes("secrets"), town.writes("externalsecrets/status")) == (FLEET, FLEET)
    assert (town.reads, town.logins) == (PATHS, 1)
    assert all(town.ready(f"db-{number}")[:2] == ("True", "SecretSynced") for number in range(FLEET))
    assert town.data("db-21") == {"password": "canary-1"}
    looks = sum(one.kind == "ExternalSecret" for one in op.looked)
    assert looks <= 2 * FLEET + 1  # one before the store is checked, one after
    assert not [
        call for call in town.cluster.calls if call.verb == "get" and call.label == "secrets" and call.namespace == SHOP
    ]


async def test_a_restart_over_a_thousand_fresh_objects_writes_and_reads_nothing(town: Town) -> None:
    fleet(town, 1000)
    await town.start()
    town.cluster.calls.clear()
    before = town.attempts
    town.clock.advance(60.0)
    op = await town.start()
    await op.after(120.0)
    assert town.cluster.writes == []
    assert town.attempts - before == 0
    assert not [call for call in town.cluster.calls if call.verb == "get"][1:]  # the key of the fingerprints


async def test_a_fleet_at_rest_asks_nothing_of_the_api_server(town: Town) -> None:
    fleet(town, 50)
    op = await town.start()
    await op.after(20.0)  # the sweep after the first lists
    town.cluster.calls.clear()
    before = town.attempts
    await op.after(250.0)
    assert town.cluster.calls == []
    assert town.attempts == before


async def test_refreshes_that_find_nothing_new_write_no_secret_and_a_status_at_most_per_freshness(town: Town) -> None:
    fleet(town, 10, 10, refreshInterval="60s")
    op = await town.start()
    town.cluster.calls.clear()
    reads = town.reads
    await op.after(3600.0)
    assert town.writes("secrets") == 0
    assert town.reads - reads >= 10 * 55
    assert 10 * 11 <= town.writes("externalsecrets/status") <= 10 * 12


async def test_with_freshness_zero_every_refresh_moves_the_time_as_eso_does(town: Town) -> None:
    fleet(town, 1, 1, refreshInterval="60s")
    op = await town.start(status_freshness=0.0)
    town.cluster.calls.clear()
    await op.after(600.0)
    assert 9 <= town.writes("externalsecrets/status") <= 10
    assert town.writes("secrets") == 0
