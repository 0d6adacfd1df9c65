"""What the steps act on: a cluster, Vault, PostgreSQL, the operator, and the witness who sees what they do.

The stage is set here as an administrator would set it up: CRDs, the chart's rights, Vault's roles. The operator gets a
token of its own ServiceAccount and nothing more. What is to be seen is in `steps`.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from e2e import expectations
from e2e.drivers import Cluster
from e2e.expectations import NotYet
from e2e.logins import Client, Credential
from e2e.narration import Narrator, show
from e2e.witness import Witness
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault import policy
from testbed.operator import Operator
from testbed.postgres import Postgres
from testbed.processes import Yard
from testbed.vault import Vault

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = "docs/examples/quickstart"
NAMESPACE = "payments"
ADDRESS = "http://127.0.0.1:8200"
"""Vault's address in the quickstart: all that is replaced in it."""
CREDS = "database/creds/payments"
LEASE_TTL = 20
"""Seconds that a database user lives unless its lease is renewed."""
MAX_TTL = 68
"""Seconds that it lives at the latest. The fourth renewal, after some 51 s, is the first that is cut short by it: so
whoever renews learns of it with 15 s left, enough for a rollout and the grace of the quickstart."""
REFRESH = 10.0
"""The refreshInterval of the quickstart's static values, in seconds."""
GRACE = 10.0
"""The gracePeriod of the quickstart's leased credential, in seconds."""


@dataclass(slots=True)
class Notes:
    """What steps tell those after them."""

    first: Credential | None = None
    """The first leased user."""
    minted_at: float = 0.0
    """Monotonic time at which the Secret with it was seen."""
    last: Credential | None = None
    """The one that the Secret holds now."""
    values: list[SecretBytes] = field(default_factory=list)
    """Every secret value of the run, to look for where none may be."""


