"""HTTP against a small server on loopback: what is sent how often, and what each way of failing is called."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from leasehold.domain.errors import Misconfigured
from leasehold.domain.values import SecretBytes
from leasehold.providers.vault.errors import Trouble, Why
from leasehold.providers.vault.transport import SIZE_LIMIT, HttpTransport, Request, Wiring, address_of, close_all
from testbed import certificates
from tests.contracts.canary import assert_clean

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Reads one request after the other and lets a test say what happens; counts what arrives."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.answers: list[bytes | None] = []
        """Next answers; None closes the connection without one. OK where the list is empty."""
        self.hanging = self.closing = self.blunt = False
        """Never answers; closes after each answer; answers whatever arrives, TLS included."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.blunt:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            self.requests.append(head + await reader.readexactly(length))
            if self.hanging:
                await asyncio.Event().wait()
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()
            if self.closing:
                return


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


@pytest.fixture
async def connected() -> AsyncIterator[Callable[..., HttpTransport]]:
    made: list[HttpTransport] = []

    def connect(address: str, **wiring: object) -> HttpTransport:
        made.append(HttpTransport(Wiring(address, **wiring)))  # type: ignore[arg-type]
        return made[-1]

    yield connect
    await close_all(list(made))


Connect = Callable[..., HttpTransport]


def ask(server: Server, method: str = "GET", *, scheme: str = "http", **more: object) -> Request:
    return Request(method, f"{scheme}://127.0.0.1:{server.port}/v1/secret%2Fx", {"X-Vault-Token": "canary"}, **more)  # type: ignore[arg-type]


async def failing(transport: HttpTransport, request: Request) -> Why:
    with pytest.raises(Trouble) as caught:
        await transport.send(request)
    assert_clean(caught.value)
    return caught.value.why


async def test_a_request_goes_out_as_it_is(server: Server, connected: Connect) -> None:
    await server.start()
    transport = connected(f"http://127.0.0.1:{server.port}")
    reply = await transport.send(ask(server, "POST", body=b'{"a":1}'))
    assert (reply.status, reply.body) == (200, b"{}")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/secret%2Fx HTTP/1.1\r\n")
    assert b"X-Vault-Token: canary" in head
    assert b"User-Agent" not in head
    assert body == b'{"a":1}'
    assert_clean(reply, ask(server, body=b"canary"))


async def test_connections_are_kept(server: Server, connected: Connect) -> None:
    await server.start()
    transport = connected(f"http://127.0.0.1:{server.port}")
    for _ in range(3):
        await transport.send(ask(server))
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_mints_have_connections_of_their_own(server: Server, connected: Connect) -> None:
    await server.start()
    transport = connected(f"http://127.0.0.1:{server.port}")
    await transport.send(ask(server))
    for _ in range(3):
        await transport.send(ask(server, once=True))
    assert (server.connections, len(server.requests)) == (4, 4)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_mint_is_sent_once_even_if_the_connection_drops(
    server: Server, connected: Connect, method: str
) -> None:
    await server.start()
    server.answers = [None, None]
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert await failing(transport, ask(server, method, once=True)) is Why.LOST
    assert len(server.requests) == 1


async def test_aiohttp_does_send_others_again(server: Server, connected: Connect) -> None:
    """The reason for the other session: if this changes, the two may become one."""
    await server.start()
    server.answers = [None]
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert (await transport.send(ask(server))).status == 200
    assert len(server.requests) == 2


async def test_a_redirect_is_an_answer(server: Server, connected: Connect) -> None:
    await server.start()
    server.answers = [b"HTTP/1.1 307 Temporary\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"]
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert (await transport.send(ask(server))).status == 307
    assert len(server.requests) == 1


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_an_answer_has_a_limit(server: Server, connected: Connect, framing: str) -> None:
    await server.start()
    if framing == "length":
        server.answers = [f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE_LIMIT + 1}\r\n\r\n".encode()]
    else:
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        server.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 65 + b"0\r\n\r\n"]
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert await failing(transport, ask(server)) is Why.OVERSIZED


async def test_an_answer_of_many_chunks(server: Server, connected: Connect) -> None:
    await server.start()
    server.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"]
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert (await transport.send(ask(server))).body == b"{}"


async def test_refused(connected: Connect, server: Server) -> None:
    await server.start()
    port = server.port
    await server.stop()
    transport = connected(f"http://127.0.0.1:{port}")
    assert await failing(transport, ask(server)) is Why.REFUSED


async def test_unresolved(connected: Connect) -> None:
    transport = connected("http://vault.invalid")
    assert await failing(transport, Request("GET", "http://vault.invalid/v1/x", {})) is Why.UNRESOLVED


async def test_silent(server: Server, connected: Connect) -> None:
    await server.start()
    server.hanging = True
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert await failing(transport, ask(server, limit=0.05)) is Why.SILENT


