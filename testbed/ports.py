"""TCP ports on 127.0.0.1, chosen by the kernel and kept for the server that will listen there."""

import socket


class Port:
    """A port that the kernel chose and gives to nobody else while this object holds it.

    It is held by a socket that is bound with SO_REUSEADDR and never listens. Linux lets a second socket with that
    option bind and listen there (Go and PostgreSQL set it), refuses connections while none does, and gives the port
    neither to `bind(0)` nor to an outgoing connection. So a server can be stopped for a minute and started again on
    the same port, and no client can meet a stranger there in between (socket(7), ip(7)).
    """

    __slots__ = ("_socket", "number")

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def __str__(self) -> str:
        return str(self.number)

    def release(self) -> None:
        """Give the port back. A server that listens there goes on."""
        self._socket.close()
