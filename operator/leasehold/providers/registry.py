"""Which provider a store names, and the sessions of all of them: one per store, generation and identity.

The only module that names every provider. Sessions log in at their first call; those of an old generation, and those
that nobody has used for a while, are logged out.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

from leasehold.api.generators import VaultDynamicSecretSpec
from leasehold.api.meta import RetrySettings
from leasehold.api.stores import SecretStoreSpec, provider_name
from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Backend, Clock, Connection, Credentials, Identity, Keeper, Leaser, StoreRef
from leasehold.providers.fake import FakeStore

if TYPE_CHECKING:
    from leasehold.providers.vault.store import VaultStore
    from leasehold.providers.vault.vaults import Vaults

_B = TypeVar("_B", bound="VaultStore | FakeStore")
IDLE = 900.0
"""Seconds without use after which a session is logged out."""
SUPERSEDED = 150.0
"""The same for a session of an older generation of its store; longer than a mint under way can last."""
SWEEP_EVERY = 30.0
"""Seconds between two looks for such sessions."""
CLOSING = 5.0
"""Seconds that logging out may take altogether."""
SUPPORTED = ("vault", "fake")

CredentialsFactory: TypeAlias = Callable[[StoreRef, Any, Identity], Credentials]
_NOBODY = StoreRef("", "", "")


@dataclass(frozen=True, slots=True)
class OperatorIdentity:
    """The operator's own identity at Vault servers; its audience is applied by `Credentials.operator_token`."""

    mount: str = "kubernetes"
    role: str = ""
    audience: str = ""


class Observe(Protocol):
    """Counts one call to a backend."""

    def __call__(self, provider: str, call: str, status: str, seconds: float) -> None:
        """Take ESO's names of provider and call, success or error, and how long it took."""
        ...


def _ignore(provider: str, call: str, status: str, seconds: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Habits:
    """What the calls of all providers have in common."""

    concurrency: int = 16
    """Calls at once to one backend address, in each lane."""
    observe: Observe = _ignore
    correlation: Callable[[], str] = str
    """Returns the identifier of the pass under way, for a header that backends audit."""
    vault: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of `providers.vault.vaults.Habits`: the transport and the time limits, for tests."""


@dataclass(slots=True)
class _Open:
    backend: VaultStore | FakeStore
    used: float


class Registry:
    """Implements `domain.ports.Registry`."""

    def __init__(
        self,
        credentials: CredentialsFactory,
        *,
        clock: Clock,
        operator: OperatorIdentity | None = None,
        habits: Habits | None = None,
    ) -> None:
        """Take how references are resolved; without ``operator`` leases are kept from memory."""
        self._credentials, self._clock = credentials, clock
        self._operator, self._habits = operator, habits or Habits()
        self._open: dict[tuple[StoreRef, Identity], _Open] = {}
        self._vaults: Vaults | None = None
        self._swept = clock.monotonic()

    async def open(self, ref: StoreRef, spec: Any, identity: Identity) -> Backend:
        """Return the backend of a store, opened before or now.

        Raises:
            Misconfigured: the provider is not supported, or its description cannot work.
        """
        assert isinstance(spec, SecretStoreSpec)
        name = provider_name(spec)
        if spec.provider.vault is not None:
            return await self._vault(ref, spec.provider.vault, spec.retry_settings, identity, spec)
        if spec.provider.fake is not None:
            return await self._session(ref, identity, functools.partial(FakeStore, spec.provider.fake))
        raise Misconfigured(
            f"provider {name} is not supported by this version",
            path=f"spec.provider.{name}",
            remedy=f"use one of {', '.join(SUPPORTED)}, or leave the store to another controller class",
        )

    async def open_generator(self, ref: StoreRef, spec: Any, identity: Identity) -> Leaser:
        """Return who mints for a generator."""
        if not isinstance(spec, VaultDynamicSecretSpec):
            raise Misconfigured(
                "this kind of generator mints no lease", path="sourceRef.generatorRef", remedy="use VaultDynamicSecret"
            )
        return await self._vault(ref, spec.provider, spec.retry_settings, identity, spec)

    async def _vault(
        self, ref: StoreRef, provider: VaultProvider, retry: RetrySettings | None, identity: Identity, spec: Any
    ) -> VaultStore:
        from leasehold.providers.vault.vaults import narrow

        cluster_wide = ref.kind == "ClusterSecretStore"
        identity = narrow(provider, identity, cluster_wide=cluster_wide)

        def make() -> VaultStore:
            return self._vault_house().open(
                provider,
                retry,
                identity=identity,
                credentials=self._credentials(ref, spec, identity),
                cluster_wide=cluster_wide,
            )

        return await self._session(ref, identity, make)

    def _vault_house(self) -> Vaults:
        """Return the one house of all Vault servers; hvac is imported with the first."""
        from leasehold.providers.vault.vaults import Habits as VaultHabits
        from leasehold.providers.vault.vaults import OperatorLogin, Vaults

        if self._vaults is None:
            login = None
            if self._operator is not None and self._operator.role:
                who = self._credentials(_NOBODY, None, Identity(namespace=""))
                login = OperatorLogin(self._operator.mount, self._operator.role, who)
            habits = VaultHabits(
                clock=self._clock,
                concurrency=self._habits.concurrency,
                observe=self._habits.observe,
                correlation=self._habits.correlation,
                **self._habits.vault,
            )
            self._vaults = Vaults(habits, operator=login)
        return self._vaults

    async def keeper(self, connection: Connection) -> Keeper:
        """Return who keeps the leases of a connection: so far every one is a Vault's."""
        return self._vault_house().keeper(connection)

    async def _session(self, ref: StoreRef, identity: Identity, make: Callable[[], _B]) -> _B:
        await self._sweep()
        now = self._clock.monotonic()
        key = (ref, identity)
        held = self._open.get(key)
        if held is None:
            held = self._open[key] = _Open(make(), now)
        held.used = now
        return cast("_B", held.backend)  # a reference names one object, and that one provider

    async def _sweep(self) -> None:
        now = self._clock.monotonic()
        if now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        newest: dict[tuple[StoreRef, Identity], float] = {}
        for (ref, identity), held in self._open.items():
            name = (replace(ref, uid="", generation=0), identity)
            newest[name] = max(newest.get(name, held.used), held.used)
        idle = [
            key
            for key, held in self._open.items()
            if now - held.used >= IDLE
            or (now - held.used >= SUPERSEDED and held.used < newest[replace(key[0], uid="", generation=0), key[1]])
        ]
        await self._close([self._open.pop(key) for key in idle])

    async def _close(self, sessions: list[_Open]) -> None:
        """Log out of sessions, all at once and not for long: a token that is not revoked ends by itself."""
        stores = [held.backend for held in sessions if not isinstance(held.backend, FakeStore)]
        if not stores:
            return
        try:
            async with asyncio.timeout(CLOSING):
                await asyncio.gather(*(store.close() for store in stores), return_exceptions=True)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Log out where no lease hangs on the login, close connections."""
        sessions, self._open = list(self._open.values()), {}
        await self._close(sessions)
        if self._vaults is not None:
            await self._vaults.close()
            self._vaults = None
