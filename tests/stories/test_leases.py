"""Leases through their days: kept without a write, replaced in time, ended when nobody needs them."""

from typing import Any

import pytest

from leasehold.providers.vault.errors import Why
from tests.stories.town import HOUR, SHOP, Town
from tests.worlds.vault import DatabaseRole
from tests.worlds.vault_tokens import Role

DAY = 24 * HOUR


def owners(town: Town) -> int:
    """How many tokens live from which leases hang, or could."""
    town.vault.book.reap()
    return sum(token.period > 0 for token in town.vault.book.tokens.values())


async def test_a_first_credential_is_one_login_one_mint_one_write_and_it_works(town: Town) -> None:
    town.leased()
    await town.start()
    assert town.ready() == ("True", "SecretSynced", "secret synced")
    assert (town.mints, town.writes(), len(town.leases), owners(town), town.works()) == (1, 1, 1, 1, True)
    (entry,) = town.shown()["leases"]
    assert (entry["source"], entry["state"]) == ("dataFrom[0]", "Active")
    assert town.shown()["expires"] == entry["expiresAt"]
    assert town.shown()["renews"] == entry["renewsAt"]
    assert town.reasons() == ["LeaseMinted", "Created"]


async def test_a_day_of_one_hour_leases_writes_no_secret_and_restarts_nobody_until_its_last_step(town: Town) -> None:
    town.deployment()
    town.leased(rollout={})
    op = await town.start()
    born, first = town.clock.now(), town.data()
    await op.until(born + DAY - 16 * 60.0)
    assert (town.data(), town.writes(), town.mints, town.works()) == (first, 1, 1, True)
    assert town.writes("deployments") == 0
    assert 30 <= op.signals.renewals.count("ok") <= 60
    assert set(op.signals.renewals) <= {"ok", "capped"}
    await op.until(born + DAY - 13 * 60.0)
    assert (town.writes(), town.mints, town.works(), len(town.leases)) == (2, 2, True, 2)
    assert town.writes("deployments") == 1
    assert "LeaseRotated" in town.reasons()


async def test_a_day_of_five_minute_leases_never_shows_a_dead_credential(town: Town) -> None:
    town.vault.database["app"] = DatabaseRole(default_ttl=300.0, max_ttl=HOUR)
    town.leased(lease={"rotateBefore": "5m", "gracePeriod": "1m"})
    op = await town.start()
    for _ in range(int(8 * HOUR / 60)):
        await op.after(60.0)
        assert (town.works(), len(town.leases) <= 2) == (True, True)
    assert town.mints == town.writes()
    assert 8 <= town.mints <= 10
    assert owners(town) <= 2


@pytest.mark.parametrize("restarts", [1, 20])
async def test_restarts_mint_nothing_and_forget_nothing(town: Town, restarts: int) -> None:
    town.leased()
    await town.start()
    first = town.data()
    for _ in range(restarts):
        op = await town.start()
        await op.after(6 * HOUR / restarts)
        assert (town.data(), town.mints, town.works(), len(town.leases)) == (first, 1, True, 1)
    assert town.writes() == 1


async def test_a_long_stop_ends_in_one_lookup_and_one_new_credential(town: Town) -> None:
    town.leased()
    await town.start()
    town.clock.advance(3 * HOUR)
    assert not town.works()
    op = await town.start()
    await op.after(60.0)
    assert (town.mints, town.works(), len(town.leases), owners(town)) == (2, True, 1, 1)
    assert "LeaseLost" in town.reasons()


async def test_a_lease_revoked_behind_our_back_is_replaced_at_its_next_renewal(town: Town) -> None:
    town.leased()
    op = await town.start()
    for lease in list(town.vault.book.leases.values()):
        town.vault.book.end(lease)
    await op.after(HOUR)
    assert (town.mints, town.works(), len(town.leases), owners(town)) == (2, True, 1, 1)