class Stage:
    """The whole set of one run, in one folder."""

    def __init__(self, yard: Yard, cluster: Cluster, narrator: Narrator) -> None:
        """Make everything, start nothing."""
        self.yard, self.cluster, self.narrator = yard, cluster, narrator
        self.plane = cluster.plane
        self.vault = Vault(yard)
        self.postgres = Postgres(yard)
        self.operator = Operator(yard, self.plane)
        self.witness = Witness(self.plane, NAMESPACE)
        self.client = Client(self.witness, self.postgres.port.number, secret="database", app="payments")
        self.notes = Notes()

    # ------------------------------------------------------------------------------------------------------- the set

    def start(self) -> None:
        """Start servers and operator, install what both need. Raises BedError when something does not start."""
        tell = self.narrator.seen
        for what, start in (
            (lambda: f"Vault at {self.vault.url}, unsealed", self.vault.start),
            (lambda: f"PostgreSQL at 127.0.0.1:{self.postgres.port}", self.postgres.start),
            (lambda: f"Kubernetes at {self.plane.url}; pods run by {self.cluster.runs}", self._start_cluster),
        ):
            began = time.monotonic()
            start()
            tell(what(), show(time.monotonic() - began))
        began = time.monotonic()
        self.operator.install()
        tell(
            "CRDs, the ServiceAccount leasehold-system/leasehold and the chart's RBAC",
            show(time.monotonic() - began),
        )
        self._set_up_vault()
        tell(f"Vault: Kubernetes logins, KV at secret/, {CREDS} with TTL {LEASE_TTL} s and max TTL {MAX_TTL} s")
        began = time.monotonic()
        self.operator.start()
        tell("the operator runs as a process, under its own ServiceAccount's token", show(time.monotonic() - began))
        self._prove_rights()
        self.witness.start()

    def stop(self) -> None:
        """End the client and the witness, then the cluster where it is not the yard's."""
        self.client.stop()
        self.witness.stop()
        self.cluster.stop()

    def _start_cluster(self) -> None:
        self.cluster.start(reach=(self.vault.port.number, self.postgres.port.number))

    def _set_up_vault(self) -> None:
        """Write what docs/examples/vault.sh writes, over the API."""
        vault = self.vault
        vault.configure_kubernetes_auth(self.plane)
        vault.configure_database(self.postgres)
        vault.database_role("payments", default_ttl=f"{LEASE_TTL}s", max_ttl=f"{MAX_TTL}s")
        vault.write_policy("payments", policy.tenant_policy(reads=["secret/data/payments/*"]))
        vault.write_policy("payments-database", policy.tenant_policy(mints=[CREDS]))
        who: dict[str, object] = {
            "accounts": ["payments"],
            "namespaces": [NAMESPACE],
            "audience": "vault",
            "token_no_default_policy": True,
        }
        vault.kubernetes_role("payments", policies=["payments"], token_ttl="20m", **who)  # type: ignore[arg-type]
        owner = {"token_type": "service", "token_period": "24h"}
        vault.kubernetes_role("payments-database", policies=["payments-database"], **owner, **who)  # type: ignore[arg-type]
        self.operator.trust(vault)

    def _prove_rights(self) -> None:
        """Ask the API server what the operator may do: it is no administrator."""
        answers = {
            words: self.plane.kubectl.run("auth", "can-i", *words, f"--as={self.operator.user}", "--quiet=false")
            for words in (("list", "externalsecrets.external-secrets.io", "-A"),)
        }
        yes = all(answer.strip() == "yes" for answer in answers.values())
        self.require(f"{self.operator.user} may list ExternalSecrets", yes, "it may not")
        refused = [words for words in _FORBIDDEN if self._may(*words)]
        self.require(
            "it is no administrator: no Pods, no Roles, no Nodes, no write to ExternalSecrets",
            not refused,
            f"it may {', '.join(' '.join(words) for words in refused)}",
        )

    def _may(self, *words: str) -> bool:
        verb, group, resource = words
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": self.operator.user,
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": NAMESPACE},
            },
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.plane.api("POST", path, review)["status"]["allowed"])

    # ------------------------------------------------------------------------------------------------------ judgement

    def until(self, expected: str, look: Callable[[], T], *, within: float) -> T:
        """Look until it is seen; see expectations.until. The death of the operator ends the wait."""
        return expectations.until(expected, look, within=within, alive=self._dead)

    def require(self, expected: str, is_so: object, seen: str, *, took: str = "") -> None:
        """Say that something is so, or raise Unmet with what was seen instead."""
        if not is_so:
            expectations.fail(expected, seen)
        self.narrator.seen(expected, took)

    def _dead(self) -> str:
        return "" if self.operator.process.alive else "the operator has ended"

    # --------------------------------------------------------------------------------------------------------- hands

    def apply(self, name: str, *, place: str = QUICKSTART) -> None:
        """Apply one file of the quickstart as a user would, with this Vault's address; `place` is another folder."""
        text = (ROOT / place / name).read_text(encoding="utf-8")
        dressed = self.cluster.dress(text.replace(ADDRESS, self.vault.url))
        self.narrator.command(f"kubectl apply -f {place}/{name}")
        self.plane.kubectl.run("apply", "-f", "-", text=dressed)

    def kubectl(self, words: str, *, shown: Callable[[str], str] = str) -> str:
        """Run a kubectl command, show it with its output (or what `shown` leaves of it), and return all of it."""
        output = self.plane.kubectl.run(*words.split())
        self.narrator.command(f"kubectl {words}", shown(output))
        return output

    def put(self, feature: str, greeting: SecretBytes) -> None:
        """Write the static values into Vault's KV."""
        self.notes.values.append(greeting)
        values = {"feature": feature, "greeting": greeting.reveal().decode()}
        self.narrator.command(f"vault kv put -mount=secret payments/settings feature={feature} greeting=••••••")
        self.vault.api("POST", "secret/data/payments/settings", {"data": values})

    def invent(self) -> SecretBytes:
        """Return a value that is nowhere else, so that it can be looked for."""
        return SecretBytes(f"good morning {secrets.token_hex(6)}")

    def leases(self) -> list[str]:
        """Return the ids of the live leases of the database role, as Vault lists them."""
        answer = self.vault.ask("LIST", f"sys/leases/lookup/{CREDS}")
        return [f"{CREDS}/{key}" for key in answer.body["data"]["keys"]] if answer.status == 200 else []

    def valid_until(self, user: str) -> str:
        """Return until when PostgreSQL lets a user in (HH:MM:SS, UTC), empty where there is no such user."""
        rows = self.postgres.query(
            "SELECT to_char(rolvaliduntil AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM pg_roles"
            f" WHERE rolname = '{user.replace(chr(39), '')}'"
        )
        return rows[0][0] if rows else ""

    def collect(self, values: Iterable[SecretBytes]) -> None:
        """Note secret values, to be looked for later where none may be."""
        self.notes.values.extend(values)

    def body(self, resource: str, name: str) -> dict[str, object]:
        """Return an object as last seen. Raises NotYet when it is not there."""
        found = self.witness.last(resource, name)
        if found is None:
            raise NotYet(f"no {resource} {name} in namespace {NAMESPACE}")
        return dict(found.body)


_FORBIDDEN = (
    ("list", "", "pods"),
    ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ("list", "", "nodes"),
    ("update", "external-secrets.io", "externalsecrets"),
    ("impersonate", "", "users"),
)
