"""How this node reaches the other nodes, and they this one.

Part of the composition root: like wiring.py it chooses adapters.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keystead.app.listener import is_host_name, parse_listen
from keystead.core.model import Contact
from keystead.forwarding.sender import NetworkSender
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.outlets import Outlets
from keystead.sealing.signing import Signer, one_line, verify
from keystead.service.cluster.peers import Crypto, Peers
from keystead.settings import SettingsError

if TYPE_CHECKING:
    from cryptography import x509

    from keystead.service.offline import OfflineReads
    from keystead.service.ports.process import Clock, Telemetry
    from keystead.service.ports.store import Store, Transaction
    from keystead.settings import Settings

EVERYWHERE = ("0.0.0.0/0", "::/0")
"""Nodes may be anywhere, this host included: their addresses come from nodes, not from callers."""

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def other_nodes(
    store: Store[Transaction], offline: OfflineReads, clock: Clock, telemetry: Telemetry, node: str
) -> Peers:
    """Return the other nodes of a node (uuid), for a process with a new key."""
    signer = Signer(Ed25519PrivateKey.generate())
    sender = NetworkSender(Outlets(EgressRules.parse(EVERYWHERE, ())).open)
    crypto = Crypto(signer, one_line(signer.public), verify)
    return Peers(store, offline, sender, crypto, clock, telemetry, node)


def check_address(settings: Settings) -> None:
    """Raise SettingsError for an address that no node can be reached at."""
    try:
        if settings.node_address:
            parse_listen(settings.node_address)
    except SettingsError:
        raise SettingsError("setting 'node_address': HOST:PORT is expected") from None


def contact(settings: Settings, port: int, certificate: x509.Certificate, public_key: str) -> Contact:
    """Return how other nodes reach this process, which listens on a port and shows a certificate."""
    host, machine = parse_listen(settings.listen)[0], socket.gethostname()
    if host in WILDCARDS and is_host_name(machine):
        host = machine
    own = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return Contact(settings.node_address or own, fingerprint, public_key, settings.trusted_proxies)
