"""The table of faults: what a test's key server can be made to do, and the reason for which Keystead then refuses it.

A fault changes a sound :class:`Machine`. :meth:`Machine.mend` ends every fault. Both run on the server's event loop.
Reasons are those of ``docs/reference/reasons.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keystead.kmip.server.responder import Responder
from keystead.kmip.testing import server as kmip
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.testing.certificates import DAY, Authority, self_signed, server_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.kmip.server.storage import Stored
    from keystead.testing.certificates import Credentials

SLOW_S: Final = 2.0
"""Seconds that each answer of a ``slow`` server takes."""
_ANOTHER_PROTOCOL: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@dataclass
class Machine:
    """A key server with what its faults replace: its certificate, the authority of its clients, its objects.

    ``listening`` says whether it accepts connections. ``lost`` are the objects that a fault took away.
    """

    authority: Authority
    client_ca: Authority
    listening: bool = True
    lost: dict[str, Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sound = server_context(self.authority.issue(), self.client_ca)
        self.server = kmip.KeyServer(self._sound, Responder())

    def mend(self) -> None:
        """End every fault. Lost objects come back beside those that were made since."""
        self.listening = True
        self.server.context, self.server.send_alert = self._sound, True
        self.server.faults.clear()
        self.server.request_faults.clear()
        responder = self.server.responder
        responder.refusals.clear()
        responder.users, responder.capacity, responder.lying = None, None, False
        for identifier, stored in self.lost.items():
            responder.store.receive(identifier, stored)
        self.lost = {}

    def show(self, credentials: Credentials) -> None:
        """Show another certificate in handshakes."""
        self.server.context = server_context(credentials, self.client_ca)

    def trust(self, client_ca: Authority, *, alert: bool = True) -> None:
        """Accept clients of another authority only. Refuse others with a TLS alert, or without a word."""
        self.server.context, self.server.send_alert = server_context(self.authority.issue(), client_ca), alert

    def lose_objects(self) -> None:
        """Lose all objects."""
        store = self.server.responder.store
        self.lost = dict(store.objects)
        store.forget_all()


@dataclass(frozen=True)
class Fault:
    """One fault. ``reason`` is why a new connection is refused, None if the server still passes all probes."""

    meaning: str
    reason: str | None
    begin: Callable[[Machine], None]


def _stop(machine: Machine) -> None:
    machine.listening = False


def _instead(fault: kmip.Fault) -> Callable[[Machine], None]:
    """Return what makes a server do this instead of carrying out any request."""
    return lambda machine: machine.server.request_faults.update(dict.fromkeys(Operation, fault))


def _refuse_all_users(machine: Machine) -> None:
    machine.server.responder.users = {}


def _fill(machine: Machine) -> None:
    machine.server.responder.capacity = 0


def _lie(machine: Machine) -> None:
    machine.server.responder.lying = True


FAULTS: Final[Mapping[str, Fault]] = {
    "refused": Fault("does not listen, as if its process was killed", "connection_refused", _stop),
    "wrong_ca": Fault(
        "shows a certificate of another CA",
        "server_certificate_issuer_not_found",
        lambda machine: machine.show(Authority("Another CA").issue()),
    ),
    "self_signed": Fault(
        "shows a certificate that signs itself",
        "server_certificate_self_signed",
        lambda machine: machine.show(self_signed()),
    ),
    "expired": Fault(
        "shows a certificate that has expired",
        "server_certificate_expired",
        lambda machine: machine.show(machine.authority.issue(starts=-3 * DAY, ends=-DAY)),
    ),
    "not_yet_valid": Fault(
        "shows a certificate whose validity has not begun",
        "server_certificate_not_yet_valid",
        lambda machine: machine.show(machine.authority.issue(starts=DAY)),
    ),
    "wrong_name": Fault(
        "shows a certificate for another host",
        "server_certificate_wrong_name",
        lambda machine: machine.show(machine.authority.issue(["kms.example.com"])),
    ),
    "client_ca": Fault(
        "does not know the CA of our client certificate, and says so",
        "client_certificate_untrusted",
        lambda machine: machine.trust(Authority("Another client CA")),
    ),
    "client_ca_silent": Fault(
        "does not know the CA of our client certificate, and closes without a word",
        "client_certificate_probably_refused",
        lambda machine: machine.trust(Authority("Another client CA"), alert=False),
    ),
    "unregistered": Fault(
        "knows no user with our client certificate", "client_certificate_not_registered", _refuse_all_users
    ),
    "denied": Fault(
        "denies us Query",
        "operation_not_permitted",
        lambda machine: machine.server.responder.refusals.update({Operation.QUERY: ResultReason.PERMISSION_DENIED}),
    ),
    "silent": Fault("completes the handshake and never answers", "no_answer", _instead(kmip.silence)),
    "closes": Fault("closes the connection instead of answering", "connection_closed", _instead(kmip.close)),
    "garbage": Fault("answers in another protocol", "malformed_answer", _instead(kmip.garbage(_ANOTHER_PROTOCOL))),
    "slow": Fault(f"takes {SLOW_S:g} s for each answer", None, _instead(kmip.delay(SLOW_S))),
    "full": Fault("stores no new object", None, _fill),
    "wiped": Fault("has lost all objects, until it is healed", None, lambda machine: machine.lose_objects()),
    "lying": Fault("returns other bytes than those that were stored", None, _lie),
}
"""Every fault by its word."""


def named(word: str) -> Fault:
    """Return a fault by its word, or by the reason that it causes. Raise ValueError that lists the words."""
    by_reason = {fault.reason: fault for fault in FAULTS.values() if fault.reason}
    found = FAULTS.get(word) or by_reason.get(word)
    if found is None:
        raise ValueError(f"there is no fault {word!r}; there are {', '.join(FAULTS)}")
    return found
