"""Who logs in and how: ESO's methods in ESO's order, and a workload's own account in place of the store's.

Credentials come from the flow's `Credentials` and go into one request; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from leasehold.api.meta import SecretKeySelector, ServiceAccountSelector
from leasehold.api.stores.vault import VaultAppRole, VaultAuth, VaultJwt, VaultProvider, VaultServiceAccountToken
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Credentials, Identity
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.adapter import Line, client
from leasehold.providers.vault.errors import Deed, Trouble, explain
from leasehold.providers.vault.tokens import Login, login_of

JWT_AUDIENCE = "vault"
"""ESO's default audience of a ServiceAccount's token for the jwt method."""
CHILD_TTL = "24h"
"""Life of the child token that owns a lease where the store has a token of its own."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login, ready to be made: what it is called in messages, and the request."""

    name: str
    """For example ``kubernetes login at auth/kubernetes, role app``."""
    ask: Callable[[Any], Awaitable[dict[str, Any]]]


class Door:
    """The login of one store under one identity."""

    def __init__(self, provider: VaultProvider, *, credentials: Credentials, identity: Identity) -> None:
        """Take the provider's description, who resolves its references, and who logs in.

        Raises:
            Misconfigured: the method is not supported, or cannot log in as a workload.
        """
        self._auth, self._credentials, self._identity = provider.auth, credentials, identity
        self._method = self._auth.method() if self._auth is not None else ""
        if self._auth is not None and self._method is None:
            raise Misconfigured("no login method", path="provider.vault.auth", remedy="set one, such as kubernetes")
        if self._method not in ("", "token", "appRole", "kubernetes", "userPass", "jwt", "cert"):
            raise Misconfigured(
                f"login method {self._method} is not supported by this version",
                path=f"provider.vault.auth.{self._method}",
                remedy="use token, appRole, kubernetes, userPass, jwt or cert",
            )
        if identity.service_account and not self.takes_workloads:
            raise Misconfigured(
                f"login method {self._method or 'none'} cannot log in as ServiceAccount {identity.service_account}",
                path="spec.identity.serviceAccountRef",
                remedy="use a store with kubernetes or jwt login, or remove spec.identity",
            )
        namespace = self._auth.namespace if self._auth is not None else None
        self.namespace = namespace if namespace is not None else provider.namespace or ""

    @property
    def takes_workloads(self) -> bool:
        """True where another ServiceAccount can take the place of the store's."""
        return self._method == "kubernetes" or (
            self._method == "jwt" and self._auth is not None and self._auth.jwt is not None
        )

    @property
    def static(self) -> bool:
        """True where the store holds a token, so that nobody logs in."""
        return self._method in ("", "token")

    async def log_in(self, line: Line) -> Login:
        """Log in afresh.

        Raises:
            DomainError: it was refused, Vault does not answer, or a reference cannot be resolved.
        """
        if self._auth is None:
            return Login(token=None, ours=False)
        vault = client(line, namespace=self.namespace)
        if self._auth.token_secret_ref is not None:
            return await self._stored(line, vault, self._auth.token_secret_ref)
        attempt = await self._attempt(self._auth)
        try:
            return login_of(await attempt.ask(vault))
        except Trouble as trouble:
            raise explain(trouble, Deed(line.address, login=attempt.name)) from None

    async def own_lease(self, line: Line) -> Login:
        """Log in for one mint, so that its lease hangs on a token of its own.

        A stored token cannot log in: a child of it owns the lease, or, where it may make none, the token itself; then
        the accessor is empty, because revoking it would revoke the user's own token.
        """
        if self._auth is None:
            raise Misconfigured(
                "a lease needs a login of its own", path="provider.vault.auth", remedy="set a login method"
            )
        if not self.static:
            return await self.log_in(line)
        parent = await self.log_in(line)
        vault = client(line, namespace=self.namespace)
        vault.adapter.token = parent.token
        try:
            return login_of(await vault.auth.token.create(ttl=CHILD_TTL, display_name="leasehold"))
        except Trouble as trouble:
            if trouble.status == 403:
                return Login(parent.token, ttl=parent.ttl, ours=False)
            raise explain(trouble, Deed(line.address, "auth/token/create")) from None

    async def _stored(self, line: Line, vault: Any, ref: SecretKeySelector) -> Login:
        """Return the token of the store, with what it says of its own life."""
        token = SecretBytes((await self._credentials.secret(ref)).reveal().strip())
        vault.adapter.token = token
        try:
            said = (await vault.auth.token.lookup_self()).get("data") or {}
        except Trouble as trouble:
            if trouble.status == 403 and trouble.why.value == "denied":
                return Login(token, ours=False)  # lives, and may not look at itself
            name = "token of provider.vault.auth.tokenSecretRef"
            raise explain(trouble, Deed(line.address, login=name)) from None
        return Login(token, ttl=float(said.get("ttl") or 0), renewable=bool(said.get("renewable")), ours=False)

    async def _attempt(self, auth: VaultAuth) -> Attempt:
        if auth.app_role is not None:
            return await self._app_role(auth.app_role)
        if auth.kubernetes is not None:
            return await self._kubernetes(auth)
        if auth.user_pass is not None:
            username, mount = auth.user_pass.username, auth.user_pass.path
            password = await self._secret(auth.user_pass.secret_ref, "userPass.secretRef")
            return Attempt(
                f"userPass login at auth/{mount}, user {username}",
                lambda vault: vault.auth.userpass.login(quote(username, safe=""), password, mount_point=mount),
            )
        if auth.jwt is not None:
            return await self._jwt(auth.jwt)
        if auth.cert is not None:
            mount, role = auth.cert.path, auth.cert.vault_role or ""
            # hvac's own method wants files; the certificate is in the transport
            return Attempt(
                f"cert login at auth/{mount}" + (f", role {role}" if role else ""),
                lambda vault: vault.adapter.login(
                    f"/v1/auth/{quote(mount)}/login", json={"name": role} if role else {}
                ),
            )
        raise Misconfigured("no login method", path="provider.vault.auth", remedy="set one, such as kubernetes")

    async def _app_role(self, spec: VaultAppRole) -> Attempt:
        if spec.role_id:
            role = SecretBytes(spec.role_id.strip())
        else:
            role = SecretBytes((await self._secret(spec.role_ref, "appRole.roleId or roleRef")).reveal().strip())
        secret = SecretBytes((await self._secret(spec.secret_ref, "appRole.secretRef")).reveal().strip())
        return Attempt(
            f"appRole login at auth/{spec.path}",
            lambda vault: vault.auth.approle.login(role, secret, mount_point=spec.path),
        )

    async def _kubernetes(self, auth: VaultAuth) -> Attempt:
        spec = auth.kubernetes
        assert spec is not None
        name = f"kubernetes login at auth/{spec.mount_path}, role {spec.role}"
        ref = spec.service_account_ref
        jwt = await self._workload(ref.audiences if ref is not None else ())
        if jwt is None and ref is not None:
            jwt = await self._credentials.account_token(ref, audiences=ref.audiences)
        elif jwt is None and spec.secret_ref is not None:
            jwt = await self._credentials.secret(spec.secret_ref, default_key="token")
        elif jwt is None:
            jwt = await self._credentials.operator_token()
        return Attempt(name, lambda vault: vault.auth.kubernetes.login(spec.role, jwt, mount_point=spec.mount_path))

    async def _jwt(self, spec: VaultJwt) -> Attempt:
        role = (spec.role or "").strip()
        account = spec.kubernetes_service_account_token
        audiences = _jwt_audiences(account)
        jwt = await self._workload(audiences)
        if jwt is None and spec.secret_ref is not None:
            jwt = await self._credentials.secret(spec.secret_ref, default_key="jwt")
        elif jwt is None and account is not None:
            jwt = await self._credentials.account_token(account.service_account_ref, audiences=audiences)
        elif jwt is None:
            raise Misconfigured(
                "no JWT to log in with",
                path="provider.vault.auth.jwt",
                remedy="set secretRef or kubernetesServiceAccountToken",
            )
        return Attempt(
            f"jwt login at auth/{spec.path}" + (f", role {role}" if role else ""),
            lambda vault: vault.auth.jwt.jwt_login(role, jwt, path=spec.path),
        )

    async def _workload(self, audiences: tuple[str, ...]) -> SecretBytes | None:
        """Return the JWT of the workload that logs in instead of the store's account, None where there is none."""
        if not self._identity.service_account:
            return None
        return await self._credentials.workload_token(audiences=self._identity.audiences or audiences)

    async def _secret(self, ref: SecretKeySelector | None, field: str) -> SecretBytes:
        if ref is None:
            raise Misconfigured("no Secret is named", path=f"provider.vault.auth.{field}", remedy="name one")
        return await self._credentials.secret(ref)


