"""What stores refer to, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.api.meta import CAProvider, SecretKeySelector, ServiceAccountSelector
from leasehold.domain.errors import Misconfigured
from leasehold.domain.ports import Identity
from leasehold.domain.values import SecretBytes
from tests.worlds.vault import encode_jwt


class Wallet:
    """A `domain.ports.Credentials`: Secrets by name and key, and a JWT for whomever it is asked."""

    def __init__(
        self,
        identity: Identity,
        secrets: dict[tuple[str, str], str] | None = None,
        *,
        authorities: dict[str, str] | None = None,
    ) -> None:
        self.identity = identity
        self.secrets = {} if secrets is None else secrets
        self.authorities = {} if authorities is None else authorities
        self.asked: list[str] = []

    async def secret(self, ref: SecretKeySelector, *, default_key: str = "") -> SecretBytes:
        """Return one key of a Secret."""
        key = (ref.name or "", ref.key or default_key)
        self.asked.append("/".join(key))
        if key not in self.secrets:
            raise Misconfigured("there is no such Secret or key", path="/".join(key), remedy="create it")
        return SecretBytes(self.secrets[key])

    async def authority(self, ref: CAProvider) -> str:
        """Return a CA bundle."""
        return self.authorities[ref.name or ""]

    async def account_token(self, ref: ServiceAccountSelector, *, audiences: Sequence[str]) -> SecretBytes:
        """Return a JWT of the account that the store names."""
        self.asked.append(f"account {ref.name} for {','.join(audiences)}")
        return SecretBytes(encode_jwt(ref.namespace or self.identity.namespace, ref.name, next(iter(audiences), "")))

    async def workload_token(self, *, audiences: Sequence[str]) -> SecretBytes | None:
        """Return a JWT of the workload."""
        if not self.identity.service_account:
            return None
        self.asked.append(f"workload {self.identity.service_account} for {','.join(audiences)}")
        audience = next(iter(audiences), "")
        return SecretBytes(encode_jwt(self.identity.namespace, self.identity.service_account, audience))

    async def operator_token(self) -> SecretBytes:
        """Return the operator's own JWT."""
        self.asked.append("operator")
        return SecretBytes(encode_jwt("leasehold", "leasehold", "vault"))
