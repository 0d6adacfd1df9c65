"""Bad days of Vault, PostgreSQL and the API server: the last good Secret stays, and recovery needs no hands."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from testbed.mounts import Mount
from testbed.operator import Operator
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault
from tests.live.operator import records
from tests.live.operator.cluster import Cluster, Spot, eventually, ready_condition
from tests.live.operator.conftest import MakeOperator, house, make_user, trust
from tests.live.operator.front import Front
from tests.live.operator.lender import TERMS, Lender
from tests.live.operator.tenant import Tenant, distinct
from tests.live.operator.traces import Run, metric

FETCH = "could not get secret data from provider: "
MINUTE = 60.0
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
    lender.lend(ttl="8s")
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


# ------------------------------------------------------------------------------------------------------- a long night


@dataclass(slots=True)
class Night:
    """A Vault of its own that goes down while others are tested, and what its user had by then."""

    user: Tenant
    lender: Lender
    operator: Operator
    since: float = 0.0
    static: dict[str, str] = field(default_factory=dict)
    leased: dict[str, str] = field(default_factory=dict)

    def fall(self) -> None:
        """Sync a value and a credential that is to be renewed soon and lives for long; then let Vault go."""
        lender, user = self.lender, self.user
        self.operator.start()
        lender.lend(ttl="10m")
        lender.want(lease={**TERMS, "renewAt": "5%"})
        user.mount.put("app", {"password": distinct()})
        user.store(spec={"refreshInterval": 2})
        user.want("static", refreshInterval="1s")
        self.static = user.mount.get("app")
        user.until_values(self.static, "static")
        self.leased = lender.values()
        user.vault.stop()
        self.since = time.monotonic()


@pytest.fixture(scope="session")
def night(
    yard: Yard, run: Run, cluster: Cluster, vault: Vault, postgres: Postgres, request: pytest.FixtureRequest
) -> Iterator[Night]:
    """The night has begun."""
    name = f"night-{secrets.token_hex(4)}"
    cluster.plane.create_namespace(name)
    with Vault(yard, name="vault-night") as own:
        own.configure_kubernetes_auth(cluster.plane)
        own.configure_database(postgres)
        user = make_user(cluster, name, own, Mount.create(own))
        operator = house(run, yard, name)
        trust(operator, own)
        made = Night(user, Lender.create(user, postgres), operator)
        try:
            made.fall()
            yield made
        finally:
            operator.stop()
            cluster.remove(Spot("Namespace", "", name))


@pytest.mark.usefixtures("alone")
def test_a_vault_goes_down(night: Night) -> None:
    user = night.user
    user.until_failed("static", FETCH, "refuses connections", user.vault.url, "tried again")
    user.until_failed("vault", "unable to validate store: ", "refuses connections", kind="SecretStore")
    assert user.values("static") == night.static
    assert user.values() == night.leased


@pytest.fixture
def dawn(night: Night) -> Night:
    """The night has lasted for a minute, or for longer, if others took their time."""
    eventually(lambda: time.monotonic() > night.since + MINUTE, "a minute old", patience=2 * MINUTE)
    return night


def test_a_vault_comes_back_after_a_minute(dawn: Night) -> None:
    user, lender = dawn.user, dawn.lender
    assert user.values("static") == dawn.static
    assert user.values() == dawn.leased
    user.until_told("app", "LeaseRenewalFailed", "dataFrom[0]: ", "refuses connections")
    user.vault.start()
    fresh = {"password": distinct()}
    user.mount.put("app", fresh)
    user.until_values(fresh, "static", patience=LONG)
    lender.until_renewed(lender.only_lease(), patience=LONG)
    assert lender.values() == dawn.leased
    assert lender.admits(dawn.leased)
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
    lender.until_renewed(lease)  # so the operator has logged in to Vault, which asks the API server about it
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
