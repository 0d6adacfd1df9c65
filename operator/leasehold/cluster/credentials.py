"""What a store refers to, resolved under the namespace rules, which are here and nowhere else.

A SecretStore reads in its own namespace only. A ClusterSecretStore reads where its reference says, and without a
namespace in that of the ExternalSecret (a "referent" store).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from leasehold.api.meta import CAProvider, SecretKeySelector, ServiceAccountSelector
from leasehold.cluster import access
from leasehold.cluster.api import ACCOUNTS, CONFIG_MAPS, SECRETS, KubeApi, Request
from leasehold.cluster.secrets import decode
from leasehold.domain.errors import Misconfigured, Missing
from leasehold.domain.ports import Clock, Identity, StoreRef
from leasehold.domain.values import SecretBytes

TOKEN_LIFE = 600
"""Seconds asked for a ServiceAccount's token: the least that the API server gives."""
REUSE = 10.0
"""Seconds for which a token serves again: one round of logins. An account that is deleted and made again is another
one, and backends refuse the tokens of the first."""
_CLUSTER = "ClusterSecretStore"


@dataclass(slots=True)
class Tokens:
    """ServiceAccount tokens by TokenRequest, shared by those who ask at about the same time."""

    api: KubeApi
    clock: Clock
    _held: dict[tuple[str, str, tuple[str, ...]], tuple[SecretBytes, float]] = field(default_factory=dict)

    async def get(self, namespace: str, name: str, audiences: Sequence[str]) -> SecretBytes:
        """Return a JWT of the account for the audiences (none: the API server's own).

        Raises:
            Misconfigured: the account does not exist.
        """
        wanted = (namespace, name, tuple(audiences))
        held = self._held.get(wanted)
        now = self.clock.monotonic()
        if held is not None and now < held[1]:
            return held[0]
        spec = {"audiences": list(audiences) or None, "expirationSeconds": TOKEN_LIFE}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            answer = await self.api.send(Request("create", ACCOUNTS, namespace, name, subresource="token", body=body))
        except Missing:
            raise Misconfigured(
                "the ServiceAccount does not exist", path=f"ServiceAccount {namespace}/{name}", remedy="create it"
            ) from None
        token = SecretBytes(answer["status"]["token"])
        self._held = {key: pair for key, pair in self._held.items() if now < pair[1]}
        self._held[wanted] = (token, now + REUSE)
        return token

    async def own(self, audience: str) -> SecretBytes:
        """Return the operator's own token, for an audience by TokenRequest, or as mounted ("")."""
        mounted = self.api.access.token()
        account = access.service_account(mounted)
        if not audience or account is None:
            return mounted
        return await self.get(*account, [audience])


@dataclass(frozen=True, slots=True)
class KubeCredentials:
    """ports.Credentials of one store and identity."""

    api: KubeApi
    tokens: Tokens
    store: StoreRef
    identity: Identity
    operator_audience: str = ""

    async def secret(self, ref: SecretKeySelector, *, default_key: str = "") -> SecretBytes:
        """Return one key of a Secret."""
        namespace = self._namespace(ref.namespace, "Secret", ref.name or "")
        key = ref.key or default_key
        where = f"Secret {namespace}/{ref.name}"
        if not ref.name or not key:
            raise Misconfigured("a reference to a Secret names no name or key", path=str(self.store), remedy="set both")
        body = await self.api.get(SECRETS, namespace, ref.name)
        if body is None:
            raise Misconfigured("it does not exist", path=where, remedy=f"create it for {self.store}")
        value = decode(body.get("data")).get(key)
        if value is None:
            raise Misconfigured(f"it has no key {key}", path=where, remedy="add the key or mend the reference")
        return value

    async def authority(self, ref: CAProvider) -> str:
        """Return a CA bundle (PEM) from a Secret or ConfigMap."""
        if self.store.kind == _CLUSTER and not ref.namespace:
            raise Misconfigured("caProvider needs a namespace", path=str(self.store), remedy="set caProvider.namespace")
        namespace = self._namespace(ref.namespace, ref.type, ref.name)
        if ref.type == "Secret":
            selector = SecretKeySelector(name=ref.name, namespace=ref.namespace, key=ref.key)
            return (await self.secret(selector, default_key="ca.crt")).reveal().decode("utf-8", "replace")
        body = await self.api.get(CONFIG_MAPS, namespace, ref.name)
        text = None if body is None else (body.get("data") or {}).get(ref.key or "ca.crt")
        if text is None:
            raise Misconfigured(
                f"it or its key {ref.key or 'ca.crt'} does not exist",
                path=f"ConfigMap {namespace}/{ref.name}",
                remedy=f"create it for {self.store}",
            )
        return str(text)

    async def account_token(self, ref: ServiceAccountSelector, *, audiences: Sequence[str]) -> SecretBytes:
        """Return a ServiceAccount's JWT by TokenRequest, 600 s of life."""
        namespace = self._namespace(ref.namespace, "ServiceAccount", ref.name)
        return await self.tokens.get(namespace, ref.name, audiences)

    async def workload_token(self, *, audiences: Sequence[str]) -> SecretBytes | None:
        """Return the JWT of the identity's ServiceAccount, or None where the identity names none."""
        if not self.identity.service_account:
            return None
        wanted = self.identity.audiences or tuple(audiences)
        return await self.tokens.get(self.identity.namespace, self.identity.service_account, wanted)

    async def operator_token(self) -> SecretBytes:
        """Return the operator's own ServiceAccount JWT."""
        return await self.tokens.own(self.operator_audience)

    def _namespace(self, named: str | None, kind: str, name: str) -> str:
        if self.store.kind == _CLUSTER:
            namespace = named or self.identity.namespace
            if not namespace:
                raise Misconfigured(
                    f"{kind} {name} is looked up in the namespace of each ExternalSecret",
                    path=str(self.store),
                    remedy="name a namespace in the reference to have the store checked by itself",
                )
            return namespace
        if named and named != self.store.namespace:
            raise Misconfigured(
                f"it may not refer to {kind} {name} in namespace {named}",
                path=str(self.store),
                remedy="leave the namespace out, or use a ClusterSecretStore",
            )
        return self.store.namespace