async def test_half_an_answer_is_lost(server: Server, connected: Connect) -> None:
    await server.start()
    server.answers, server.closing = [b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"], True
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert await failing(transport, ask(server)) is Why.LOST


async def test_no_http_at_all(server: Server, connected: Connect) -> None:
    await server.start()
    server.answers = [b"SSH-2.0-OpenSSH_9.2 canary\r\n\r\n"]
    transport = connected(f"http://127.0.0.1:{server.port}")
    assert await failing(transport, ask(server)) is Why.GARBLED


# ---------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> certificates.Authority:
    return certificates.found("ours")


@pytest.fixture
def server_tls(authority: certificates.Authority, tmp_path: Path) -> ssl.SSLContext:
    certificate, key = authority.issue("vault", hosts=("127.0.0.1",))
    (tmp_path / "crt").write_text(certificate)
    (tmp_path / "key").write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    return context


async def test_a_trusted_server(
    server: Server, connected: Connect, authority: certificates.Authority, server_tls: ssl.SSLContext
) -> None:
    await server.start(server_tls)
    transport = connected(f"https://127.0.0.1:{server.port}", ca_pem=authority.pem)
    assert (await transport.send(ask(server, scheme="https"))).status == 200


async def test_another_authority(server: Server, connected: Connect, server_tls: ssl.SSLContext) -> None:
    await server.start(server_tls)
    for ca_pem in (certificates.found("other").pem, ""):
        transport = connected(f"https://127.0.0.1:{server.port}", ca_pem=ca_pem)
        assert await failing(transport, ask(server, scheme="https")) is Why.UNTRUSTED
    assert not server.requests


async def test_another_name(
    server: Server, connected: Connect, authority: certificates.Authority, server_tls: ssl.SSLContext
) -> None:
    await server.start(server_tls)
    transport = connected(f"https://localhost:{server.port}", ca_pem=authority.pem)
    request = Request("GET", f"https://localhost:{server.port}/v1/x", {})
    assert await failing(transport, request) is Why.UNTRUSTED


async def test_https_to_a_server_of_http(server: Server, connected: Connect) -> None:
    await server.start()
    server.blunt = True
    transport = connected(f"https://127.0.0.1:{server.port}")
    assert await failing(transport, ask(server, scheme="https")) is Why.TLS


async def test_a_client_certificate_is_shown_and_missed(
    server: Server, connected: Connect, authority: certificates.Authority, server_tls: ssl.SSLContext
) -> None:
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(cadata=authority.pem)
    await server.start(server_tls)
    certificate, key = authority.issue("team", hosts=())
    address = f"https://127.0.0.1:{server.port}"
    good = connected(address, ca_pem=authority.pem, certificate=certificate, key=SecretBytes(key))
    assert (await good.send(ask(server, scheme="https"))).status == 200
    bare = connected(address, ca_pem=authority.pem)
    for once in (False, True):
        # the alert comes after the handshake and asyncio does not pass it on
        assert await failing(bare, ask(server, scheme="https", once=once)) is Why.LOST


@pytest.mark.parametrize("broken", ["authority", "certificate", "key", "pair"])
def test_what_cannot_be_used_is_misconfigured(authority: certificates.Authority, broken: str) -> None:
    certificate, key = authority.issue("team", hosts=())
    _, other = authority.issue("other", hosts=())
    wirings = {
        "authority": Wiring("https://v", ca_pem="canary"),
        "certificate": Wiring("https://v", certificate="canary", key=SecretBytes(key)),
        "key": Wiring("https://v", certificate=certificate, key=SecretBytes("canary")),
        "pair": Wiring("https://v", certificate=certificate, key=SecretBytes(other)),
    }
    with pytest.raises(Misconfigured) as caught:
        HttpTransport(wirings[broken])
    assert_clean(caught.value, wirings[broken] if broken == "key" else "")


# ------------------------------------------------------------------------------------------------------------ address


@pytest.mark.parametrize(
    ("server", "address", "base"),
    [
        ("https://vault.example.org:8200", "https://vault.example.org:8200", ""),
        ("http://127.0.0.1:8200/", "http://127.0.0.1:8200", ""),
        (" https://Vault.Example.org/proxy/vault/ ", "https://vault.example.org", "/proxy/vault"),
        ("https://[::1]:8200", "https://[::1]:8200", ""),
    ],
)
def test_address(server: str, address: str, base: str) -> None:
    assert address_of(server) == (address, base)


@pytest.mark.parametrize(
    "server", ["vault:8200", "", "ftp://v", "https://", "https://u:canary@v", "https://v:x", "https://v:99999"]
)
def test_no_address(server: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        address_of(server)
    assert_clean(caught.value)


def test_a_wiring_is_told_apart_by_what_is_public() -> None:
    one = Wiring("https://v", certificate="c", key=SecretBytes("a"))
    assert one == Wiring("https://v", certificate="c", key=SecretBytes("b"))
    assert hash(one) == hash(Wiring("https://v", certificate="c"))
    assert one != Wiring("https://v", certificate="d")
