"""A TLS server that answers every request with the same bytes: ``python -m bench.replay PORT CERT KEY CA ANSWER_HEX``.

It does next to nothing, and it polls instead of sleeping: waking a process on the same machine would be charged to the
client's ``send``, and a key server stands on another machine.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading


def serve(port: int, context: ssl.SSLContext, answer: bytes) -> None:
    """Serve for ever, a thread per connection."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=replay, args=(connection, context, answer), daemon=True).start()


def replay(connection: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
    """Read requests and answer them, until the client leaves."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
        tls.settimeout(0)
        while header := read(tls, 8):
            read(tls, int.from_bytes(header[4:], "big"))
            tls.sendall(answer)


def read(tls: ssl.SSLSocket, size: int) -> bytes:
    """Read so many bytes, fewer only at the end of the stream."""
    data = b""
    while len(data) < size:
        with contextlib.suppress(ssl.SSLWantReadError):
            more = tls.recv(size - len(data))
            if not more:
                break
            data += more
    return data


if __name__ == "__main__":
    number, certificate, key, authority, hexadecimal = sys.argv[1:]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.load_verify_locations(authority)
    server.verify_mode = ssl.CERT_REQUIRED
    serve(int(number), server, bytes.fromhex(hexadecimal))
