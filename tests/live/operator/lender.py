"""The other side of a lease: what Vault has lent for one role, and who may log in to PostgreSQL because of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from testbed.errors import BedError
from testbed.postgres import Postgres
from testbed.vault import CREATION, Vault
from tests.live.operator.cluster import PATIENCE, Body, Spot, eventually
from tests.live.operator.tenant import Tenant, generated, values_of

TERMS: Mapping[str, object] = {"gracePeriod": "2s", "rotateBefore": "5s"}
"""spec.lease for leases that live for seconds."""


@dataclass(frozen=True, slots=True)
class Lender:
    """A database role of one user, the Vault role that may mint from it, and the generator `db` in the cluster."""

    user: Tenant
    postgres: Postgres
    name: str

    @classmethod
    def create(cls, user: Tenant, postgres: Postgres) -> Self:
        """Make the roles; leases live for an hour until `lend` says otherwise."""
        lender = cls(user, postgres, f"db-{secrets.token_hex(4)}")
        lender.lend()
        vault = user.vault
        vault.write_policy(lender.name, f'path "{lender.path}" {{ capabilities = ["read"] }}')
        lender.admit()
        return lender

    @property
    def vault(self) -> Vault:
        """The Vault that lends."""
        return self.user.vault

    @property
    def path(self) -> str:
        """Where a credential is minted."""
        return f"database/creds/{self.name}"

    def lend(self, *, ttl: str = "1h", most: str = "24h") -> None:
        """Set how long leases live from now on."""
        # users are found by their role: Vault puts its first 8 letters into the name, which are not enough
        mark = f"COMMENT ON ROLE \"{{{{name}}}}\" IS '{self.name}';"
        self.vault.database_role(self.name, default_ttl=ttl, max_ttl=most, creation=(CREATION, mark))

    def admit(self, **changes: object) -> None:
        """Write the Vault role by which the user's account may mint; owners live for a day and renew."""
        role: dict[str, Any] = {"token_period": "24h", "token_no_default_policy": True, **changes}
        self.vault.kubernetes_role(
            self.name,
            accounts=["*"],
            namespaces=[self.user.namespace],
            policies=[self.name, self.user.mount.policy],
            audience="vault",
            **role,
        )

    # ------------------------------------------------------------------------------------------------------ writing

    def generator(self, name: str = "db", **changes: object) -> Spot:
        """Write a VaultDynamicSecret that mints from this role."""
        user = self.user
        provider = {"server": self.vault.url, "auth": user.login(role=self.name)}
        body = {"spec": {"path": self.path, "provider": provider, **changes}}
        user.cluster.apply("VaultDynamicSecret", name, body, namespace=user.namespace)
        return user.spot(name, "VaultDynamicSecret")

    def want(self, name: str = "app", *, lease: Mapping[str, object] = TERMS, **spec: Any) -> Spot:
        """Write the generator, and an ExternalSecret that takes all that it gives."""
        self.generator()
        return self.user.want(name, secretStoreRef=None, dataFrom=generated("db"), lease=dict(lease), **spec)

    # ------------------------------------------------------------------------------------------------------- seeing

    def values(self, name: str = "app") -> dict[str, str]:
        """Return what the Secret of an ExternalSecret that is Ready holds."""
        self.user.until_ready(name)
        values = self.user.values(name)
        assert values is not None
        return values

    def until_replaced(
        self, values: Mapping[str, str], name: str = "app", *, patience: float = PATIENCE
    ) -> dict[str, str]:
        """Wait until a Secret holds another credential than this, and return it."""
        found = self.user.cluster.until(
            self.user.spot(name, "Secret"),
            lambda body: (values_of(body) or {}).get("username", values["username"]) != values["username"],
            f"another credential than {values['username']}",
            patience=patience,
        )
        fresh = values_of(found)
        assert fresh is not None
        return fresh

    def leases(self) -> set[str]:
        """Return the ids of the leases that live."""
        answer = self.vault.ask("LIST", f"sys/leases/lookup/{self.path}")
        return {f"{self.path}/{key}" for key in answer.body["data"]["keys"]} if answer.status == 200 else set()

    def lease(self, lease_id: str) -> Body:
        """Return what Vault says of a lease: issue_time, expire_time, last_renewal, ttl."""
        found: Body = self.vault.api("PUT", "sys/leases/lookup", {"lease_id": lease_id})["data"]
        return found

    def users(self) -> set[str]:
        """Return the PostgreSQL users that were made for this role and are there."""
        found = self.postgres.query(
            f"SELECT rolname FROM pg_authid WHERE shobj_description(oid, 'pg_authid') = '{self.name}'"
        )
        return {row[0] for row in found}

    def mints(self) -> int:
        """Count the credentials that Vault has given out, by its audit log."""
        given = 0
        with self.vault.audit_log.open(encoding="utf-8") as lines:
            for line in lines:
                if self.path in line:
                    entry = json.loads(line)
                    given += (
                        entry["type"] == "response"
                        and entry["request"]["path"] == self.path
                        and not entry.get("error")
                        and "secret" in entry["response"]
                    )
        return given

    def admits(self, values: Mapping[str, str] | None) -> bool:
        """Tell whether PostgreSQL lets somebody in with the username and password of a Secret."""
        if not values:
            return False
        try:
            return self.postgres.query("SELECT 1", user=values["username"], password=values["password"]) == [["1"]]
        except BedError:
            return False

    def only_lease(self) -> str:
        """Return the id of the one lease that lives."""
        (lease_id,) = self.leases()
        return lease_id

    def is_renewed(self, lease_id: str) -> bool:
        """Tell whether a lease that lives was renewed since it was issued."""
        answer = self.vault.ask("PUT", "sys/leases/lookup", {"lease_id": lease_id})
        return answer.status == 200 and bool(answer.body["data"]["last_renewal"])

    def until_users(self, users: set[str], *, patience: float = PATIENCE) -> None:
        """Wait until exactly these users are there."""
        eventually(lambda: self.users() == users, f"with the users {users}", patience=patience)

    def until_renewed(self, lease_id: str, *, patience: float = PATIENCE) -> None:
        """Wait until a lease has been renewed."""
        eventually(lambda: self.is_renewed(lease_id), "renewed", patience=patience)

    def until_states(self, *states: str, name: str = "app") -> Body:
        """Wait until the leases of an ExternalSecret are shown in these states, and return it."""

        def holds(body: Body | None) -> bool:
            shown = ((body or {}).get("status") or {}).get("leases") or ()
            return tuple(entry["state"] for entry in shown) == states

        found = self.user.cluster.until(self.user.spot(name), holds, f"shown as {states}")
        assert found is not None
        return found

    def until_gone(self, *, patience: float = PATIENCE) -> None:
        """Wait until nothing is lent and nobody is let in."""
        eventually(lambda: not self.leases() and not self.users(), f"free of leases of {self.name}", patience=patience)