async def test_a_database_user_dropped_by_hand_is_replaced(town: Town) -> None:
    town.leased()
    op = await town.start()
    town.vault.drop_user((town.data() or {})["username"])
    await op.after(HOUR)
    assert (town.mints, town.works(), owners(town)) == (2, True, 1)


@pytest.mark.parametrize(("on_delete", "left"), [("Revoke", 0), ("Expire", 1), ("Keep", 1)])
async def test_the_end_of_an_external_secret(town: Town, on_delete: str, left: int) -> None:
    town.leased(lease={"onDelete": on_delete})
    op = await town.start()
    town.cluster.remove("ExternalSecret", SHOP, "db")
    await op.after(60.0)
    assert (len(town.leases), owners(town), town.data()) == (left, left, None)
    assert op.records.all() == ()
    assert [body for body in town.cluster.every("Secret") if body.get("type") == "leasehold.dev/lease"] == []


@pytest.mark.parametrize("stopped", [False, True])
async def test_an_end_while_vault_is_away_is_made_up_for(town: Town, stopped: bool) -> None:
    town.leased()
    op = await town.start()
    town.vault.fault = Why.REFUSED
    town.cluster.remove("ExternalSecret", SHOP, "db")
    op = await town.start() if stopped else op
    await op.after(120.0)
    assert (town.data(), len(town.leases)) == (None, 1)
    town.vault.fault = None
    await op.after(120.0)
    assert (town.leases, owners(town), op.records.all()) == ([], 0, ())


async def test_an_end_that_cannot_be_revoked_is_said_loudly_and_given_up(town: Town) -> None:
    town.leased()
    op = await town.start()
    town.vault.fault = Why.REFUSED
    town.cluster.remove("ExternalSecret", SHOP, "db")
    await op.after(900.0)
    assert town.reasons()[-1] == "LeaseOrphaned"
    assert op.records.all() == ()
    assert op.due("ExternalSecret", SHOP, "db") is None


async def test_a_source_that_is_dropped_ends_its_lease_after_the_grace(town: Town) -> None:
    town.leased(lease={"gracePeriod": "2m"})
    op = await town.start()
    town.secret(lease={"gracePeriod": "2m"})
    await op.after(60.0)
    assert (town.data(), len(town.leases)) == ({"password": "canary-first"}, 1)
    await op.after(120.0)
    assert (town.leases, owners(town)) == ([], 0)


async def test_an_edit_that_does_not_touch_the_source_mints_nothing(town: Town) -> None:
    town.leased()
    op = await town.start()
    first = town.data()
    town.annotate(**{"external-secrets.io/force-sync": "1"})
    await op.quiet()
    town.leased(refreshInterval="2h", target={"template": {"metadata": {"labels": {"a": "b"}}}})
    await op.after(3 * HOUR)
    assert (town.mints, town.data(), town.works()) == (1, first, True)


async def test_another_path_mints_and_retires_what_it_replaces(town: Town) -> None:
    town.vault.database["other"] = DatabaseRole(HOUR, DAY)
    town.leased(lease={"gracePeriod": "2m"})
    op = await town.start()
    first = town.data() or {}
    town.generator(path="database/creds/other")
    await op.after(60.0)
    assert (town.mints, town.works(), town.lets_in(first["username"])) == (2, True, True)
    await op.after(180.0)
    assert (town.works(), town.lets_in(first["username"]), owners(town)) == (True, False, 1)


async def test_a_workload_logs_in_as_itself(town: Town) -> None:
    town.vault.kubernetes["tenant"] = Role(paths=("database/*",), accounts=("web",), audience="vault", period=DAY)
    town.leased(identity={"serviceAccountRef": {"name": "web"}})
    op = await town.start()
    assert "shop/web" in town.ready()[2]
    assert (town.data(), town.mints) == (None, 0)
    town.account("web")
    await op.after(HOUR)
    assert (town.ready()[0], town.mints, town.works()) == ("True", 1, True)


