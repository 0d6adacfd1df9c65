"""One login kept alive: single flight, renewed at two thirds of its life on use, made anew once when it has died.

Used for a store's session and for the operator's own identity alike. A failed login is told to everybody who waited
for it, and for a few seconds to whoever asks again, so that a wrong role costs one call and not one per object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from leasehold.domain.errors import Denied, DomainError, Misconfigured
from leasehold.domain.values import SecretBytes
from leasehold.providers.circuit import Down, again
from leasehold.providers.vault.adapter import Line, client
from leasehold.providers.vault.errors import PASSING, Deed, Trouble, Why, explain

_T = TypeVar("_T")

RENEW_AT = 2 / 3
"""Share of a token's life after which a use renews it."""
STALE_AT = 0.9
"""Share of the life of a token that cannot be renewed after which a use logs in afresh."""
HOLD = 3.0
"""Seconds for which a refused login is not tried again. Less than any pause between two looks of one object, which
would hear of the old refusal otherwise."""
SECOND_LOOK = 30.0
"""Least age of a login whose denial is checked by logging in afresh: policies of a role count at the login only."""
RETRIES = 2
"""How often a call that failed in passing is repeated, if retrySettings does not say otherwise."""
PAUSE = 0.2
"""Seconds before such a repetition."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a login gave. Times in seconds."""

    token: SecretBytes | None
    """None where the store names no login: an agent in between adds its own."""
    accessor: SecretBytes = field(default_factory=lambda: SecretBytes(b""))
    ttl: float = 0.0
    """0 for a token that does not end, or of which nothing is known."""
    renewable: bool = False
    ours: bool = True
    """False for a token that the user has stored: it is never revoked."""


