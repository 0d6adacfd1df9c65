"""A Vault store or generator, opened under one identity: reads, mints, and tells whether it works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from leasehold.domain.errors import Conflict, Denied, DomainError
from leasehold.domain.ports import Connection, Document, Grant, MintRequest, Owner, Remote, Verdict
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault import kv, lease
from leasehold.providers.vault.adapter import client
from leasehold.providers.vault.auth import refers_to_namespace
from leasehold.providers.vault.errors import Deed, Trouble, explain
from leasehold.providers.vault.keeper import OwnerTokens
from leasehold.providers.vault.session import Session

SHORTEST = 1
"""Least seconds that a renewal can set: 0 would mean the role's default."""


class VaultStore:
    """Implements `Reader`, `Leaser` and `Checker` of `domain.ports` on one session."""

    def __init__(self, session: Session, *, owners: OwnerTokens | None, cluster_wide: bool) -> None:
        """Take the session; ``owners`` keeps owner tokens where the operator has no identity of its own.

        ``cluster_wide`` is true of a ClusterSecretStore.
        """
        self._session, self._owners, self._cluster_wide = session, owners, cluster_wide
        self._engines: dict[str, str] = {}
        self._leased: set[str] = set()

    # ------------------------------------------------------------------------------------------------------- reading

    async def read(self, remotes: Collection[Remote]) -> Mapping[Remote, Document | DomainError]:
        """Read each remote once, concurrently."""
        wanted = tuple(dict.fromkeys(remotes))
        if len(wanted) == 1:  # by far the most: no task for it
            return {wanted[0]: await self._read(wanted[0])}
        answers = await asyncio.gather(*(self._read(remote) for remote in wanted))
        return dict(zip(wanted, answers, strict=True))

    async def _read(self, remote: Remote) -> Document | DomainError:
        provider = self._session.plan.provider
        try:
            path = kv.request_path(provider, remote)
            version = "" if remote.metadata else remote.version
            answer = await self._session.call(lambda vault: kv.read(vault, path, version=version), path=path)
            if answer.get("lease_id"):
                await self._refuse_lease(path, SecretBytes(str(answer["lease_id"])))
            return kv.document(provider, remote, answer, path=path)
        except DomainError as error:
            return error

    async def _refuse_lease(self, path: str, lease_id: SecretBytes) -> None:
        """End a lease that an ordinary read has made, and have the path minted from now on.

        The read's token is shared, so the lease has no owner of its own and nobody would renew it; it is ended at
        once, and the next look takes the way of leases, because `leases` knows better by then.

        Raises:
            Conflict: always.
        """
        self._leased.add(path)
        with contextlib.suppress(DomainError):  # then it ends with its own TTL, or with the session
            await self._session.call(
                lambda vault: vault.sys.renew_lease(lease_id, SHORTEST), path="sys/leases/renew", lane="lease"
            )
        raise Conflict("the read gave a lease", path=path, remedy="it is minted as a lease from now on")

    # ------------------------------------------------------------------------------------------------------- leasing

    @property
    def connection(self) -> Connection:
        """How a keeper reaches this server later; its authorities are known after the first call."""
        return self._session.connection

    async def leases(self, remote: Remote) -> bool:
        """Tell whether the engine behind the remote is other than KV. A v2 store reads nothing else."""
        provider = self._session.plan.provider
        if provider.version == "v2" or remote.metadata:
            return False
        path = kv.data_path(remote.path, mount=provider.path, version=provider.version)
        if path in self._leased:
            return True
        engine = next((kind for mount, kind in self._engines.items() if f"{path}/".startswith(mount)), None)
        return (engine or await self._engine(path)) not in kv.KV_ENGINES

    async def _engine(self, path: str) -> str:
        """Return the engine type of the mount of a path, and remember it."""
        url = f"/v1/sys/internal/ui/mounts/{quote(path)}"
        try:
            answer = await self._session.call(lambda vault: vault.adapter.get(url), path=path)
        except Denied:
            return "kv"  # no right at all on the path: the read will say so, and it mints nothing
        data = answer.get("data") or {}
        mount, kind = str(data.get("path") or ""), str(data.get("type") or "kv")
        if mount:
            self._engines[mount if mount.endswith("/") else f"{mount}/"] = kind
        return kind

    async def login_owner(self) -> Owner:
        """Log in afresh, so that one mint hangs on one token."""
        login = await self._session.own_lease()
        assert login.token is not None
        return Owner(accessor=login.accessor, ttl=login.ttl, renewable=login.renewable, token=login.token)

    async def mint(self, owner: Owner, request: MintRequest) -> Grant:
        """Send the request once, with the owner's token, on a connection of its own.

        Raises:
            DomainError: as `Leaser.mint` says.
        """
        line = await self._session.line()
        vault = client(line, lane="mint", namespace=self._session.plan.provider.namespace or "")
        vault.adapter.token = owner.token
        return await lease.mint(vault, request, address=line.address)

    async def drop_owner(self, owner: Owner) -> None:
        """Forget the token; without an operator identity keep it, by its accessor."""
        if self._owners is not None and owner.accessor:
            self._owners.keep(self.connection, owner)

    # ------------------------------------------------------------------------------------------------------ checking

    async def check(self) -> Verdict:
        """Log in, or look whether the login still lives.

        Raises:
            DomainError: unreachable, denied or misconfigured.
        """
        plan = self._session.plan
        if self._cluster_wide and not plan.identity.namespace and refers_to_namespace(plan.provider):
            return Verdict.UNKNOWN  # whom to log in as is known only with an ExternalSecret
        if plan.provider.auth is None:
            line = await self._session.line()
            await self._alive(client(line), address=line.address)
            return Verdict.VALID
        tokens = await self._session.tokens()
        await tokens.ensure()
        try:
            await self._session.call(lambda vault: vault.auth.token.lookup_self(), path="auth/token/lookup-self")
        except Denied:
            # a token that may not look at itself is alive all the same; a dead one has led to a login before
            if tokens.login is None:
                raise
        return Verdict.VALID

    @staticmethod
    async def _alive(vault: Any, *, address: str) -> None:
        try:
            await vault.sys.read_health_status(method="GET", standby_ok=True)
        except Trouble as trouble:
            raise explain(trouble, Deed(address, "sys/health")) from None

    async def close(self) -> None:
        """Log out."""
        await self._session.close()