def reading(town: Town) -> dict[str, Any]:
    """Return the spec of a leased answer to a plain read of a store."""
    town.vault.kubernetes["any"] = Role(paths=("database/*", "sys/internal/*"), audience="vault", period=DAY)
    town.store("leases", provider=town.provider("any", path="database", version="v1"))
    return {
        "secretStoreRef": {"name": "leases"},
        "dataFrom": [{"extract": {"key": "creds/app"}}],
        "refreshInterval": "5m",
    }


async def test_a_leased_answer_of_a_store_is_kept_like_any_lease(town: Town) -> None:
    town.secret(**reading(town))
    op = await town.start()
    await op.after(60.0)
    first = town.data()
    assert (town.ready()[0], town.works(), len(town.leases)) == ("True", True, 1)
    mints = town.mints
    await op.after(3 * HOUR)
    assert (town.data(), town.mints, town.works(), len(town.leases)) == (first, mints, True, 1)
    town.cluster.remove("ExternalSecret", SHOP, "db")
    await op.after(60.0)
    assert town.leases == []


def alone(town: Town) -> None:
    """Let owners of leases renew these themselves."""
    town.vault.kubernetes["tenant"].default_policy = True


async def test_without_an_identity_of_its_own_the_operator_keeps_leases_while_it_lives(town: Town) -> None:
    alone(town)
    town.leased()
    op = await town.start(operator=None)
    first = town.data()
    await op.after(12 * HOUR)
    assert (town.data(), town.mints, town.works()) == (first, 1, True)


async def test_without_an_identity_a_restart_replaces_each_lease_once_planned_and_spread(town: Town) -> None:
    alone(town)
    for number in range(12):
        town.leased(f"db-{number}")
    await town.start(operator=None)
    old = {number: town.data(f"db-{number}") for number in range(12)}
    op = await town.start(operator=None)
    early = [number for number in old if town.data(f"db-{number}") != old[number]]
    assert len(early) <= 1
    for _ in range(120):
        await op.after(60.0)
        assert all(town.works(f"db-{number}") for number in range(12))
    assert town.mints == 24


async def test_a_lease_that_stays_denied_is_replaced_before_it_ends(town: Town) -> None:
    town.leased()
    op = await town.start()
    town.vault.kubernetes["leasehold"] = Role(default_policy=False)
    town.vault.book.tokens = {
        value: token for value, token in town.vault.book.tokens.items() if "sys/leases/renew" not in token.paths
    }
    for _ in range(40):
        await op.after(180.0)
        assert town.works()
    assert "LeaseRenewalFailed" in town.reasons()


async def test_a_mint_is_not_made_for_a_target_that_would_refuse_it(town: Town) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": True}
    town.cluster.put_secret(SHOP, "db", theirs="canary-theirs")
    town.edit("Secret", "db", lambda body: body["metadata"].update(ownerReferences=[owner]))
    town.leased()
    op = await town.start()
    await op.after(HOUR)
    assert (town.mints, town.leases, town.ready()[0]) == (0, [], "False")


async def test_two_leases_of_one_object_and_a_value_beside_them(town: Town) -> None:
    town.vault.database["other"] = DatabaseRole(HOUR, DAY)
    town.generator("more", path="database/creds/other")
    sources = [
        {"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": name}}} for name in ("creds", "more")
    ]
    static = [{"secretKey": "static", "remoteRef": {"key": "app/db", "property": "password"}}]
    town.leased(dataFrom=sources, data=static)
    op = await town.start()
    first = town.data() or {}
    assert sorted(first) == ["password", "static", "username"]
    assert first["username"].startswith("v-canary-other")  # the later source wins
    await op.after(12 * HOUR)
    assert (town.data(), town.mints, len(town.leases), len(town.shown()["leases"])) == (first, 2, 2, 2)
