"""The listener's TLS contexts: the certificate that it shows, and the CAs that it trusts for client certificates.

A client is asked for a certificate only while there are CAs that vouch for accounts. A client never needs to have one.
The certificate is checked elsewhere, again with every request. So a session must not be resumed, because its chain
would be missing. For that reason there are no tickets, and a context in which TLS 1.2 kept a session is not used again.

The listener's files are taken anew when they have changed. A connection keeps the context that it began with.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import structlog
from cryptography import x509

from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

log = structlog.get_logger(__name__)

CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
LOOK_S = 3.0
"""Seconds between two looks at the listener's files. Changed files are taken when the next look finds them the same."""

PATIENCE_S = 1.0
"""Seconds that a connection waits for the newest CAs.

If the database is slower, the connection gets the CAs known before. All other connections then get these at once, until
the database has answered.
"""


class UnusableFilesError(Exception):
    """The listener's certificate or key cannot be used; the text says which, and why."""


class TlsContexts:
    """The maker of TLS contexts. ``authorities`` returns the CAs (PEM), the same object until they change.

    ``patience_s`` is how long a connection waits for them, ``look_s`` the time between two looks at the files.
    """

    def __init__(
        self,
        data: Path,
        authorities: Callable[[], Awaitable[tuple[str, ...]]],
        *,
        patience_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
    ) -> None:
        """Make the first context. Raises UnusableFilesError for the listener's own files."""
        self._patience_s = patience_s
        self._look_s = look_s
        self._data = data
        self._read = authorities
        self._authorities: tuple[str, ...] = ()
        self._taken = _stamps(data)
        self._context = server_context(data, ())
        self.certificate = _certificate(data)
        """The listener's certificate that new connections see."""
        self._look = asyncio.Event()
        self._late: asyncio.Task[None] | None = None

    async def newest(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        if self._late is None:
            reading = asyncio.create_task(self._refresh())
            done, _ = await asyncio.wait([reading], timeout=self._patience_s)
            for each in done:
                each.result()
            if not done and self._late is None:
                log.warning("client_ca certificates cannot be read", why="timed out")
                self._late = reading
                reading.add_done_callback(self._in_time)
        return self._context

    # --- the listener's files ---

    def look_now(self) -> None:
        """Take the listener's files at once, whether they have changed or not."""
        self._look.set()

    async def follow(self, on_unusable: Callable[[str], Awaitable[None]]) -> None:
        """Take the listener's files whenever they have changed, for ever. ``on_unusable`` gets what is wrong with them.

        Both files are never replaced in one step, so a look waits for the next one to find the same files.
        """
        before = self._taken
        while True:
            asked = await self._asked()
            now = _stamps(self._data)
            if asked or (now == before and now != self._taken):
                await self._take(now, on_unusable)
            before = now

    async def _asked(self) -> bool:
        """Wait until the next look. Return True if somebody asked for it."""
        try:
            async with asyncio.timeout(self._look_s):
                await self._look.wait()
        except TimeoutError:
            return False
        self._look.clear()
        return True

    async def _take(self, stamps: _Stamps, on_unusable: Callable[[str], Awaitable[None]]) -> None:
        """Use the files for new connections if they are a pair, or else go on with those before."""
        self._taken = stamps
        try:
            self._context, self.certificate = server_context(self._data, self._authorities), _certificate(self._data)
        except (UnusableFilesError, ssl.SSLError) as error:
            log.error("the listener's certificate is not replaced", why=str(error))  # noqa: TRY400 - the text says it
            await on_unusable(str(error))
        else:
            log.info("the listener's certificate is taken anew", expires=str(self.certificate.not_valid_after_utc))

    # --- the CAs ---

    def _in_time(self, _: asyncio.Task[None]) -> None:
        self._late = None

    async def _refresh(self) -> None:
        """Make a new context if the CAs have changed, or if the present context has kept a session."""
        try:
            authorities = await self._read()
        except StoreError as error:
            log.warning("client_ca certificates cannot be read", why=str(error))
            authorities = self._authorities
        keeps_sessions = bool(authorities) and self._context.session_stats()["number"] > 0
        if authorities is not self._authorities or keeps_sessions:
            self._renew(authorities)

    def _renew(self, authorities: tuple[str, ...]) -> None:
        try:
            self._context, self.certificate = server_context(self._data, authorities), _certificate(self._data)
            self._authorities = authorities
        except (UnusableFilesError, ssl.SSLError) as error:
            log.error("the TLS context is not renewed", why=str(error))  # noqa: TRY400 - the text says it


_Stamps = tuple[tuple[int, int, int], ...]
"""What tells the listener's files from those that replace them. It is empty if one of them is missing."""


def _stamps(data: Path) -> _Stamps:
    try:
        found = [(data / name).stat() for name in (CERTIFICATE_FILE, KEY_FILE)]
    except OSError:
        return ()
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def _certificate(data: Path) -> x509.Certificate:
    """Return the first certificate of the file, which is the one that is shown. Raises UnusableFilesError."""
    try:
        return x509.load_pem_x509_certificate((data / CERTIFICATE_FILE).read_bytes())
    except (OSError, ValueError):
        raise UnusableFilesError(f"{data / CERTIFICATE_FILE}: its certificate cannot be read") from None


def _why(data: Path, error: OSError | ssl.SSLError) -> str:
    """Return what is wrong with the files: the one that cannot be read, else what OpenSSL says of both."""
    for file in (data / CERTIFICATE_FILE, data / KEY_FILE):
        try:
            file.open("rb").close()
        except FileNotFoundError:
            return f"there is no {file}: put it back, or let `keystead init` make a new certificate and key"
        except OSError as unread:
            return f"{file}: {unread.strerror}"
    both = f"{data / CERTIFICATE_FILE}, {KEY_FILE}"
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"{both}: the key is not the certificate's"
    return f"{both}: a certificate and its key are expected, PEM, the key not encrypted"


def plain_context() -> ssl.SSLContext:
    """Make a context with the listener's settings, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def server_context(data: Path, authorities: tuple[str, ...]) -> ssl.SSLContext:
    """Make a context that trusts these CAs. Raises UnusableFilesError for the listener's own files."""
    context = plain_context()
    try:
        context.load_cert_chain(data / CERTIFICATE_FILE, data / KEY_FILE, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise UnusableFilesError(_why(data, error)) from None
    if authorities:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # because an installed intermediate is trusted by itself
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default of Python 3.13, not of 3.11
        context.load_verify_locations(cadata="\n".join(authorities))
    return context
