"""Leased database credentials, kept by the running operator on a real Vault and a real PostgreSQL.

In each test somebody logs in ten times a second with what the Secret says, and never fails. Credentials are counted
where they are: issues in Vault's audit log, leases in Vault, users in PostgreSQL.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from testbed.controlplane import ControlPlane
from testbed.operator import Operator
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault
from tests.live.troupe import Role, Scene, hire, sample, until, vault_provider

PACE = 0.1
"""Seconds between two logins of a client."""


@pytest.fixture(scope="module")
def operator(yard: Yard, control_plane: ControlPlane, vault: Vault, kubernetes_auth: str) -> Iterator[Operator]:
    """The operator of this module."""
    with hire(yard, control_plane, vault, name="leases") as operator:
        yield operator


@dataclass(slots=True)
class Tally:
    """What a client has seen."""

    logins: int = 0
    failures: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def until_logged_in(self, times: int) -> None:
        """Wait for further logins: ten of them are about a second."""
        goal = self.logins + times
        until("the client goes on", lambda: self.logins >= goal)


@dataclass(frozen=True, slots=True)
class Troubadour:
    """A namespace with an account, and ways to lend to it."""

    scene: Scene
    vault: Vault
    postgres: Postgres

    def role(self, *, default_ttl: str, max_ttl: str) -> Role:
        """Make a database role; the account `app` may ask for it."""
        role = Role(self.vault, self.postgres, f"l{secrets.token_hex(3)}")
        self.vault.database_role(role.name, default_ttl=default_ttl, max_ttl=max_ttl)
        self.vault.write_policy(role.name, f'path "{role.path}" {{ capabilities = ["read"] }}')
        self.vault.kubernetes_role(
            self.scene.namespace,
            accounts=["app"],
            namespaces=[self.scene.namespace],
            policies=[*self._policies(), role.name],
            audience="vault",
            token_period="24h",
        )
        return role

    def lend(self, name: str, role: Role, **lease: str) -> str:
        """Make a generator and an ExternalSecret of one name; return the user that the Secret then holds."""
        spec = {"path": role.path, "provider": vault_provider(self.vault, self.scene.namespace)}
        self.scene.create("VaultDynamicSecret", name, spec=spec)
        return self.want(name, name, **lease)

    def want(self, name: str, generator: str, **lease: str) -> str:
        """Make an ExternalSecret over a generator; return the user that the Secret then holds."""
        source = {"sourceRef": {"generatorRef": {"kind": "VaultDynamicSecret", "name": generator}}}
        lease = {"gracePeriod": "2s", "rotateBefore": "5s", **lease}
        self.scene.create("ExternalSecret", name, spec={"dataFrom": [source], "lease": lease, "refreshInterval": "1h"})
        return until(f"{name} has a user", lambda: self.user(name))

    def user(self, name: str) -> str:
        """Return the user that a Secret holds."""
        return self.scene.values(name).get("username", "")

    def log_in(self, values: dict[str, str]) -> None:
        """Log in to PostgreSQL. Raises psycopg.Error where it refuses."""
        with psycopg.connect(self.postgres.dsn(values["username"], values["password"]), connect_timeout=10):
            pass

    @contextmanager
    def client(self, name: str) -> Iterator[Tally]:
        """Log in with what the Secret holds, ten times a second, until the block ends; then no login has failed."""
        tally, stop = Tally(), threading.Event()

        def run() -> None:
            while not stop.wait(PACE):
                values = self.scene.values(name)
                try:
                    self.log_in(values)
                except (KeyError, psycopg.Error) as error:
                    tally.failures.append(f"{values.get('username')}: {type(error).__name__}: {error}")
                if values.get("username") not in tally.users:
                    tally.users.append(values.get("username", ""))
                tally.logins += 1

        thread = threading.Thread(target=run, name=f"client of {name}", daemon=True)
        thread.start()
        try:
            yield tally
        finally:
            stop.set()
            thread.join()
        assert tally.failures == []
        assert tally.logins

    def _policies(self) -> list[str]:
        answer = self.vault.ask("GET", f"auth/kubernetes/role/{self.scene.namespace}")
        return list(answer.body["data"]["token_policies"]) if answer.status == 200 else []


@pytest.fixture
def house(control_plane: ControlPlane, namespace: str, vault: Vault, postgres: Postgres, database: str) -> Troubadour:
    """A namespace with the account `app`, to which credentials are lent."""
    control_plane.create_service_account(namespace, "app")
    return Troubadour(Scene(control_plane, namespace), vault, postgres)


def moved(role: Role, user: str) -> Callable[[], bool]:
    """Return a question: does the user live longer than at the time of this call?"""
    before = role.valid_until(user)
    assert before, f"{user} is not there"
    return lambda: role.valid_until(user) > before


def until_over(role: Role) -> None:
    """Wait until nothing of a role is left, neither lease nor user."""
    until("no lease and no user is left", lambda: not role.leases() and not role.users())


def test_a_lease_is_renewed_then_replaced_and_no_login_fails(operator: Operator, house: Troubadour) -> None:
    role = house.role(default_ttl="6s", max_ttl="15s")
    first = house.lend("db", role, gracePeriod="3s")
    with house.client("db") as tally:
        until("the lease is renewed", moved(role, first))
        assert role.mints() == 1
        assert house.user("db") == first
        second = until("the credential is replaced", lambda: tally.users[1:])[0]
        assert first in role.users(), "the old user is gone before its grace"
        until("the old user is gone", lambda: first not in role.users())
        until("the successor is renewed", moved(role, second))
        tally.until_logged_in(10)
        until("each credential that was issued is one that is used", lambda: role.mints() == len(tally.users))
    assert tally.users[:2] == [first, second]
    told = house.scene.events("db")
    assert {"LeaseMinted", "LeaseRotated", "LeaseRetired"} <= told
    assert not {"LeaseLost", "LeaseRenewalFailed", "LeaseOrphaned", "UpdateFailed"} & told
    house.scene.delete("ExternalSecret", "db")
    until_over(role)


def test_kills_and_restarts_cost_no_login_no_mint_and_no_write(operator: Operator, house: Troubadour) -> None:
    # renewed every 6 s, with 24 s left for an operator that starts slowly on a busy machine
    role = house.role(default_ttl="30s", max_ttl="10m")
    user = house.lend("db", role, renewAt="20%")
    house.scene.until_reason("db", "SecretSynced")
    version = house.scene.find("Secret", "db")["metadata"]["resourceVersion"]
    longer = moved(role, user)
    with house.client("db") as tally:
        for turn in range(1, 6):
            operator.kill()
            operator.start()
            # another moment of its life at each turn
            tally.until_logged_in(6 * turn)
        operator.restart()
        until("the lease is renewed", moved(role, user))
        tally.until_logged_in(10)
    assert longer()
    assert tally.users == [user]
    assert role.mints() == len(role.leases()) == 1
    assert role.users() == {user}
    assert house.scene.find("Secret", "db")["metadata"]["resourceVersion"] == version


def test_what_edits_cost(operator: Operator, house: Troubadour) -> None:
    role, other = (house.role(default_ttl="30s", max_ttl="10m") for _ in range(2))
    first = house.lend("db", role)
    house.scene.until_reason("db", "SecretSynced")
    values = house.scene.values("db")
    synced = house.scene.status("db")["syncedResourceVersion"]
    with house.client("db"):
        house.scene.label("ExternalSecret", "db", team="a")
        until("the edit is synced", lambda: house.scene.status("db")["syncedResourceVersion"] != synced)
        assert house.scene.find("Secret", "db")["metadata"]["labels"]["team"] == "a"
        assert (role.mints(), house.user("db")) == (1, first)

        house.scene.patch("VaultDynamicSecret", "db", {"spec": {"path": other.path}})
        until("the other role is asked", lambda: house.user("db") in other.users())
        until_over(role)
    assert (role.mints(), other.mints()) == (1, 1)
    assert house.scene.values("db") != values

    values = house.scene.values("db")
    house.scene.delete("Secret", "db")
    house.scene.until_values("db", values)
    assert other.mints() == 1

    house.scene.delete("ExternalSecret", "db")
    until_over(other)
    house.scene.until_gone("Secret", "db")
    with pytest.raises(psycopg.OperationalError):
        house.log_in(values)


def test_a_store_read_that_is_leased_is_kept_and_not_read_again(operator: Operator, house: Troubadour) -> None:
    role = house.role(default_ttl="6s", max_ttl="10m")
    scene = house.scene
    scene.store("vault", vault_provider(house.vault, scene.namespace, path="database", version="v1"))
    source = {"extract": {"key": f"creds/{role.name}"}}
    scene.want("db", refreshInterval="1s", dataFrom=[source], lease={"gracePeriod": "2s"})
    user = until("a user is there", lambda: house.user("db"))

    def refreshed() -> float:
        name = "leasehold_last_refresh_timestamp_seconds"
        return sample(operator.metrics(), name, namespace=scene.namespace, name="db") or 0.0

    with house.client("db") as tally:
        seen = until("it is refreshed", refreshed)
        until("it is refreshed three times more", lambda: refreshed() > seen + 3)
        until("the lease is renewed", moved(role, user))
    assert (role.mints(), tally.users) == (1, [user])
    scene.delete("ExternalSecret", "db")
    until_over(role)


def test_two_users_of_one_generator_get_credentials_of_their_own(operator: Operator, house: Troubadour) -> None:
    role = house.role(default_ttl="30s", max_ttl="10m")
    first = house.lend("one", role)
    second = house.want("two", "one")
    assert role.users() == {first, second}
    assert len(role.leases()) == role.mints() == 2
    house.scene.delete("ExternalSecret", "one")
    until("the first user is gone", lambda: role.users() == {second})
    assert house.user("two") == second
    house.log_in(house.scene.values("two"))


@pytest.fixture
def alone(
    operator: Operator, yard: Yard, control_plane: ControlPlane, vault: Vault, namespace: str
) -> Iterator[Operator]:
    """An operator of this namespace without an identity in Vault, instead of the one of this module."""
    operator.stop()
    with hire(yard, control_plane, vault, name="alone", identity=False, scoped=namespace) as alone:
        yield alone
    operator.start()


def test_without_an_identity_a_restart_costs_one_planned_replacement(alone: Operator, house: Troubadour) -> None:
    role = house.role(default_ttl="10s", max_ttl="10m")
    first = house.lend("db", role)
    with house.client("db") as tally:
        until("the lease is renewed from memory", moved(role, first))
        alone.restart()
        second: Any = until("the lease is replaced", lambda: tally.users[1:])[0]
        until("the successor is renewed", moved(role, second))
        until("the old user is gone", lambda: role.users() == {second})
    assert tally.users == [first, second]
    assert role.mints() == 2
    assert "LeaseLost" not in house.scene.events("db")
