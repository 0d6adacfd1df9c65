"""Certificates that the strict checks of Python's ssl accept."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from testbed import certificates


def serve_once(folder: Path, authority: certificates.Authority) -> int:
    """Serve one TLS handshake on a thread and return the port."""
    certificate, key = authority.issue("server", hosts=("127.0.0.1", "localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(
        certificates.write_private(folder / "crt", certificate), certificates.write_private(folder / "key", key)
    )
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener, listener.accept()[0] as raw:
            try:
                with context.wrap_socket(raw, server_side=True):
                    pass
            except OSError:
                pass  # the client hung up: it did not trust us

    threading.Thread(target=answer, daemon=True).start()
    return int(listener.getsockname()[1])


def shake_hands(port: int, authority: certificates.Authority) -> None:
    context = ssl.create_default_context(cadata=authority.pem)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1"),
    ):
        pass


def test_a_certificate_is_trusted_through_its_authority(tmp_path: Path) -> None:
    authority = certificates.found("test")

    shake_hands(serve_once(tmp_path, authority), authority)


def test_another_authority_does_not_vouch_for_it(tmp_path: Path) -> None:
    port = serve_once(tmp_path, certificates.found("test"))

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(port, certificates.found("test"))


def test_private_files_are_private(tmp_path: Path) -> None:
    assert certificates.write_private(tmp_path / "key", "x").stat().st_mode & 0o777 == 0o600
