"""The HTTPS listener: its self-signed certificate, and the server process from its ready line to its end.

It knows nothing of the app's answers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import re
import signal
import socket
import threading
from typing import TYPE_CHECKING

import structlog
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystead.app.acceptor import Acceptor, cancel
from keystead.app.protocol import HttpProtocol
from keystead.app.supervisor import Supervisor
from keystead.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp

    from keystead.app.acceptor import Door

log = structlog.get_logger(__name__)

VALID_FOR = dt.timedelta(days=825)  # the longest validity that common trust stores accept
GRACE_S = 3  # of the 5 s that a stop may take; then unanswered requests are cancelled
IDLE_S = 1  # for idle clients to notice the end of their connection
LAST_ANSWERS_S = 0.5  # for cancelled requests to send their answers
STOP_S = 4.5  # then the process ends, even if something hangs (a locked database)
BACKLOG = 1024
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)

_OWN_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Keystead")])


def make_certificate(host: str, now: dt.datetime) -> tuple[bytes, bytes]:
    """Make an ECDSA P-256 key and a self-signed certificate for this machine's names.

    Return (certificate, key) in PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder(_OWN_NAME, _OWN_NAME, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host)), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def is_self_made(certificate: x509.Certificate) -> bool:
    """Return True for a certificate that :func:`make_certificate` made, as its names say."""
    return certificate.subject == certificate.issuer == _OWN_NAME


def _alternative_names(host: str) -> list[x509.GeneralName]:
    names = {"localhost", "127.0.0.1", "::1", host} - {"0.0.0.0", "::"}  # noqa: S104 - left out
    machine = socket.gethostname()  # may be anything, because the kernel does not check it
    if is_host_name(machine):
        names.add(machine)
    return [_general_name(name) for name in sorted(names)]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def is_host_name(text: str) -> bool:
    """Return True for the form of a host name, or of an IPv4 address."""
    return _HOST_NAME.fullmatch(text) is not None


def fingerprint(certificate_pem: bytes) -> str:
    """Return the SHA-256 fingerprint that clients can compare: hexadecimal, in pairs."""
    return x509.load_pem_x509_certificate(certificate_pem).fingerprint(hashes.SHA256()).hex(":").upper()


def parse_listen(listen: str, setting: str = "listen") -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``. Raises SettingsError, which names the setting."""
    host, _, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    sound = _is_ipv6(bare) if bare != host else is_host_name(host)
    if not (sound and re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
        raise SettingsError(f"setting {setting!r}: HOST:PORT is expected, not {listen[:80]!r}")
    return bare, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def bind(address: tuple[str, int]) -> socket.socket:
    """Open the listening socket. Raises OSError if the address is not available."""
    opened = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.settimeout(0)  # because the event loop needs a non-blocking socket
    except OSError:
        opened.close()
        raise
    return opened


class Server(uvicorn.Server):
    """uvicorn's server behind an acceptor. It writes a ready line, and tells the services of a stop at once.

    The supervisor is told both, too.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        door: Door,
        on_stop: Callable[[], None],
        on_unusable: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._on_unusable = on_unusable
        self._contexts = door.contexts
        self._on_stop = on_stop
        self._supervisor = Supervisor()
        self._acceptor = Acceptor(
            door, lambda client, leave: HttpProtocol(config, self.server_state, self.lifespan.state, client, leave)
        )
        self._loops: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then write the ready line, plain and alone, to standard output."""
        await super().startup([])
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._contexts.look_now)
        loops = [self._acceptor.accept(listening) for listening in sockets or []]
        loops += [self._contexts.follow(self._on_unusable), self._supervisor.feed()]
        self._loops = [asyncio.create_task(loop) for loop in loops]
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            try:
                os.write(1, f"listening on https://{shown}:{port}\n".encode())
            except OSError as error:
                log.warning("the ready line cannot be written", reason=error.strerror)
        self._supervisor.ready()

    def stop_soon(self) -> None:
        """Stop as after SIGTERM. Any thread may call this."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End services that could hold a request for long, then let uvicorn finish the rest."""
        _end_within(STOP_S)
        self._supervisor.stopping()
        self._on_stop()
        await cancel([*self._loops, *self._acceptor.handshakes])
        asyncio.get_running_loop().call_later(IDLE_S, self._drop_idle)
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_ANSWERS_S)
        self._captured_signals.clear()  # because a requested stop is a success, not a death by signal

    def _drop_idle(self) -> None:
        """Abort connections that are closing. TLS waits for the peer to agree, and an idle peer does not."""
        for connection in list(self.server_state.connections):
            if connection.transport.is_closing():
                connection.transport.abort()


def _end_within(seconds: float) -> None:
    """End the process if its orderly end takes longer than so many seconds."""
    timer = threading.Timer(seconds, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    log.warning("stopped without waiting any longer for the database")
    os._exit(0)


def server(
    app: ASGIApp,
    door: Door,
    on_stop: Callable[[], None],
    on_unusable: Callable[[str], Awaitable[None]],
) -> Server:
    """Make the HTTPS server of an app."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
    )
    config.load()
    return Server(config, door, on_stop, on_unusable)
