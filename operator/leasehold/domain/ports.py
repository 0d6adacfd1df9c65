"""What flows need from the rest of the house, as small protocols; adapters implement them, fakes with memory too.

Providers implement the capabilities that they have (``Reader``, ``Leaser``, ``Checker``); a capability is asked for
by ``isinstance``. Providers never read the cluster: credentials come through ``Credentials``, which knows the
namespace rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from leasehold.api.externalsecret import ExternalSecret
from leasehold.api.generators import VaultDynamicSecret
from leasehold.api.meta import CAProvider, SecretKeySelector, ServiceAccountSelector
from leasehold.api.stores import ClusterSecretStore, SecretStore
from leasehold.domain.errors import DomainError
from leasehold.domain.facts import Key, LiveSecret, Target, WantedSecret, Workload, WorkloadRef, Written
from leasehold.domain.lease import LeaseRecord
from leasehold.domain.reasons import EventReason
from leasehold.domain.values import SecretBytes, SecretMap

# --------------------------------------------------------------------------------------------------------- time


class Clock(Protocol):
    """Wall time for what is shown and compared with other machines, monotonic time for waiting."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


# --------------------------------------------------------------------------------------------------- reading values


@dataclass(frozen=True, slots=True)
class Remote:
    """One distinct remote read: several entries of an ExternalSecret may project from it."""

    path: str
    version: str = ""
    metadata: bool = False
    """True where metadataPolicy is Fetch: the document is the secret's metadata, not its data."""


class Document(Protocol):
    """What one remote read gave; pure, so that many properties are taken from one read."""

    def value(self, property_path: str) -> SecretBytes:
        """Return the property, or the whole document in the provider's text form for "".

        Raises:
            Missing: there is no such property.
            Misconfigured: the document has no properties at all.
        """
        ...

    def entries(self, property_path: str) -> SecretMap:
        """Return the members of the document (or of the property) as keys and values, for ``dataFrom.extract``."""
        ...


@runtime_checkable
class Reader(Protocol):
    """Reads values from one store under one identity."""

    async def read(self, remotes: Collection[Remote]) -> Mapping[Remote, Document | DomainError]:
        """Read each remote once, concurrently; an error of one does not hide the others' answers."""
        ...


# ------------------------------------------------------------------------------------------------------------- leases


@dataclass(frozen=True, slots=True)
class Owner:
    """The token that one mint hangs on. Only its accessor is ever kept; it is a handle, no credential."""

    accessor: SecretBytes
    """Empty for a batch token."""
    ttl: float
    """Seconds the token lives unless renewed."""
    renewable: bool
    token: SecretBytes


@dataclass(frozen=True, slots=True)
class MintRequest:
    """One leased read or write, for example ``GET database/creds/app``."""

    path: str
    method: str = "GET"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Body of the request (not with GET)."""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    result: str = "Data"
    """Data | Auth | Raw: which part of the answer becomes values (VaultDynamicSecret.resultType)."""
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a mint."""

    values: SecretMap
    lease_id: SecretBytes
    """Empty where the answer carries no lease (then nothing is to be renewed or revoked)."""
    ttl: float
    renewable: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a backend again after the store that named it is gone. Kept in the lease record."""

    server: str
    namespace: str = ""
    ca_pem: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handle:
    """What it takes to keep or end one lease."""

    lease_id: SecretBytes
    owner: SecretBytes
    """Accessor of the owner token; empty for a batch owner."""


class LeaseOutcome(Enum):
    """What became of a call about a lease that the backend did answer."""

    ALIVE = "alive"
    GONE = "gone"
    """Expired, revoked, irrevocable, or the credential was removed behind the backend's back."""
    MAXED = "maxed"
    """Alive, past what renewal can give: replace before it ends."""
    FIXED = "fixed"
    """Not renewable by nature."""
    OWNERLESS = "ownerless"
    """The owner token is gone, the lease with it."""
    UNKEPT = "unkept"
    """Alive, but nobody here can renew its owner (no operator identity, restarted since the mint)."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a renewal or a lookup."""

    outcome: LeaseOutcome
    ttl: float = 0.0
    """Seconds left of the lease after the call."""
    capped: bool = False
    """The backend granted less than asked because the maximum life is near."""


