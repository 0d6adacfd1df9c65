"""From a store's description to a line: whom to trust, as whom to appear, which headers, which namespace.

The part of a session that is resolved before anybody logs in.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from leasehold.api.meta import SecretKeySelector
from leasehold.api.stores.vault import VaultProvider
from leasehold.domain.errors import Misconfigured, Unavailable
from leasehold.domain.ports import Credentials
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.adapter import Line, client
from leasehold.providers.vault.errors import Deed, Trouble, explain
from leasehold.providers.vault.transport import Wiring, address_of

_BLANK = SecretBytes(b"")


async def resolve(provider: VaultProvider, credentials: Credentials) -> Wiring:
    """Return how to connect to the store's server.

    Raises:
        DomainError: the address is none, or a reference cannot be resolved.
    """
    address, _ = address_of(provider.server)
    ca_pem = ""
    if provider.ca_bundle:
        ca_pem = _bundle(provider.ca_bundle)
    elif provider.ca_provider is not None:
        ca_pem = await credentials.authority(provider.ca_provider)
    certificate, key = await _presented(provider, credentials)
    return Wiring(address, ca_pem, certificate.reveal().decode("utf-8", "replace"), key)


def headers_of(provider: VaultProvider) -> Mapping[str, str]:
    """Return the headers that each request of the store carries."""
    for name, value in provider.headers.items():
        if not name or any(char in name + value for char in "\r\n\0"):
            raise Misconfigured(
                "a header has a line break, or no name", path="provider.vault.headers", remedy="mend it"
            )
    headers = dict(provider.headers)
    if provider.read_your_writes and provider.forward_inconsistent:
        headers["X-Vault-Inconsistent"] = "forward-active-node"
    return headers


def namespaced(provider: VaultProvider) -> bool:
    """Tell whether any request of the store names a Vault namespace."""
    named = [provider.namespace, provider.auth.namespace if provider.auth is not None else None]
    named += [value for name, value in provider.headers.items() if name.lower() == "x-vault-namespace"]
    return any(is_namespace(name or "") for name in named)


def is_namespace(name: str) -> bool:
    """Tell whether it is a namespace other than the root."""
    return name.strip("/") not in ("", "root")


async def refuse_ignored_namespace(line: Line) -> None:
    """Refuse a server that would ignore the namespace and answer with the root's secret (Community Edition).

    Raises:
        Misconfigured: the server has no namespaces.
        DomainError: it does not say.
    """
    # asked at the root and without the store's headers: sys/health is not in every namespace
    bare = Line(line.transport, line.circuit, line.address, line.base, clock=line.clock, observe=line.observe)
    try:
        said = await client(bare).sys.read_health_status(method="GET")
    except Trouble as trouble:
        raise explain(trouble, Deed(line.address, "sys/health")) from None
    if said.get("enterprise") is True:
        return
    if "enterprise" not in said:
        raise Unavailable(
            f"Vault at {line.address} does not say whether it has namespaces",
            path="sys/health",
            remedy="it is tried again by itself",
        )
    raise Misconfigured(
        f"Vault at {line.address} has no namespaces (Community Edition) and would answer from its root",
        path="provider.vault.namespace",
        remedy="remove the namespace, or name an Enterprise server",
    )


def _bundle(text: str) -> str:
    """Return the PEM text of a caBundle, which is base64 (Kubernetes' form of bytes)."""
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Misconfigured(
            "the bundle is no base64", path="provider.vault.caBundle", remedy="give PEM certificates in base64"
        ) from None


async def _presented(provider: VaultProvider, credentials: Credentials) -> tuple[SecretBytes, SecretBytes | None]:
    """Return the client certificate and key: those of the cert login win, as in ESO."""
    pairs: list[tuple[SecretKeySelector | None, SecretKeySelector | None]] = []
    if provider.auth is not None and provider.auth.method() == "cert" and provider.auth.cert is not None:
        pairs.append((provider.auth.cert.client_cert, provider.auth.cert.secret_ref))
    if provider.tls is not None:
        pairs.append((provider.tls.cert_secret_ref, provider.tls.key_secret_ref))
    for certificate, key in pairs:
        if certificate is not None and key is not None:
            return (
                await credentials.secret(certificate, default_key="tls.crt"),
                await credentials.secret(key, default_key="tls.key"),
            )
    return _BLANK, None
