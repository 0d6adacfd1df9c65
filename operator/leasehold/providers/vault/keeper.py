"""Keeps and ends leases from the record alone: by the operator's own identity, or, for want of one, from memory.

The operator's identity renews owners by accessor, so a restart is no special path (`docs/explanation/leases.md`).
Without it the tokens of owners are kept in this process only; what was minted before a restart is answered with
UNKEPT and replaced once, as planned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from leasehold.domain.errors import Denied, Misconfigured
from leasehold.domain.ports import Connection, Handle, LeaseOutcome, Owner, Renewal
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.adapter import Line, client
from leasehold.providers.vault.errors import VERDICTS, Deed, Trouble, Why, explain
from leasehold.providers.vault.tokens import Login, Tokens

_POLICY = "`leasehold policy` prints what the operator's role must allow"
_UNKEPT = Renewal(LeaseOutcome.UNKEPT)
_DEAD = SecretBytes(b"")
NEVER = 10 * 365 * 86_400.0
"""Seconds said of a token that does not end: a number that can be stored and compared."""
MOST_OWNERS = 100_000
"""Owner tokens kept at most; each is a hundred bytes."""


def connection_key(connection: Connection) -> tuple[object, ...]:
    """Return what tells connections apart."""
    return connection.server, connection.namespace, connection.ca_pem, tuple(sorted(connection.headers.items()))


def _asked(increment: float) -> int:
    # 0 would mean the role's default, half a second is refused
    return max(int(increment), 1)


async def _renew(vault: Any, handle: Handle, increment: float) -> Renewal:
    asked = _asked(increment)
    answer = await vault.sys.renew_lease(handle.lease_id, asked)
    granted = float(answer.get("lease_duration") or 0)
    return Renewal(LeaseOutcome.ALIVE, granted, capped=granted < asked - 1)


async def _look_up(vault: Any, handle: Handle) -> Renewal:
    data = (await vault.sys.read_lease(handle.lease_id)).get("data") or {}
    left = float(data.get("ttl") or 0)
    if left <= 0 and not data.get("renewable"):
        return Renewal(LeaseOutcome.GONE)  # its revocation is queued, or was given up
    return Renewal(LeaseOutcome.ALIVE, max(left, 0.0))


def _owner_alive(part: Mapping[str, Any], field: str) -> Renewal:
    left = float(part.get(field) or 0)
    return Renewal(LeaseOutcome.ALIVE, left if left > 0 else NEVER)


class OperatorKeeper:
    """A `domain.ports.Keeper` that renews by accessor as the operator itself."""

    def __init__(self, line: Line, log_in: Callable[[], Awaitable[Login]], *, namespace: str) -> None:
        """Take the line and how the operator logs in there."""
        self._line = line
        self._tokens = Tokens(line, log_in, namespace=namespace)

    async def renew(self, handle: Handle, increment: float) -> Renewal:
        """Ask for so many seconds from now; a small number shortens."""
        return await self._ask(lambda vault: _renew(vault, handle, increment), path="sys/leases/renew")

    async def look_up(self, handle: Handle) -> Renewal:
        """Return what is left of the lease."""
        return await self._ask(lambda vault: _look_up(vault, handle), path="sys/leases/lookup", lane="read")

    async def renew_owner(self, handle: Handle) -> Renewal:
        """Renew the owner by its accessor; a batch owner has none and is FIXED."""
        if not handle.owner:
            return Renewal(LeaseOutcome.FIXED)

        async def ask(vault: Any) -> Renewal:
            return _owner_alive(
                (await vault.auth.token.renew_accessor(handle.owner)).get("auth") or {}, "lease_duration"
            )

        return await self._ask(ask, path="auth/token/renew-accessor")

    async def look_up_owner(self, handle: Handle) -> Renewal:
        """Return what is left of the owner."""
        if not handle.owner:
            return Renewal(LeaseOutcome.FIXED)

        async def ask(vault: Any) -> Renewal:
            return _owner_alive((await vault.auth.token.lookup_accessor(handle.owner)).get("data") or {}, "ttl")

        return await self._ask(ask, path="auth/token/lookup-accessor", lane="read")

    async def revoke_owner(self, handle: Handle) -> None:
        """Revoke the owner; without an accessor the lease itself is ended."""
        if handle.owner:

            async def ask(vault: Any) -> Renewal:
                await vault.auth.token.revoke_accessor(handle.owner)
                return Renewal(LeaseOutcome.GONE)

            await self._ask(ask, path="auth/token/revoke-accessor")
        elif handle.lease_id:
            await self._end(handle)

    async def _end(self, handle: Handle) -> None:
        async def ask(vault: Any) -> Renewal:
            await vault.sys.revoke_lease(handle.lease_id)
            return Renewal(LeaseOutcome.GONE)

        try:
            await self._ask(ask, path="sys/leases/revoke")
        except Denied:
            # the policy line is optional; a lease of one second is as good
            await self.renew(handle, 1.0)

    async def _ask(self, ask: Callable[[Any], Awaitable[Renewal]], *, path: str, lane: str = "lease") -> Renewal:
        try:
            return await self._tokens.call(ask, lane=lane)
        except Trouble as trouble:
            return _verdict(trouble, Deed(self._line.address, path), remedy=_POLICY)

    async def close(self) -> None:
        """Log out; no lease hangs on this login."""
        await self._tokens.revoke()


def _verdict(trouble: Trouble, deed: Deed, *, remedy: str) -> Renewal:
    """Return the fate of the lease that the answer tells, or raise that there is none."""
    if trouble.why in VERDICTS:
        return Renewal(VERDICTS[trouble.why], capped=trouble.why is Why.MAXED)
    error = explain(trouble, deed)
    if isinstance(error, Denied):
        raise Denied(error.cause, path=error.path, remedy=remedy)
    if trouble.why is Why.ROLE:
        raise Misconfigured(
            f"the role behind the lease is gone from Vault at {deed.address}",
            path=deed.path,
            remedy="create it again, or the lease ends; it is replaced then",
        )
    raise error


class OwnerTokens:
    """Tokens of owners, by connection and accessor, where the operator has no identity of its own."""

    def __init__(self) -> None:
        """Start with none."""
        self._held: dict[tuple[tuple[object, ...], bytes], SecretBytes] = {}

    def keep(self, connection: Connection, owner: Owner) -> None:
        """Keep an owner's token."""
        if len(self._held) >= MOST_OWNERS:
            self._held.pop(next(iter(self._held)))
        self._held[connection_key(connection), owner.accessor.reveal()] = owner.token

    def get(self, connection: Connection, accessor: SecretBytes) -> SecretBytes | None:
        """Return the token of an owner that was minted for in this process."""
        return self._held.get((connection_key(connection), accessor.reveal()))

    def bury(self, connection: Connection, accessor: SecretBytes) -> None:
        """Drop a token that is revoked, and remember that it was."""
        self._held[connection_key(connection), accessor.reveal()] = _DEAD