@runtime_checkable
class Keeper(Protocol):
    """Keeps and ends leases of one backend; works from the record alone, without the store.

    Each method raises Denied, Unavailable or Misconfigured where the backend gave no verdict about the lease.
    """

    async def renew(self, handle: Handle, increment: float) -> Renewal:
        """Ask for ``increment`` seconds from now (>= 1). A small increment shortens: that is how grace is set."""
        ...

    async def look_up(self, handle: Handle) -> Renewal:
        """Return what is left of the lease, changing nothing."""
        ...

    async def renew_owner(self, handle: Handle) -> Renewal:
        """Keep the owner token alive; ``ttl`` is the owner's."""
        ...

    async def look_up_owner(self, handle: Handle) -> Renewal:
        """Return what is left of the owner token, changing nothing."""
        ...

    async def revoke_owner(self, handle: Handle) -> None:
        """End the owner token and every lease that hangs on it. Revoking what is gone already is success."""
        ...


@runtime_checkable
class Leaser(Protocol):
    """Mints under the tenant's identity."""

    @property
    def connection(self) -> Connection:
        """How a keeper reaches this backend later."""
        ...

    async def leases(self, remote: Remote) -> bool:
        """Tell whether reading this remote mints (an engine other than KV)."""
        ...

    async def login_owner(self) -> Owner:
        """Log in afresh as the tenant: one owner token per mint."""
        ...

    async def mint(self, owner: Owner, request: MintRequest) -> Grant:
        """Send the request exactly once, on a connection of its own. Callers shield it: it is never cancelled.

        Raises:
            Denied, Missing, Misconfigured: nothing was minted.
            Unavailable: nothing is known; the owner must be revoked before another try.
        """
        ...

    async def drop_owner(self, owner: Owner) -> None:
        """Forget the token (an operator identity keeps it by its accessor), or keep it for want of one."""
        ...


# ------------------------------------------------------------------------------------------------------------- stores


class Verdict(Enum):
    """What a store's validation found."""

    VALID = "valid"
    UNKNOWN = "unknown"


@runtime_checkable
class Checker(Protocol):
    """Validates a store."""

    async def check(self) -> Verdict:
        """Raise the DomainError that says unreachable, denied or misconfigured; return otherwise."""
        ...


Backend: TypeAlias = Reader | Leaser | Checker
"""One store opened under one identity; implements what its provider can."""


@dataclass(frozen=True, slots=True)
class StoreRef:
    """Names a store and tells its versions apart. ``namespace`` is "" for a ClusterSecretStore."""

    kind: str
    name: str
    namespace: str
    uid: str = ""
    generation: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs in: the store's own account, or (``service_account`` set) the workload of an ExternalSecret."""

    namespace: str
    """Where references of a ClusterSecretStore without namespace, and the workload's account, are resolved."""
    service_account: str = ""
    audiences: tuple[str, ...] = ()


class Credentials(Protocol):
    """Resolves what a store refers to, under the namespace rules; bound to one store and identity.

    Raises Misconfigured for a reference that the rules forbid or that names nothing, Denied for missing RBAC.
    """

    async def secret(self, ref: SecretKeySelector, *, default_key: str = "") -> SecretBytes:
        """Return one key of a Secret."""
        ...

    async def authority(self, ref: CAProvider) -> str:
        """Return a CA bundle (PEM) from a Secret or ConfigMap."""
        ...

    async def account_token(self, ref: ServiceAccountSelector, *, audiences: Sequence[str]) -> SecretBytes:
        """Return a ServiceAccount's JWT by TokenRequest, 600 s of life."""
        ...

    async def workload_token(self, *, audiences: Sequence[str]) -> SecretBytes | None:
        """Return the JWT of the identity's ServiceAccount, or None where the identity names none."""
        ...

    async def operator_token(self) -> SecretBytes:
        """Return the operator's own ServiceAccount JWT."""
        ...


class Registry(Protocol):
    """Opens backends; sessions (clients, logins) are shared by store and identity and closed by ``close``."""

    async def open(self, ref: StoreRef, spec: Any, identity: Identity) -> Backend:
        """Return the backend of a store's spec (api SecretStoreSpec), logging in lazily.

        Raises:
            Misconfigured: the provider is unknown, or its spec cannot work.
        """
        ...

    async def open_generator(self, ref: StoreRef, spec: Any, identity: Identity) -> Leaser:
        """Return the leaser of a generator's spec (api VaultDynamicSecretSpec)."""
        ...

    async def keeper(self, connection: Connection) -> Keeper:
        """Return the keeper of a backend."""
        ...

    async def close(self) -> None:
        """Log out where no lease hangs on the login, close connections."""
        ...


# ------------------------------------------------------------------------------------------------------------ cluster


