"""Carries connections between the machine and a node's network namespace, and answers the node's DNS queries.

The servers of the test bed stay on the machine's loopback; a node and its pods live in a network of their own with no
way out. This process stands with a foot in each: it listens in one network and connects in the other, so nothing of
the machine's network (interfaces, routes, iptables) is touched. Started by `node`, as `python -m testbed.gateway`.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

_CLONE_NEWNET = 0x40000000
_CHUNK = 65536
_A, _IN = 1, 1


@dataclass(frozen=True, slots=True)
class Network:
    """A network namespace, by an open file of /proc/PID/ns/net."""

    handle: int
    home: int

    @classmethod
    def of(cls, pid: int) -> "Network":
        """The network of a process; `home` is our own."""
        return cls(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), os.open("/proc/self/ns/net", os.O_RDONLY))

    def socket(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Make a socket there. It stays there; this thread is back at home when the call returns (setns(2))."""
        _set_network(self.handle)
        try:
            made = socket.socket(socket.AF_INET, kind)
        finally:
            _set_network(self.home)
        made.settimeout(0)  # as asyncio wants it
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made


def _set_network(handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Resolver(asyncio.DatagramProtocol):
    """Answers questions for A records of a few names (RFC 1035); other names do not exist, other types are empty."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._transport and (answer := resolve(data, self._names)):
            self._transport.sendto(answer, addr)


def resolve(query: bytes, names: Mapping[str, str]) -> bytes:
    """Return the answer to a DNS query with one question; empty when it is malformed."""
    try:
        name, end = _read_name(query)
        kind, group = struct.unpack_from(">HH", query, end)
    except (IndexError, UnicodeDecodeError, struct.error):
        return b""
    address = names.get(name)
    matches = address is not None and (kind, group) == (_A, _IN)
    # Response, authoritative, recursion echoed as available; code 3 (no such name) for a name that we do not have.
    flags = 0x8580 | (0 if address else 3)
    header = query[:2] + struct.pack(">HHHHH", flags, 1, int(matches), 0, 0)
    answer = b""
    if address and matches:
        # The name is a pointer to the question's, at offset 12; five seconds to live.
        answer = struct.pack(">HHHIH", 0xC00C, _A, _IN, 5, 4) + socket.inet_aton(address)
    return header + query[12 : end + 4] + answer


def _read_name(query: bytes) -> tuple[str, int]:
    """Return the name of the first question, in lower case, and the offset after it."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    return ".".join(labels), at + 1


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


class Carrier:
    """Listens in one network and connects to a port of 127.0.0.1 in another."""

    def __init__(self, network: Network, port: int) -> None:
        self._network = network
        self._port = port

    async def serve(self, listening: socket.socket, address: tuple[str, int]) -> asyncio.Server:
        """Start to carry what connects to `address`."""
        listening.bind(address)
        return await asyncio.start_server(self._carry, sock=listening)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = self._network.socket()
        try:
            await asyncio.get_running_loop().sock_connect(there, ("127.0.0.1", self._port))
        except OSError:
            there.close()
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(sock=there)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
        finally:
            for end in (far_writer, writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()


async def carry(settings: Mapping[str, Any]) -> None:
    """Carry until cancelled. Settings: see `node`, which writes them."""
    node, machine = Network.of(settings["pid"]), Network.of(os.getpid())
    servers = [
        await Carrier(machine, to).serve(node.socket(), (address, port)) for address, port, to in settings["inward"]
    ]
    servers += [await Carrier(node, port).serve(machine.socket(), ("127.0.0.1", port)) for port in settings["outward"]]
    listening = node.socket(socket.SOCK_DGRAM)
    listening.bind((settings["dns"], 53))
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Resolver(settings["names"]), sock=listening)
    loop.call_soon(Path(settings["ready"]).touch)
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main() -> None:
    """Read the settings file named on the command line and carry until killed."""
    asyncio.run(carry(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
