"""A port stays its server's, while the server is away too."""

import socket
from collections.abc import Iterator

import pytest

from testbed.ports import Port


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.release()


def listener(number: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", number))
    server.listen()
    return server


def test_ports_differ(port: Port) -> None:
    other = Port()
    assert other.number != port.number
    other.release()


def test_its_server_listens_again_and_again(port: Port) -> None:
    for _ in range(3):
        with listener(port.number), socket.create_connection(("127.0.0.1", port.number), timeout=5):
            pass


def test_nobody_answers_while_the_server_is_away(port: Port) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number), timeout=5)


def test_a_server_that_does_not_share_is_refused(port: Port) -> None:
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port.number))


def test_the_kernel_gives_it_to_nobody_else() -> None:
    """Not even to sockets that would share it."""
    port = Port()
    others: list[socket.socket] = []
    try:
        for _ in range(400):
            other = socket.socket()
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", 0))
            others.append(other)
        assert port.number not in {other.getsockname()[1] for other in others}
    finally:
        for other in others:
            other.close()
        port.release()


def test_a_port_reads_as_its_number(port: Port) -> None:
    assert f"{port}" == str(port.number)
