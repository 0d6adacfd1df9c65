"""A backend of leases with memory: what mints, renews and ends them, and what it answers when it fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from leasehold.domain.errors import Denied, DomainError, Unavailable
from leasehold.domain.ports import Connection, Grant, Handle, LeaseOutcome, MintRequest, Owner, Renewal
from leasehold.domain.values import SecretBytes
from tests.worlds.clock import ManualClock

DENIED = Denied("it is refused")
DOWN = Unavailable("it does not answer")


class Surroundings(Protocol):
    """What the two ways to the backend need to know of the world."""

    backend: Backend
    store_answers_are_leased: bool

    async def call(self, name: str, effect: Callable[[], Any]) -> Any:
        """Let a call take effect."""
        ...


@dataclass
class Held:
    """One lease in the backend."""

    owner: str
    issued: float
    ends: float


@dataclass
class Backend:
    """Mints, renews and ends leases; owners end them too."""

    clock: ManualClock
    ttl: float = 20.0
    max_ttl: float = 60.0
    period: float = 40.0
    batch: bool = False
    leaseless: bool = False
    """Answers are values and no leases, as those of pki."""
    leases: dict[str, Held] = field(default_factory=dict)
    owners: dict[str, float] = field(default_factory=dict)
    mints: int = 0
    failures: dict[str, DomainError] = field(default_factory=dict)
    """Method -> what it answers from now on."""
    ids: Any = field(default_factory=itertools.count)

    def fail(self, method: str) -> None:
        """Raise what the method answers for now."""
        if method in self.failures:
            raise self.failures[method]

    def owned(self, accessor: str) -> bool:
        """Tell whether an owner lives."""
        return self.owners.get(accessor, 0.0) > self.clock.now()

    def lives(self, lease_id: str) -> bool:
        """Tell whether a lease, and with it its credential, works."""
        held = self.leases.get(lease_id)
        now = self.clock.now()
        return held is not None and min(held.ends, held.issued + self.max_ttl) > now and self.owned(held.owner)

    def living(self) -> set[str]:
        """Return the leases that work."""
        return {lease_id for lease_id in self.leases if self.lives(lease_id)}


class Page:
    """A document with one member."""

    def __init__(self, path: str) -> None:
        self._path = path

    def value(self, property_path: str) -> SecretBytes:
        """Return the path."""
        return SecretBytes(self._path)

    def entries(self, property_path: str) -> Mapping[str, SecretBytes]:
        """Return the path as a member."""
        return {"path": SecretBytes(self._path)}


class FakeLeaser:
    """A tenant's way to the backend."""

    def __init__(self, world: Surroundings) -> None:
        self._world, self._backend = world, world.backend

    @property
    def connection(self) -> Connection:
        """Where the backend is."""
        return Connection("http://vault:8200")

    async def leases(self, remote: object) -> bool:
        """Tell whether store reads mint, as the test says."""
        return self._world.store_answers_are_leased

    async def read(self, remotes: Collection[Any]) -> Mapping[Any, Any]:
        """Return a document that says where it stands."""
        return {remote: Page(remote.path) for remote in remotes}

    async def login_owner(self) -> Owner:
        """Log in afresh."""
        backend = self._backend

        def effect() -> Owner:
            backend.fail("login_owner")
            accessor = f"accessor-{next(backend.ids)}"
            backend.owners[accessor] = backend.clock.now() + backend.period
            shown = "" if backend.batch else accessor
            return Owner(SecretBytes(shown), backend.period, not backend.batch, SecretBytes(f"token of {accessor}"))

        return await self._world.call("login_owner", effect)

    async def mint(self, owner: Owner, request: MintRequest) -> Grant:
        """Make a credential whose password is the id of its lease."""
        backend = self._backend

        def effect() -> Grant:
            backend.fail("mint")
            now, accessor = backend.clock.now(), owner.token.reveal().decode().removeprefix("token of ")
            lease_id = f"{request.path}/{next(backend.ids)}"
            backend.mints += 1
            backend.leases[lease_id] = Held(accessor, now, now + backend.ttl)
            backend.fail("mint unanswered")
            secret = SecretBytes(lease_id)
            if backend.leaseless:
                del backend.leases[lease_id]
                return Grant({"password": secret}, SecretBytes(b""), 0.0, renewable=False)
            return Grant({"username": SecretBytes("v-app"), "password": secret}, secret, backend.ttl, renewable=True)

        return await self._world.call("mint", effect)

    async def drop_owner(self, owner: Owner) -> None:
        """Forget the token."""
        await self._world.call("drop_owner", lambda: None)


class FakeKeeper:
    """The operator's own way to the backend."""

    def __init__(self, world: Surroundings) -> None:
        self._world, self._backend = world, world.backend

    async def renew(self, handle: Handle, increment: float) -> Renewal:
        """Move the end of a lease."""
        backend, lease_id = self._backend, handle.lease_id.reveal().decode()

        def effect() -> Renewal:
            backend.fail("renew")
            if not backend.lives(lease_id):
                return Renewal(LeaseOutcome.GONE)
            held, now = backend.leases[lease_id], backend.clock.now()
            ttl = min(increment, held.issued + backend.max_ttl - now)
            held.ends = now + ttl
            return Renewal(LeaseOutcome.ALIVE, ttl, capped=ttl < increment - 1)

        return await self._world.call("renew", effect)

    async def look_up(self, handle: Handle) -> Renewal:
        """Return what is left."""
        backend, lease_id = self._backend, handle.lease_id.reveal().decode()

        def effect() -> Renewal:
            backend.fail("look_up")
            if not backend.lives(lease_id):
                return Renewal(LeaseOutcome.GONE)
            held = backend.leases[lease_id]
            return Renewal(LeaseOutcome.ALIVE, min(held.ends, held.issued + backend.max_ttl) - backend.clock.now())

        return await self._world.call("look_up", effect)

    async def renew_owner(self, handle: Handle) -> Renewal:
        """Move the end of an owner."""
        backend, accessor = self._backend, handle.owner.reveal().decode()

        def effect() -> Renewal:
            backend.fail("renew_owner")
            if not backend.owned(accessor):
                return Renewal(LeaseOutcome.OWNERLESS)
            backend.owners[accessor] = backend.clock.now() + backend.period
            return Renewal(LeaseOutcome.ALIVE, backend.period)

        return await self._world.call("renew_owner", effect)

    async def look_up_owner(self, handle: Handle) -> Renewal:
        """Return what is left of an owner."""
        left = self._backend.owners.get(handle.owner.reveal().decode(), 0.0) - self._backend.clock.now()
        return Renewal(LeaseOutcome.ALIVE, left) if left > 0 else Renewal(LeaseOutcome.OWNERLESS)

    async def revoke_owner(self, handle: Handle) -> None:
        """End an owner and its leases; without an accessor the lease alone."""
        backend, accessor = self._backend, handle.owner.reveal().decode()

        def effect() -> None:
            backend.fail("revoke_owner")
            backend.owners.pop(accessor, None)
            backend.leases.pop(handle.lease_id.reveal().decode(), None)

        await self._world.call("revoke_owner", effect)