class MemoryKeeper:
    """A `domain.ports.Keeper` that acts as each owner itself, as long as this process lives."""

    def __init__(self, line: Line, owners: OwnerTokens, *, connection: Connection) -> None:
        """Take the line, the tokens, and which connection they belong to."""
        self._line, self._owners, self._connection = line, owners, connection

    async def renew(self, handle: Handle, increment: float) -> Renewal:
        """Renew as the owner; UNKEPT where its token is not here."""
        return await self._ask(handle, lambda vault: _renew(vault, handle, increment), path="sys/leases/renew")

    async def look_up(self, handle: Handle) -> Renewal:
        """Look as the owner; UNKEPT where its token is not here."""
        return await self._ask(handle, lambda vault: _look_up(vault, handle), path="sys/leases/lookup")

    async def renew_owner(self, handle: Handle) -> Renewal:
        """Have the owner renew itself."""

        async def ask(vault: Any) -> Renewal:
            return _owner_alive((await vault.auth.token.renew_self()).get("auth") or {}, "lease_duration")

        return await self._ask(handle, ask, path="auth/token/renew-self")

    async def look_up_owner(self, handle: Handle) -> Renewal:
        """Have the owner look at itself."""

        async def ask(vault: Any) -> Renewal:
            return _owner_alive((await vault.auth.token.lookup_self()).get("data") or {}, "ttl")

        return await self._ask(handle, ask, path="auth/token/lookup-self")

    async def revoke_owner(self, handle: Handle) -> None:
        """Have the owner revoke itself.

        Raises:
            Denied: its token is not here: nobody can revoke it, and it ends by itself because nobody renews it.
        """

        async def ask(vault: Any) -> Renewal:
            await vault.auth.token.revoke_self()
            return Renewal(LeaseOutcome.GONE)

        answer = await self._ask(handle, ask, path="auth/token/revoke-self")
        if answer.outcome is LeaseOutcome.UNKEPT:
            raise Denied(
                f"nobody can revoke what was minted at Vault at {self._line.address} before the restart",
                path="auth/token/revoke-accessor",
                remedy="it ends by itself; give the operator a role (vault-operator-role) so that it can",
            )
        self._owners.bury(self._connection, handle.owner)

    async def _ask(self, handle: Handle, ask: Callable[[Any], Awaitable[Renewal]], *, path: str) -> Renewal:
        token = self._owners.get(self._connection, handle.owner) if handle.owner else None
        if token is None:
            return _UNKEPT
        if not token:
            return Renewal(LeaseOutcome.OWNERLESS)
        vault = client(self._line, lane="lease", namespace=self._connection.namespace)
        vault.adapter.token = token
        try:
            return await ask(vault)
        except Trouble as trouble:
            if trouble.why is Why.TOKEN:
                return Renewal(LeaseOutcome.OWNERLESS)
            return _verdict(
                trouble,
                Deed(self._line.address, path),
                remedy="let the tenant's role have the default policy, or give the operator a role of its own",
            )

    async def close(self) -> None:
        """Nothing is logged in."""
