"""The control socket of a running demo: ``break ks2 expired`` and ``heal ks2``, one line each.

The socket is in the demo's folder and has the mode 0600, so that only its owner may use it. The answer is a line that
begins with ``done`` or ``refused``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Final

from keystead.testing.faults import named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystead.testing.key_servers import KeyServers

SOCKET: Final = "control.sock"
LINE_LIMIT: Final = 1024
"""The longest line in bytes."""
LINE_S: Final = 10
"""Seconds that a peer may take for its line, and the demo for its answer."""
DONE: Final = "done"
REFUSED: Final = "refused"


class ControlError(Exception):
    """The demo refused a line, or there is no demo. The text says which."""


@contextlib.contextmanager
def controlled(servers: KeyServers, folder: Path) -> Iterator[None]:
    """Listen to lines about these key servers while the block runs."""
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o177)
        try:
            with _short(folder) as path:
                listener.bind(path)
        finally:
            os.umask(before)
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, servers), daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread
            thread.join(LINE_S)
            (folder / SOCKET).unlink(missing_ok=True)


def ask(folder: Path, line: str) -> str:
    """Send a line to the demo in this folder and return what it has done. Raise ControlError."""
    try:
        with socket.socket(socket.AF_UNIX) as peer, _short(folder) as path:
            peer.settimeout(LINE_S)
            peer.connect(path)
            peer.sendall(f"{line}\n".encode())
            answer = _line(peer)
    except OSError as error:
        raise ControlError(f"no demo runs in {folder}: {error.strerror or 'it does not answer'}") from None
    word, _, said = answer.partition(" ")
    if word != DONE:
        raise ControlError(said or "the demo has ended")
    return said


def answered(line: str, servers: KeyServers) -> str:
    """Do what a line says, and return the answer. A line that is refused changes nothing."""
    try:
        match line.split():
            case ["break", name, fault]:
                server, meaning = servers.named(name), named(fault).meaning
                server.break_(fault)
                return f"{DONE} {name} {meaning}"
            case ["heal", name]:
                servers.named(name).heal()
                return f"{DONE} {name} is sound"
    except ValueError as error:
        return f"{REFUSED} {error}"
    return f"{REFUSED} a line is `break NAME FAULT` or `heal NAME`"


def _serve(listener: socket.socket, servers: KeyServers) -> None:
    """Answer one peer after another until the listener is shut down."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, contextlib.suppress(OSError):
            peer.settimeout(LINE_S)
            peer.sendall(f"{answered(_line(peer), servers)}\n".encode())


def _line(peer: socket.socket) -> str:
    """Return what a peer sends, up to the end of a line, of the stream, or of :data:`LINE_LIMIT`. Raise OSError."""
    received = b""
    while b"\n" not in received and len(received) < LINE_LIMIT and (part := peer.recv(LINE_LIMIT)):
        received += part
    return received[:LINE_LIMIT].partition(b"\n")[0].decode(errors="replace")


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Yield a path of the socket that is short enough for its system call (108 bytes, unix(7)). Raise OSError."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)
