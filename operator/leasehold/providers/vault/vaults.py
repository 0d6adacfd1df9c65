"""All Vault servers of this process: connections and circuits shared by address, keepers shared by connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from leasehold.api.meta import RetrySettings
from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.ports import Clock, Connection, Credentials, Identity
from leasehold.domain.values import SecretBytes
from leasehold.providers.circuit import Circuit
from leasehold.providers.vault import wiring
from leasehold.providers.vault.adapter import LANES, LIMITS, Line, Observe, client, ignore
from leasehold.providers.vault.auth import refers_to_namespace
from leasehold.providers.vault.errors import Deed, Trouble, explain
from leasehold.providers.vault.keeper import MemoryKeeper, OperatorKeeper, OwnerTokens, connection_key
from leasehold.providers.vault.session import Plan, Session
from leasehold.providers.vault.store import VaultStore
from leasehold.providers.vault.tokens import Login, login_of
from leasehold.providers.vault.transport import HttpTransport, Transport, Wiring, address_of, close_all


@dataclass(frozen=True, slots=True)
class OperatorLogin:
    """The operator's own identity at a Vault: Kubernetes auth by its own ServiceAccount."""

    mount: str
    role: str
    credentials: Credentials
    """Asked for ``operator_token`` only, which knows the audience."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What all calls have in common."""

    clock: Clock
    concurrency: int = 16
    """Calls at once to one address, in each lane."""
    observe: Observe = ignore
    correlation: Callable[[], str] = str
    limits: Mapping[str, float] = field(default_factory=lambda: LIMITS)
    """Seconds for an answer, by lane."""
    connect: Callable[[Wiring], Transport] = HttpTransport


class Vaults:
    """Opens stores and keepers; what can be shared is."""

    def __init__(self, habits: Habits, *, operator: OperatorLogin | None = None) -> None:
        """Take the habits, and the operator's identity if it has one."""
        self._habits, self._operator = habits, operator
        self._circuits: dict[str, Circuit] = {}
        self._transports: dict[Wiring, Transport] = {}
        self._users: Counter[Transport] = Counter()
        self._presented: dict[tuple[object, ...], Wiring] = {}
        self._keepers: dict[tuple[object, ...], OperatorKeeper | MemoryKeeper] = {}
        self._owners = OwnerTokens()

    def open(
        self,
        provider: VaultProvider,
        retry: RetrySettings | None,
        *,
        identity: Identity,
        credentials: Credentials,
        cluster_wide: bool,
    ) -> VaultStore:
        """Return a store or generator; nobody is asked yet.

        Raises:
            Misconfigured: the description cannot work.
        """
        session = Session(Plan(provider, retry, identity), credentials=credentials, exchange=self)
        owners = None if self._operator is not None else self._owners
        return VaultStore(session, owners=owners, cluster_wide=cluster_wide)

    def dial(self, wired: Wiring, *, base: str, headers: Mapping[str, str]) -> Line:
        """Return a line on the connections of the wiring and the circuit of its address.

        Raises:
            Misconfigured: a certificate cannot be used.
        """
        habits = self._habits
        if wired not in self._transports:
            self._transports[wired] = habits.connect(wired)
        if wired.address not in self._circuits:
            self._circuits[wired.address] = Circuit(clock=habits.clock, limit=habits.concurrency, lanes=LANES)
        if wired.certificate:
            # a lease record has no client certificate: its keeper uses the one of a store on the same address
            self._presented[wired.address, wired.ca_pem] = wired
        transport = self._transports[wired]
        self._users[transport] += 1
        return Line(
            transport,
            self._circuits[wired.address],
            wired.address,
            base,
            headers,
            clock=habits.clock,
            observe=habits.observe,
            correlation=habits.correlation,
            limits=habits.limits,
        )

    async def hang_up(self, line: Line) -> None:
        """Close the connections of a line if it is the last on them: certificates change, processes live long."""
        self._users[line.transport] -= 1
        if self._users[line.transport] > 0:
            return
        del self._users[line.transport]
        self._transports = {wired: held for wired, held in self._transports.items() if held is not line.transport}
        self._presented = {key: wired for key, wired in self._presented.items() if wired in self._transports}
        await line.transport.close()

    def keeper(self, connection: Connection) -> OperatorKeeper | MemoryKeeper:
        """Return who keeps the leases of a connection.

        Raises:
            Misconfigured: the connection cannot work.
        """
        key = connection_key(connection)
        if key not in self._keepers:
            self._keepers[key] = self._make_keeper(connection)
        return self._keepers[key]

    def _make_keeper(self, connection: Connection) -> OperatorKeeper | MemoryKeeper:
        address, base = address_of(connection.server)
        wired = self._presented.get((address, connection.ca_pem)) or Wiring(address, connection.ca_pem)
        line = self.dial(wired, base=base, headers=connection.headers)
        if self._operator is None:
            return MemoryKeeper(line, self._owners, connection=connection)
        operator = self._operator

        async def log_in() -> Login:
            if wiring.is_namespace(connection.namespace):
                await wiring.refuse_ignored_namespace(line)
            return await _log_in(operator, line, namespace=connection.namespace)

        return OperatorKeeper(line, log_in, namespace=connection.namespace)

    async def close(self) -> None:
        """Log out as the operator and close every connection."""
        for keeper in self._keepers.values():
            await keeper.close()
        transports = list(self._transports.values())
        self._keepers.clear()
        self._transports.clear()
        self._users.clear()
        self._presented.clear()
        await close_all(transports)


async def _log_in(operator: OperatorLogin, line: Line, *, namespace: str) -> Login:
    jwt: SecretBytes = await operator.credentials.operator_token()
    vault = client(line, namespace=namespace)
    try:
        return login_of(await vault.auth.kubernetes.login(operator.role, jwt, mount_point=operator.mount))
    except Trouble as trouble:
        name = f"the operator's own login at auth/{operator.mount}, role {operator.role}"
        raise explain(trouble, Deed(line.address, login=name)) from None


def narrow(provider: VaultProvider, identity: Identity, *, cluster_wide: bool) -> Identity:
    """Return the identity without what makes no difference, so that namespaces share a login where they may."""
    if cluster_wide and not identity.service_account and not refers_to_namespace(provider):
        return Identity(namespace="")
    return identity