def _jwt_audiences(account: VaultServiceAccountToken | None) -> tuple[str, ...]:
    if account is None:
        return (JWT_AUDIENCE,)
    more = account.audiences if account.audiences is not None else (JWT_AUDIENCE,)
    return (*account.service_account_ref.audiences, *more)


def refers_to_namespace(provider: VaultProvider) -> bool:
    """Tell whether a reference names no namespace: a ClusterSecretStore then logs in anew for each namespace."""
    return any(ref.namespace is None for ref in _references(provider))


def _references(provider: VaultProvider) -> list[SecretKeySelector | ServiceAccountSelector]:
    found: list[SecretKeySelector | ServiceAccountSelector | None] = []
    if provider.tls is not None:
        found += [provider.tls.cert_secret_ref, provider.tls.key_secret_ref]
    auth = provider.auth
    if auth is not None:
        found.append(auth.token_secret_ref)
        if auth.app_role is not None:
            found += [auth.app_role.role_ref, auth.app_role.secret_ref]
        if auth.kubernetes is not None:
            found += [auth.kubernetes.service_account_ref, auth.kubernetes.secret_ref]
        if auth.user_pass is not None:
            found.append(auth.user_pass.secret_ref)
        if auth.jwt is not None:
            account = auth.jwt.kubernetes_service_account_token
            found += [auth.jwt.secret_ref, account.service_account_ref if account is not None else None]
        if auth.cert is not None:
            found += [auth.cert.client_cert, auth.cert.secret_ref]
    return [ref for ref in found if ref is not None]
