"""HTTP to one Vault server: aiohttp sessions, TLS, time limits, size limits. Knows bytes and statuses, not meanings.

Two sessions, because aiohttp silently re-sends a GET whose connection dropped: the kept-alive one for what may be
repeated, one without keep-alive and without re-sending for mints.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.errors import Trouble, Why

CONNECT_LIMIT = 5.0
"""Seconds for name, TCP and TLS together."""
SIZE_LIMIT = 4 * 1024 * 1024
"""Most bytes of an answer: a Kubernetes Secret holds one MiB, in JSON with escapes a multiple of it."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What makes two stores share connections: the address, whom to trust, as whom to appear in TLS."""

    address: str
    """Scheme, host and port, nothing else."""
    ca_pem: str = ""
    """Authorities of the server; the system's own where it is empty."""
    certificate: str = ""
    """Client certificate chain (PEM)."""
    key: SecretBytes | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent. ``url`` is complete and percent-encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: float = 15.0
    """Seconds until the whole answer must be there."""
    once: bool = False
    """True for a mint: sent at most once, on a connection of its own."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive, or in lower case."""
    body: bytes = field(repr=False)


class Transport(Protocol):
    """Carries requests to one server."""

    async def send(self, request: Request) -> Reply:
        """Return the answer, whatever its status.

        Raises:
            Trouble: there is none, with a reason of its own.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class _Unrepeated(Exception):
    """Hides a lost connection from aiohttp's own repetition."""


class HttpTransport:
    """A `Transport` on aiohttp. Sessions are made at the first request, inside the running loop."""

    def __init__(self, wiring: Wiring) -> None:
        """Take how to connect.

        Raises:
            Misconfigured: a certificate or key cannot be used.
        """
        self._tls = _context(wiring) if wiring.address.startswith("https") else None
        self._lasting: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Reply:
        """Send it; redirects are answers like any other, and nothing is decompressed."""
        try:
            async with self._session(request).request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.limit, sock_connect=CONNECT_LIMIT),
                middlewares=(_send_once,) if request.once else (),
            ) as response:
                return Reply(response.status, response.headers, await _read(response))
        except _Unrepeated as error:
            raise Trouble(_why(error.__cause__ or error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Trouble(_why(error)) from None

    async def close(self) -> None:
        """Close both sessions."""
        for session in (self._lasting, self._single):
            if session is not None:
                await session.close()
        self._lasting = self._single = None

    def _session(self, request: Request) -> aiohttp.ClientSession:
        if request.once:
            self._single = self._single or self._open(force_close=True)
            return self._single
        self._lasting = self._lasting or self._open(force_close=False)
        return self._lasting

    def _open(self, *, force_close: bool) -> aiohttp.ClientSession:
        # no limit here: the circuit of the address has one
        connector = aiohttp.TCPConnector(limit=0, force_close=force_close, ssl=True if self._tls is None else self._tls)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Turn what aiohttp would answer by sending again into what it passes on."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # never sent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Unrepeated from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > SIZE_LIMIT:
        raise Trouble(Why.OVERSIZED)
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > SIZE_LIMIT:
            raise Trouble(Why.OVERSIZED)
        parts.append(part)
    return b"".join(parts)


def _why(error: BaseException) -> Why:
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return Why.UNTRUSTED
    if isinstance(error, ssl.SSLError) or _has_tls_cause(error):
        return Why.TLS
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Why.UNRESOLVED
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Why.REFUSED
    if isinstance(error, TimeoutError):
        return Why.SILENT
    if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError, _Unrepeated)):
        return Why.LOST
    return Why.GARBLED


def _has_tls_cause(error: BaseException) -> bool:
    cause = error.__cause__ or error.__context__
    return isinstance(cause, ssl.SSLError)


def address_of(server: str) -> tuple[str, str]:
    """Return the address (scheme, host, port) and the base path of a server as a store writes it.

    Raises:
        Misconfigured: it is no http or https URL, or carries a user name.
    """
    remedy = "write it as https://vault.example.org:8200"
    try:
        parts = urlsplit(server.strip())
        port = parts.port
    except ValueError:
        raise Misconfigured("the address of Vault is not valid", path="provider.vault.server", remedy=remedy) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured("the address of Vault is not a URL", path="provider.vault.server", remedy=remedy)
    if "@" in parts.netloc:
        raise Misconfigured("the address of Vault carries a user", path="provider.vault.server", remedy=remedy)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    return address, parts.path.rstrip("/")


def _context(wiring: Wiring) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=wiring.ca_pem or None)
    except (ssl.SSLError, ValueError):
        raise Misconfigured(
            "the authorities are not PEM certificates",
            path="provider.vault.caBundle or caProvider",
            remedy="give PEM certificates (caBundle: in base64)",
        ) from None
    # Go, and so ESO, takes authorities without the extensions that the strict check of Python 3.13 demands
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if wiring.certificate and wiring.key is not None:
        _present(context, wiring.certificate, wiring.key)
    return context


def _present(context: ssl.SSLContext, certificate: str, key: SecretBytes) -> None:
    """Load the client certificate. Python wants a file: an anonymous one in memory, so that no key touches a disk."""
    handle = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(handle, certificate.encode() + b"\n" + key.reveal() + b"\n")
        # an encrypted key must not ask at a terminal
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=lambda: "")
    except (ssl.SSLError, ValueError, OSError):
        raise Misconfigured(
            "the client certificate or its key cannot be used",
            path="provider.vault.tls or auth.cert",
            remedy="store a matching pair in PEM, the key without a passphrase",
        ) from None
    finally:
        os.close(handle)


async def close_all(transports: list[Transport]) -> None:
    """Close every transport; none keeps another from being closed."""
    await asyncio.gather(*(transport.close() for transport in transports), return_exceptions=True)
