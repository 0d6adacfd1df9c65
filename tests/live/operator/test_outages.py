"""Bad days of Vault, PostgreSQL and the API server: the last good Secret stays, and recovery needs no hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testbed.operator import Operator
from testbed.postgres import Postgres
from testbed.vault import Vault
from tests.live.operator import records
from tests.live.operator.cluster import eventually, ready_condition
from tests.live.operator.conftest import MakeOperator
from tests.live.operator.front import Front
from tests.live.operator.lender import Lender
from tests.live.operator.tenant import Tenant, distinct
from tests.live.operator.traces import metric

FETCH = "could not get secret data from provider: "
LONG = 60.0
"""Seconds of patience where the operator may have waited for as long as half a minute between two probes."""


@pytest.fixture
def own(make_operator: MakeOperator) -> Operator:
    """An operator of the test's own, ready."""
    operator = make_operator()
    operator.start()
    return operator


@contextmanager
def sealed(vault: Vault, _: Tenant) -> Iterator[str]:
    vault.seal()
    yield "is sealed"
    vault.unseal()


@contextmanager
def stopped(vault: Vault, _: Tenant) -> Iterator[str]:
    vault.stop()
    yield "refuses connections"
    vault.start()


@contextmanager
def hanging(vault: Vault, _: Tenant) -> Iterator[str]:
    vault.pause()
    yield "does not answer in time"
    vault.resume()


@contextmanager
def throttled(vault: Vault, tenant: Tenant, *, told: bool) -> Iterator[str]:
    quota = f"sys/quotas/rate-limit/{tenant.mount.path}"
    vault.api("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": told})
    limit = {"path": f"{tenant.mount.path}/", "rate": 1, "interval": "60s", "block_interval": "2s"}
    vault.api("POST", quota, limit)
    try:
        # the one request that the rate allows is ours, so the operator's are refused
        vault.ask("GET", f"{tenant.mount.path}/data/app")
        yield "limits the rate of requests"
    finally:
        vault.api("DELETE", quota)
        vault.api("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": False})


def throttled_and_told(vault: Vault, tenant: Tenant) -> object:
    return throttled(vault, tenant, told=True)


def throttled_in_silence(vault: Vault, tenant: Tenant) -> object:
    return throttled(vault, tenant, told=False)


@pytest.mark.parametrize(
    "outage", [sealed, stopped, hanging, throttled_and_told, throttled_in_silence], ids=lambda fault: fault.__name__
)
def test_a_bad_day_of_vault(tenant: Tenant, lender: Lender, own: Operator, outage: object) -> None:
    tenant.want("static", refreshInterval="1s")
    lender.want()
    leased = lender.values()
    values = tenant.mount.get("app")
    tenant.until_values(values, "static")
    with outage(tenant.vault, tenant) as problem:  # type: ignore[operator]
        condition = tenant.until_failed("static", FETCH, problem, tenant.vault.url)
        assert condition["reason"] == "SecretSyncedError"
        assert "; " in condition["message"]  # the remedy
        assert tenant.values("static") == values
        assert tenant.values() == leased
        assert lender.admits(leased)
    fresh = {"password": distinct()}
    tenant.mount.put("app", fresh)
    tenant.until_values(fresh, "static", patience=LONG)
    tenant.until_ready("static")
    assert lender.values() == leased
    assert lender.mints() == 1
    assert own.process.alive


def test_a_vault_that_fails_inside(tenant: Tenant, own: Operator) -> None:
    with Front(tenant.vault.url) as front:
        tenant.store(server=front.url)
        tenant.want(refreshInterval="1s")
        values = tenant.mount.get("app")
        tenant.until_values(values)
        front.fault = 500
        tenant.until_failed("app", FETCH, front.url, "; ")
        assert tenant.values() == values
        front.fault = 0
        fresh = {"password": distinct()}
        tenant.mount.put("app", fresh)
        tenant.until_values(fresh)
        tenant.until_ready()
        own.stop()  # before the front goes


def test_a_short_outage_flips_no_condition_of_a_lease(lender: Lender, own: Operator) -> None:
    """A renewal that fails is tried again before the lease ends; its Secret is as good as before."""
    lender.lend(ttl="12s")
    lender.want()
    values = lender.values()
    lease = lender.only_lease()
    ready = ready_condition(lender.user.cluster.get(lender.user.spot()))
    lender.vault.seal()
    lender.user.until_told("app", "LeaseRenewalFailed", "dataFrom[0]: ", "is sealed", "tried again")
    lender.vault.unseal()
    lender.until_renewed(lease)
    assert lender.values() == values
    assert ready_condition(lender.user.cluster.get(lender.user.spot())) == ready
    assert lender.mints() == 1


# ----------------------------------------------------------------------------------------------------------- PostgreSQL


def test_a_database_that_is_down_while_minting(lender: Lender, postgres: Postgres, own: Operator) -> None:
    postgres.stop()
    lender.want()
    lender.user.until_failed("app", FETCH, "what its engine works on", lender.path, "see its log")
    assert lender.user.secret() is None
    assert not lender.leases()
    postgres.start()
    values = lender.values()
    assert lender.admits(values)
    assert lender.mints() == 1
    assert len(lender.leases()) == 1
    assert lender.users() == {values["username"]}


def test_a_database_that_hangs_while_minting(tenant: Tenant, lender: Lender, postgres: Postgres, own: Operator) -> None:
    tenant.want("static", refreshInterval="1s")
    tenant.until_ready("static")
    postgres.pause()
    spot = lender.want()
    records.until_minting(tenant.cluster, own, spot)
    # everybody else is served meanwhile, and the mint is asked for once
    for _ in range(2):
        fresh = {"password": distinct()}
        tenant.mount.put("app", fresh)
        tenant.until_values(fresh, "static")
    postgres.resume()
    values = lender.values()
    assert lender.admits(values)
    assert lender.mints() == 1
    assert lender.users() == {values["username"]}


# ------------------------------------------------------------------------------------------------------ the API server


def test_an_api_server_that_is_down_for_ten_seconds(tenant: Tenant, lender: Lender, own: Operator) -> None:
    plane = tenant.cluster.plane
    lender.lend(ttl="4s")
    lender.want()
    tenant.want("static", refreshInterval="1s")
    values = lender.values()
    tenant.until_ready("static")
    lease = lender.only_lease()
    plane.apiserver.kill()
    # the credential is kept alive all the same: four renewals of four seconds' leases take ten seconds
    renewals = {lender.lease(lease)["last_renewal"]}

    def has_lived_on() -> bool:
        renewals.add(lender.lease(lease)["last_renewal"])
        return len(renewals) > 4

    eventually(has_lived_on, "renewed without the API server")
    fresh = {"password": distinct()}
    tenant.mount.put("app", fresh)
    plane.start_api()
    tenant.until_values(fresh, "static")
    tenant.until_ready("static")
    eventually(own.is_ready, "ready again")
    assert lender.values() == values
    assert lender.mints() == 1
    # and its watches live: what is done by hand is seen
    tenant.cluster.remove(tenant.spot("static", "Secret"))
    tenant.until_values(fresh, "static")
    assert metric(own, "leasehold_build_info") == 1
