"""The gateway carries bytes both ways, and answers what a resolver asks."""

import asyncio
import os
import socket
import struct

import pytest

from testbed.gateway import Carrier, Network, resolve

NAMES = {"kubernetes.default.svc.cluster.local": "10.0.0.1"}


def question(name: str, *, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\x12\x34" + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def counts(answer: bytes) -> tuple[int, int]:
    """The response code and the number of answers."""
    flags, _questions, answers, _, _ = struct.unpack_from(">HHHHH", answer, 2)
    return flags & 0xF, answers


@pytest.mark.parametrize("name", ["kubernetes.default.svc.cluster.local", "KUBERNETES.default.svc.cluster.local"])
def test_a_known_name_has_an_address(name: str) -> None:
    answer = resolve(question(name), NAMES)

    assert answer[:2] == b"\x12\x34"
    assert counts(answer) == (0, 1)
    assert answer.endswith(struct.pack(">H", 4) + socket.inet_aton("10.0.0.1"))


def test_a_known_name_has_no_other_records() -> None:
    assert counts(resolve(question("kubernetes.default.svc.cluster.local", kind=28), NAMES)) == (0, 0)


@pytest.mark.parametrize("name", ["vault", "a.kubernetes.default.svc.cluster.local"])
def test_an_unknown_name_does_not_exist(name: str) -> None:
    assert counts(resolve(question(name), NAMES)) == (3, 0)


@pytest.mark.parametrize("size", range(len(question("ab.c"))))
def test_a_cut_query_has_no_answer(size: int) -> None:
    assert resolve(question("ab.c")[:size], NAMES) == b""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


@pytest.fixture
def home() -> Network:
    """Our own network, entered by an id as any other: root alone may enter another."""
    try:
        network = Network.of(os.getpid())
        network.socket().close()
    except PermissionError:
        pytest.skip("entering a network namespace needs root")
    return network


async def settle() -> None:
    """Wait for the connections' own tasks, so that none outlives its test."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


async def carried(network: Network, port: int) -> tuple[asyncio.Server, int]:
    server = await Carrier(network, port).serve(network.socket(), ("127.0.0.1", 0))
    return server, server.sockets[0].getsockname()[1]


async def test_carries_both_ways_and_passes_the_end_on(home: Network) -> None:
    far = await asyncio.start_server(echo, "127.0.0.1", 0)
    near, port = await carried(home, far.sockets[0].getsockname()[1])
    async with far, near:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        writer.write_eof()

        assert await reader.read() == b"HELLO"
        writer.close()
        await writer.wait_closed()
    await settle()


async def test_a_refused_connection_is_cut(home: Network) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        near, port = await carried(home, silent.getsockname()[1])
        async with near:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)

            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
    await settle()