def login_of(answer: dict[str, Any]) -> Login:
    """Return the login in the ``auth`` part of an answer."""
    auth = answer.get("auth") or {}
    token = auth.get("client_token")
    if not isinstance(token, str) or not token:
        raise Trouble(Why.GARBLED)
    return Login(
        token=SecretBytes(token),
        accessor=SecretBytes(auth.get("accessor") or ""),
        ttl=float(auth.get("lease_duration") or 0),
        renewable=bool(auth.get("renewable")) and auth.get("token_type") != "batch",
    )


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and after how many seconds a call that failed in passing is repeated (retrySettings)."""

    retries: int = RETRIES
    pause: float = PAUSE
    shared: frozenset[Why] = frozenset({Why.LOST, Why.STANDBY})
    """What concerns the address as a whole once it has outlasted the retries."""


class Tokens:
    """Holds the token of one identity and runs calls with it."""

    def __init__(
        self,
        line: Line,
        log_in: Callable[[], Awaitable[Login]],
        *,
        namespace: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Take the line, how to log in (raises DomainError), and the namespace of the calls."""
        self._line, self._log_in, self._patience = line, log_in, patience or Patience()
        self.reads = client(line, namespace=namespace)
        self.leases = client(line, lane="lease", namespace=namespace)
        self._lock = asyncio.Lock()
        self._login: Login | None = None
        self._since = 0.0
        self._life = 0.0
        self._quiet_until = 0.0
        self._failure: DomainError | None = None
        self._failed_at = 0.0
        self._failures = 0

    @property
    def login(self) -> Login | None:
        """The login that is held, None before the first and after a death."""
        return self._login

    async def call(self, ask: Callable[[Any], Awaitable[_T]], *, lane: str = "read") -> _T:
        """Run a call that may be repeated, with a live token; ``ask`` gets the hvac client of the lane.

        Raises:
            Trouble: Vault said no, or nothing.
            DomainError: the login failed, or the address is known to be down.
        """
        vault = self.leases if lane == "lease" else self.reads
        for renewed in (False, True):
            await self.ensure()
            try:
                return await self._patiently(lambda: ask(vault), lane=lane)
            except Trouble as trouble:
                if renewed or not self._worth_a_login(trouble):
                    raise
                self.forget()
        raise AssertionError("unreachable")

    async def told(self, ask: Callable[[Any], Awaitable[_T]], *, path: str, lane: str = "read") -> _T:
        """Run `call` and turn every Trouble into a DomainError about the path."""
        try:
            return await self.call(ask, lane=lane)
        except Trouble as trouble:
            raise explain(trouble, Deed(self._line.address, path)) from None

    async def _patiently(self, ask: Callable[[], Awaitable[_T]], *, lane: str = "read") -> _T:
        for left in range(self._patience.retries, -1, -1):
            try:
                return await ask()
            except Trouble as trouble:
                if trouble.why not in PASSING:
                    raise
                if not left:
                    self._tell_all(trouble, lane)
                    raise
            await self._line.clock.sleep(self._patience.pause)
        raise AssertionError("unreachable")

    def _tell_all(self, trouble: Trouble, lane: str) -> None:
        """Close the gate where what should have passed has not: the others need not find out by themselves."""
        patience = self._patience
        if lane == "read" and patience.retries and trouble.why in patience.shared:
            self._line.circuit.trip(Down(explain(trouble, Deed(self._line.address))))

    def _worth_a_login(self, trouble: Trouble) -> bool:
        if self._login is None or self._login.token is None:
            return False
        if trouble.why is Why.TOKEN:
            return True
        age = self._line.clock.monotonic() - self._since
        return trouble.why is Why.DENIED and age >= SECOND_LOOK

    def forget(self) -> None:
        """Drop the token: it is dead, or belongs to the past."""
        self._login = None
        self.reads.adapter.token = self.leases.adapter.token = None

    async def ensure(self) -> Login:
        """Return a login that lives, made or renewed if need be.

        Raises:
            DomainError: the login failed.
        """
        failures = self._failures
        if self._login is not None and not self._due(self._login):
            return self._login
        async with self._lock:
            if self._login is not None and not self._due(self._login):
                return self._login
            self._repeat_failure(failures)
            if self._login is not None and self._login.renewable and await self._renewed(self._login):
                return self._login
            return await self._anew()

    def _due(self, login: Login) -> bool:
        if not login.ttl:
            return False
        now = self._line.clock.monotonic()
        age = now - self._since
        if age >= login.ttl:
            return True
        return now >= self._quiet_until and age >= login.ttl * (RENEW_AT if login.renewable else STALE_AT)

    def _repeat_failure(self, failures: int) -> None:
        """Raise the last failure where it happened while the caller waited, or a moment ago."""
        if self._failure is None:
            return
        fresh = isinstance(self._failure, (Denied, Misconfigured)) and (
            self._line.clock.monotonic() - self._failed_at < HOLD
        )
        if fresh or self._failures != failures:
            raise again(self._failure)

    async def _renewed(self, login: Login) -> bool:
        """Renew the token; False where a login afresh is better."""
        now = self._line.clock.monotonic()
        if now - self._since >= login.ttl:
            return False
        try:
            fresh = login_of(await self._patiently(self.leases.auth.token.renew_self, lane="lease"))
        except Trouble as trouble:
            self._quiet_until = now + HOLD
            return not trouble.status or trouble.status >= 429  # no verdict: the token is good for a while
        except DomainError:
            self._quiet_until = now + HOLD
            return True
        if fresh.ttl < self._life / 2:
            return False  # near its maximum life
        self._take(Login(login.token, login.accessor, fresh.ttl, fresh.renewable, ours=login.ours))
        return True

    async def _anew(self) -> Login:
        self.forget()
        try:
            login = await self._log_in()
        except DomainError as error:
            self._failures += 1
            self._failure, self._failed_at = error, self._line.clock.monotonic()
            raise again(error) from None
        self._failure = None
        self._life = login.ttl
        self._take(login)
        return login

    def _take(self, login: Login) -> None:
        self._login, self._since = login, self._line.clock.monotonic()
        self.reads.adapter.token = self.leases.adapter.token = login.token

    async def revoke(self) -> None:
        """Log out, if the login is ours; a failure is no matter, the token ends by itself."""
        login = self._login
        if login is None or not login.ours or not login.accessor:
            return
        try:
            await self.reads.auth.token.revoke_self()
        except (Trouble, DomainError):
            return
        finally:
            self.forget()
