"""The operator ends, is ended or is away: nothing is minted or written for that, and nothing is left behind."""

from __future__ import annotations

import base64
import os
import signal

import pytest

from testbed.postgres import Postgres
from tests.live.operator import records
from tests.live.operator.cluster import Body, eventually
from tests.live.operator.conftest import MakeOperator
from tests.live.operator.lender import Lender
from tests.live.operator.tenant import distinct
from tests.live.operator.traces import lines

KILLS = 4


def reads(lender: Lender, path: str) -> int:
    """Count Vault's answers at a path, by its audit log."""
    text = lender.vault.audit_log.read_text(encoding="utf-8")
    return sum(f'"path":"{path}"' in line and '"type":"response"' in line for line in text.splitlines())


def leases_aside(status: Body) -> Body:
    """Return a status without the times that move with each renewal."""
    return {field: value for field, value in status.items() if field not in ("leases", "expires", "renews")}


def test_a_restart_costs_nothing(lender: Lender, make_operator: MakeOperator) -> None:
    user, operator = lender.user, make_operator()
    operator.start()
    lender.lend(ttl="6s")
    user.mount.put("app", {"password": distinct()})
    user.store()
    user.want("static")
    lender.want()
    lender.values()
    user.until_ready("static")
    names = ("static", "app")
    secrets = [user.secret(name) for name in names]
    statuses = [leases_aside(user.status(name)) for name in names]
    path = f"{user.mount.path}/data/app"
    read = reads(lender, path)
    operator.stop()
    before = lender.lease(lender.only_lease())["last_renewal"]
    operator.start()
    eventually(lambda: lender.lease(lender.only_lease())["last_renewal"] != before, "renewed by the new process")
    assert [user.secret(name) for name in names] == secrets
    assert [leases_aside(user.status(name)) for name in names] == statuses
    assert reads(lender, path) == read
    assert lender.mints() == 1
    assert lines(operator, "stopped")


def test_killed_in_the_middle_of_mints(lender: Lender, postgres: Postgres, make_operator: MakeOperator) -> None:
    user, operator = lender.user, make_operator()
    operator.start()
    lender.want()
    lender.values()

    def has_settled() -> bool:
        held = records.sources(records.find(user.cluster, operator, user.spot()))
        leases = {source["current"]["lease_id"] for source in held if not source["intent"] and not source["old"]}
        return leases == {base64.b64encode(lease.encode()).decode() for lease in lender.leases()}

    for number in range(KILLS):
        if number % 2 == 0:  # else it is killed again while it still clears up
            eventually(has_settled, "left with one lease, which is recorded")
        postgres.pause()
        lender.generator(getParameters={"number": [str(number)]})
        records.until_minting(user.cluster, operator, user.spot())
        operator.kill()
        postgres.resume()
        # what is published stays true, also while nobody is there to look after it
        assert lender.admits(user.values())
        operator.start()
    eventually(has_settled, "left with one lease, which is recorded")
    last = lender.values()
    assert lender.admits(last)
    # Vault may have made a user that it gave no lease (known of it); nobody knows its password, and it ends by itself
    strays = lender.users() - {last["username"]}
    assert len(strays) <= KILLS
    endless = lender.postgres.query("SELECT rolname FROM pg_roles WHERE rolvaliduntil IS NULL AND rolcanlogin")
    assert not strays & {row[0] for row in endless}


def test_told_to_end_in_the_middle_of_a_mint(lender: Lender, postgres: Postgres, make_operator: MakeOperator) -> None:
    user, operator = lender.user, make_operator()
    operator.start()
    postgres.pause()
    spot = lender.want()
    records.until_minting(user.cluster, operator, spot)
    os.kill(operator.process.pid, signal.SIGTERM)
    eventually(lambda: bool(lines(operator, "stopping")), "stopping")
    postgres.resume()
    eventually(lambda: not operator.process.alive, "at its end")
    assert lines(operator, "stopped")
    # the mint came to its end, and what it gave is written down
    record = records.find(user.cluster, operator, spot)
    assert record is not None
    assert not records.intends(record)
    assert record["sources"]["dataFrom[0]"]["current"]["lease_id"]
    operator.start()
    assert lender.admits(lender.values())
    assert lender.mints() == 1
    assert len(lender.leases()) == 1


def test_an_object_that_went_while_nobody_was_there(lender: Lender, make_operator: MakeOperator) -> None:
    user, operator = lender.user, make_operator()
    operator.start()
    spot = lender.want()
    lender.values()
    operator.stop()
    user.cluster.remove(spot)
    user.until_gone(spot)
    assert len(lender.leases()) == 1
    operator.start()
    lender.until_gone()
    eventually(lambda: records.find(user.cluster, operator, spot) is None, "without a record")


def test_a_lease_that_ended_while_nobody_was_there(lender: Lender, make_operator: MakeOperator) -> None:
    operator = make_operator()
    operator.start()
    lender.lend(ttl="2s")
    lender.want()
    first = lender.values()
    operator.kill()
    eventually(lambda: not lender.leases(), "without a lease")
    operator.start()
    second = lender.until_replaced(first)
    assert lender.admits(second)
    lender.user.until_told("app", "LeaseLost", "dataFrom[0]: ")
    assert lender.mints() == 2


def test_without_an_identity_of_its_own_a_restart_costs_one_planned_replacement(
    lender: Lender, make_operator: MakeOperator
) -> None:
    operator = make_operator(identity=False)
    operator.start()
    lender.admit(token_no_default_policy=False, token_period="1m")
    lender.lend(ttl="8s")
    lender.want()
    first = lender.values()
    lender.until_renewed(lender.only_lease())
    assert lender.values() == first
    operator.restart()
    second = lender.until_replaced(first)
    assert lender.admits(second)
    (fresh,) = (lease for lease in lender.leases() if lender.lease(lease)["ttl"] > 0 and not lender.is_renewed(lease))
    lender.until_renewed(fresh)
    lender.until_users({second["username"]}, patience=60.0)
    assert lender.mints() == 2
    assert lender.values() == second


@pytest.mark.parametrize("identity", [True, False], ids=["with identity", "without"])
def test_an_interrupted_mint_holds_nothing_up(
    lender: Lender, postgres: Postgres, make_operator: MakeOperator, identity: bool
) -> None:
    user, operator = lender.user, make_operator(identity=identity)
    lender.admit(token_no_default_policy=False)
    operator.start()
    postgres.pause()
    spot = lender.want()
    records.until_minting(user.cluster, operator, spot)
    operator.kill()
    postgres.resume()
    operator.start()
    values = lender.values()
    assert lender.admits(values)
    user.cluster.remove(spot)
    if identity:
        eventually(lambda: not lender.leases(), "without a lease")
    else:
        # what the killed process had begun can be revoked by nobody: at most that one is left, to end by itself
        eventually(lambda: not lender.admits(values), "closed")
        assert len(lender.leases()) <= 1
