"""Ends TLS in front of a redis-server that was built without it, as stunnel does."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from pathlib import Path

from certificates import Certificate
from redis_servers import LOOPBACK


class TlsProxy:
    """Listens with a certificate and hands every connection on, decrypted; use as a context manager."""

    def __init__(self, own: Certificate, *, client_authority: Path | None = None) -> None:
        """Takes a free port; `client_authority` must have signed the certificates of its clients, where it is given."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(own.certificate, own.key)
        if client_authority is not None:
            self._context.load_verify_locations(client_authority)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listening.getsockname()[1]
        self._target = 0
        self._open: set[socket.socket] = set()

    def lead_to(self, port: int) -> None:
        """Begins to accept connections, for the server on this port."""
        self._target = port
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> TlsProxy:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would leave the thread in `accept`.
        for held in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            secure = self._context.wrap_socket(accepted, server_side=True)
            plain = socket.create_connection((LOOPBACK, self._target))
        except OSError:  # among them ssl.SSLError: not to be trusted, or no TLS at all
            accepted.close()
            return
        self._open |= {secure, plain}
        with contextlib.suppress(OSError):
            _relay(secure, plain)
        self._open -= {secure, plain}
        secure.close()
        plain.close()


def _relay(secure: ssl.SSLSocket, plain: socket.socket) -> None:
    """Both ways in one thread: a TLS connection must not be read and written at the same time."""
    while True:
        readable = [secure] if secure.pending() else select.select([secure, plain], [], [])[0]
        for source in readable:
            data = source.recv(65_536)
            if not data:
                return
            (plain if source is secure else secure).sendall(data)