class Secrets(Protocol):
    """Reads and writes target Secrets. Errors: Conflict (409), Denied (403: names verb and resource), Misconfigured
    (400/422: immutable, invalid), Unavailable (5xx, 429, unreachable), Missing (404 on a write)."""

    async def get(self, namespace: str, name: str) -> LiveSecret | None:
        """Return the Secret with its data, or None."""
        ...

    async def create(self, wanted: WantedSecret) -> Written:
        """POST it; Conflict where it exists."""
        ...

    async def replace(self, wanted: WantedSecret) -> Written:
        """PUT it at exactly ``wanted.resource_version``; Conflict where it has moved."""
        ...

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly that object (uid precondition); gone already is success."""
        ...


class Objects(Protocol):
    """Writes to custom resources: status by one merge-patch."""

    async def patch_status(self, key: Key, patch: Mapping[str, Any]) -> None:
        """Merge-patch the status subresource; an object that is gone is success."""
        ...


class Workloads(Protocol):
    """Reads and restarts workloads."""

    async def list(self, namespace: str) -> Sequence[Workload]:
        """Return all Deployments, StatefulSets and DaemonSets of the namespace."""
        ...

    async def get(self, ref: WorkloadRef) -> Workload | None:
        """Return one workload, or None."""
        ...

    async def annotate(self, workload: Workload, annotations: Mapping[str, str]) -> None:
        """Set pod-template annotations under our own field manager, which restarts the workload."""
        ...


class Records(Protocol):
    """Lease records, one Secret each in the operator's own namespace; held in memory once loaded."""

    def get(self, uid: str) -> LeaseRecord | None:
        """Return the record of the ExternalSecret with that uid, from memory."""
        ...

    def all(self) -> Collection[LeaseRecord]:
        """Return every record."""
        ...

    async def save(self, record: LeaseRecord) -> None:
        """Write the record; memory follows only when the API server has it."""
        ...

    def note(self, record: LeaseRecord) -> None:
        """Replace the record in memory only: renewed times, which the status shows and a restart looks up."""
        ...

    async def delete(self, uid: str) -> None:
        """Remove the record; gone already is success."""
        ...


class Events(Protocol):
    """Emits Kubernetes Events; never raises, never blocks a pass."""

    def emit(self, key: Key, *, uid: str, reason: EventReason, message: str, warning: bool = False) -> None:
        """Queue one event about the object."""
        ...


class Signals(Protocol):
    """Figures for those who watch the operator (telemetry.metrics); never raises, never blocks."""

    def pass_ended(self, key: Key, *, seconds: float, result: str) -> None:
        """Count one pass that asked the backend: its duration, and ``ok`` or the class of its error."""
        ...

    def conditions_set(self, key: Key, statuses: Mapping[str, str]) -> None:
        """Show the object's conditions: type -> True, False, Unknown."""
        ...

    def refreshed(self, key: Key, at: float) -> None:
        """Show the time of the last good read."""
        ...

    def leases_set(self, key: Key, expiries: Mapping[str, float]) -> None:
        """Show when the leases of the object end (source -> seconds since the epoch), and only these."""
        ...

    def lease_renewed(self, result: str) -> None:
        """Count a renewal by its result: ok | capped | gone | failed …"""
        ...

    def lease_minted(self, reason: str) -> None:
        """Count a mint by its reason."""
        ...

    def rollout_ended(self, result: str) -> None:
        """Count a workload's restart that has ended: complete | failed."""
        ...

    def forget(self, key: Key) -> None:
        """Remove every series of an object that is gone."""
        ...


class View(Protocol):
    """What we last heard of the cluster: no I/O."""

    def external_secret(self, key: Key) -> ExternalSecret | None:
        """Return the ExternalSecret, parsed.

        Raises:
            leasehold.api.parse.Invalid: it does not parse.
        """
        ...

    def external_secrets(self, namespace: str) -> Sequence[Key]:
        """Return the keys of all ExternalSecrets of a namespace."""
        ...

    def store(self, kind: str, namespace: str, name: str) -> SecretStore | ClusterSecretStore | None:
        """Return the store, parsed (``namespace`` is ignored for a ClusterSecretStore)."""
        ...

    def generator(self, kind: str, namespace: str, name: str) -> VaultDynamicSecret | None:
        """Return the generator, parsed."""
        ...

    def target(self, namespace: str, name: str) -> Target | None:
        """Return what is known of a Secret that carries the managed label; None says nothing of unlabelled ones."""
        ...

    def targets_created_by(self, namespace: str, created_by: str) -> Sequence[tuple[str, Target]]:
        """Return name and facts of the Secrets whose created-by label is that."""
        ...

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace (for conditions of a ClusterSecretStore), or None when unknown."""
        ...

    def heard(self, kind: str) -> bool:
        """Tell whether the first list of that kind has been heard to its end."""
        ...
