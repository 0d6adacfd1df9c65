"""One store under one identity: the line, resolved once, and the login on it. Every call of a backend passes here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from leasehold.api import duration
from leasehold.api.meta import RetrySettings
from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.errors import DomainError, Misconfigured
from leasehold.domain.ports import Connection, Credentials, Identity
from leasehold.providers.vault import wiring
from leasehold.providers.vault.adapter import Line
from leasehold.providers.vault.auth import Door
from leasehold.providers.vault.errors import Why, concerns_tls
from leasehold.providers.vault.tokens import Login, Patience, Tokens
from leasehold.providers.vault.transport import Wiring, address_of

_T = TypeVar("_T")

MOST_RETRIES = 5
"""Cap on retrySettings.maxRetries: what lasts longer is the due-queue's to repeat."""
LONGEST_PAUSE = 10.0
"""Cap on retrySettings.retryInterval, in seconds, for the same reason."""


class Exchange(Protocol):
    """Gives shared lines and takes them back."""

    def dial(self, wired: Wiring, *, base: str, headers: dict[str, str]) -> Line:
        """Return a line on the connections and the circuit that all stores of this wiring share."""
        ...

    async def hang_up(self, line: Line) -> None:
        """Close the connections of a line if nobody else has one on them."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store or generator says, as far as a session needs it."""

    provider: VaultProvider
    retry: RetrySettings | None
    identity: Identity


def patience(retry: RetrySettings | None) -> Patience:
    """Return how passing failures are repeated; as in ESO, settings without maxRetries mean none.

    Raises:
        Misconfigured: the interval is no duration.
    """
    if retry is None:
        return Patience()
    pause = Patience().pause
    if retry.retry_interval:
        try:
            pause = duration.parse(retry.retry_interval)
        except ValueError as error:
            raise Misconfigured(
                f"retryInterval {error}", path="retrySettings.retryInterval", remedy="write it as 5s"
            ) from None
    return Patience(min(max(retry.max_retries or 0, 0), MOST_RETRIES), min(max(pause, 0.0), LONGEST_PAUSE))


class Session:
    """The line and the login of one store and identity; both are made at the first call."""

    def __init__(self, plan: Plan, *, credentials: Credentials, exchange: Exchange) -> None:
        """Check what can be checked without asking anybody.

        Raises:
            Misconfigured: the description cannot work.
        """
        self.plan = plan
        self._credentials, self._exchange = credentials, exchange
        self.door = Door(plan.provider, credentials=credentials, identity=plan.identity)
        self._patience = patience(plan.retry)
        self._address, self._base = address_of(plan.provider.server)
        self._headers = dict(wiring.headers_of(plan.provider))
        self._lock = asyncio.Lock()
        self._line: Line | None = None
        self._tokens: Tokens | None = None
        self._ca_pem = ""
        self._presents = False

    @property
    def connection(self) -> Connection:
        """How a keeper reaches the same server later."""
        provider = self.plan.provider
        return Connection(provider.server, provider.namespace or "", self._ca_pem, dict(self._headers))

    async def line(self) -> Line:
        """Return the line, after the server has shown that it heeds the namespace, if one is named.

        Raises:
            DomainError: a reference cannot be resolved, the server does not answer or ignores namespaces.
        """
        if self._line is not None:
            return self._line
        async with self._lock:
            if self._line is None:
                wired = await wiring.resolve(self.plan.provider, self._credentials)
                line = self._exchange.dial(wired, base=self._base, headers=self._headers)
                try:
                    if wiring.namespaced(self.plan.provider):
                        await wiring.refuse_ignored_namespace(line)
                except BaseException:
                    await self._exchange.hang_up(line)
                    raise
                self._ca_pem, self._line, self._presents = wired.ca_pem, line, bool(wired.certificate)
                patience = self._patience
                if self._presents:  # a lost answer may be a refusal of this certificate
                    patience = replace(patience, shared=patience.shared - {Why.LOST})
                self._tokens = Tokens(
                    line, self._log_in, namespace=self.plan.provider.namespace or "", patience=patience
                )
        return self._line

    async def call(self, ask: Callable[[Any], Awaitable[_T]], *, path: str, lane: str = "read") -> _T:
        """Run a call that may be repeated, logged in.

        Raises:
            DomainError: it failed.
        """
        tokens = await self.tokens()
        return await self._unless_untrusted(lambda: tokens.told(ask, path=path, lane=lane))

    async def tokens(self) -> Tokens:
        """Return the login's keeper, not necessarily logged in yet."""
        await self.line()
        assert self._tokens is not None
        return self._tokens

    async def own_lease(self) -> Login:
        """Log in for one mint."""
        line = await self.line()
        return await self._unless_untrusted(lambda: self.door.own_lease(line))

    async def _log_in(self) -> Login:
        return await self.door.log_in(await self.line())

    async def _unless_untrusted(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run the work; a failure that may lie in certificates makes the next call resolve them afresh."""
        try:
            return await work()
        except DomainError as error:
            if concerns_tls(error, presented=self._presents):
                await self._hang_up()
            raise

    async def _hang_up(self) -> None:
        line, self._line, self._tokens = self._line, None, None
        if line is not None:
            await self._exchange.hang_up(line)

    async def close(self) -> None:
        """Log out."""
        if self._tokens is not None:
            await self._tokens.revoke()
        await self._hang_up()
