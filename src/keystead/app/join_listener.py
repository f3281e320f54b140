"""The listener of one invitation: it takes messages, and passes on the first new node that proves to know the token.

It refuses all others by itself. Each connection has a thread, because a silent client must hold up nobody else.
"""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from keystead.app.join_messages import LONGEST, Answer, Hello, Invited, MalformedError, Refusal
from keystead.sealing.joining import Parties, Side, is_proof

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from keystead.core.secret import Secret

TRIES: Final = 3
"""So many wrong tokens end an invitation."""

CONNECTIONS: Final = 16
"""Connections that are served at the same time. Others are closed."""

SILENT_S: Final = 10.0
"""Seconds that a client may be silent, and that the last answer may take to be sent."""


class Arrival:
    """A new node that knows the token, and waits for its answer."""

    def __init__(self, parties: Parties, address: str, connection: socket.socket) -> None:
        self.parties = parties
        self.address = address
        self._connection = connection
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._sent = threading.Event()

    def is_gone(self) -> bool:
        """Return True if the new node has ended the connection. It has nothing more to send."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def reply(self, answer: Answer) -> None:
        """Answer, and wait until the answer is sent, or cannot be."""
        self._answers.put(answer)
        self._sent.wait(SILENT_S)

    @contextmanager
    def answer(self) -> Iterator[Answer]:
        """Yield the answer once there is one. The block sends it."""
        try:
            yield self._answers.get()
        finally:
            self._sent.set()


class Door:
    """What decides who may wait for an answer. It knows the token's hash, and the SHA-256 of the own certificate."""

    def __init__(self, token_hash: Secret, certificate: bytes) -> None:
        self.token_hash = token_hash
        self.certificate = certificate
        self.arrivals: SimpleQueue[Arrival | None] = SimpleQueue()
        """The new node, or None after the last wrong token."""
        self._lock = threading.Lock()
        self._tries_left = TRIES
        self._is_used = False

    @contextmanager
    def answering(self, message: bytes, address: str, connection: socket.socket) -> Iterator[Answer]:
        """Yield the answer to a message; for the new node that comes first, when there is one. Raise MalformedError."""
        hello = Hello.decoded(message)
        parties = Parties(hello.key, self.certificate)
        with self._lock:
            refusal = self._refusal(hello, parties)
        if refusal is None:
            arrival = Arrival(parties, address, connection)
            self.arrivals.put(arrival)
            with arrival.answer() as answer:
                yield answer
            return
        try:
            yield Answer(refusal=refusal, tries_left=self._tries_left)
        finally:
            if self._tries_left == 0:  # after the answer, because the process ends then
                self.arrivals.put(None)

    def _refusal(self, hello: Hello, parties: Parties) -> Refusal | None:
        """Return why a message is refused at once, and count wrong tokens; None for the one that is passed on."""
        if self._is_used:
            return Refusal.USED
        if self._tries_left and is_proof(hello.proof, self.token_hash, Side.NEW_NODE, parties):
            self._is_used = True
            return None
        self._tries_left = max(self._tries_left - 1, 0)
        return Refusal.WRONG_TOKEN


class Listener(socketserver.ThreadingTCPServer):
    """The HTTPS server of an invitation at ``address``; port 0 is any free port."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, door: Door) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.door = door
        self._context = context
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, _Handler)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Its own thread makes the handshake."""
        connection, address = self.socket.accept()
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's names
        """Return True if there is room for a connection more."""
        return self._room.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and make room for the next one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that break off."""


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    server: Listener
    timeout = SILENT_S

    def setup(self) -> None:
        self.request.settimeout(SILENT_S)
        self.request.do_handshake()
        super().setup()

    def do_POST(self) -> None:
        door, length = self.server.door, self.headers.get("Content-Length", "")
        known = self.path == Invited.path_of(door.certificate)
        if not (known and length.isascii() and length.isdecimal() and int(length) <= LONGEST):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            with door.answering(self.rfile.read(int(length)), self.client_address[0], self.connection) as answer:
                self._send(answer)
        except MalformedError:
            self.send_error(HTTPStatus.BAD_REQUEST)

    def _send(self, answer: Answer) -> None:
        content = answer.encoded()
        self.send_response(HTTPStatus.FORBIDDEN if answer.refusal else HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "Keystead"

    def log_message(self, *_: object) -> None:
        """Log nothing: the command that invites says what matters."""
