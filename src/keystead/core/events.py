"""The EMS events of Keystead in one table: name, severity, parameters and text of each.

Pure: the caller says when an event happened, and for which SVM. Source: ONTAP EMS reference (names, severities,
parameters). Events that ONTAP lacks follow its style. ``docs/how-to/monitor.md`` explains all of them. ``vserver`` is
the SVM's name; for the cluster's own key manager it is the cluster's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.core.model import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from keystead.core.model import Svm

MAX_EVENTS: Final = 10_000
"""How many events of one node are kept, the newest."""

SOURCE: Final = "keystead"
"""The program that announces, for the field ``source``."""


@dataclass(frozen=True, slots=True)
class EventKind:
    """A kind of event. ``text`` is filled with the parameters. ``internal`` parameters are for callers of the cluster.

    They tell how a key server's failure looked from here. An SVM's administrator chooses the address, so that the
    failure could tell about our network.
    """

    name: str
    severity: str
    parameters: tuple[str, ...]
    text: str
    internal: tuple[str, ...] = ()
    internal_text: str = ""

    def happened(self, node: str, time: datetime, svm: Svm | None, values: Mapping[str, str]) -> Event:
        """Return the event for these values; the store gives it its index. Raise KeyError for a parameter without
        value.
        """
        names = (*self.parameters, *self.internal)
        pairs = tuple((name, values[name]) for name in names)
        return Event(node, 0, time, self.name, self.severity, svm, pairs, self.text.format_map(values))


_CERTIFICATE = ("common_name", "serial_number", "certificate_authority", "type", "vserver", "key_server")

NOT_AVAILABLE: Final = EventKind(
    "km.keyserver.notavailable",
    "alert",
    ("vserver", "address", "keyserver_status", "node_states"),
    'The external key management server "{address}" is not available for Vserver "{vserver}", status: '
    '"{keyserver_status}".',
    internal=("stage", "reason"),
    internal_text=' It failed in stage "{stage}", reason "{reason}".',
)
AVAILABLE: Final = EventKind(
    "km.keyserver.available",
    "notice",
    ("vserver", "address"),
    'The external key management server "{address}" is available for Vserver "{vserver}".',
)
EXPIRING: Final = EventKind(
    "mgmtgwd.certificate.expiring",
    "error",
    (*_CERTIFICATE, "days"),
    'A digital certificate with Fully Qualified Domain Name (FQDN) "{common_name}", Serial Number "{serial_number}", '
    'Certificate Authority "{certificate_authority}" and type "{type}" for Vserver "{vserver}" will expire in the next '
    "{days} day(s).{shown_by}",
)
EXPIRED: Final = EventKind(
    "mgmtgwd.certificate.expired",
    "error",
    _CERTIFICATE,
    'A digital certificate with Fully Qualified Domain Name (FQDN) "{common_name}", Serial Number "{serial_number}", '
    'Certificate Authority "{certificate_authority}" and type "{type}" for Vserver "{vserver}" has expired.{shown_by}',
)

# --- ours ---

KEY_DIFFERENT: Final = EventKind(
    "km.key.different",
    "alert",
    ("vserver", "address", "key_id"),
    'The copy of key "{key_id}" on the external key management server "{address}" for Vserver "{vserver}" is not what '
    "was written there.",
)
KEYS_MISSING: Final = EventKind(
    "km.key.missing",
    "error",
    ("vserver", "address", "count"),
    'Copies of {count} key(s) are missing from the external key management server "{address}" for Vserver "{vserver}".',
)
KEYS_LOST: Final = EventKind(
    "km.keys.masslost",
    "alert",
    ("vserver", "address", "count"),
    'Copies of {count} or more keys went missing at once from the external key management server "{address}" for '
    'Vserver "{vserver}": nothing is marked or written there.',
)
CANARY_HIDDEN: Final = EventKind(
    "km.canary.notvisible",
    "alert",
    ("vserver", "address"),
    'The external key management server "{address}" for Vserver "{vserver}" answers, but does not show the keys that '
    "were left there.",
    internal_text=" Its copies do not count as readable. There are three causes. It takes our client certificate for"
    " another user, group or domain, most often after a change of the certificate: its own administration still lists"
    " our objects. It was wiped, or restored from an older copy: its administration lists none of them, or not the"
    " newest. It rebuilds an index: its log says so, and this ends by itself.",
)
CANARY_VISIBLE: Final = EventKind(
    "km.canary.visible",
    "notice",
    ("vserver", "address"),
    'The external key management server "{address}" for Vserver "{vserver}" shows the keys that were left there again.',
)
SOLE_COPIES: Final = EventKind(
    "km.key.solecopy",
    "alert",
    ("vserver", "sole", "unproven"),
    '{sole} key(s) of Vserver "{vserver}" have proven copies in one replication domain only, {unproven} in none.',
)
NO_SOLE_COPIES: Final = EventKind(
    "km.key.solecopy.cleared",
    "notice",
    ("vserver",),
    'All keys of Vserver "{vserver}" have proven copies in more than one replication domain.',
)
SERVER_CONFIRMED: Final = EventKind(
    "km.keyserver.confirmed",
    "alert",
    ("vserver", "address", "public_key"),
    'An administrator confirmed that the external key management server "{address}" for Vserver "{vserver}" is the '
    "right one, although it lost what was left there and has another public key: {public_key}.",
)

LISTENER_UNUSABLE: Final = EventKind(
    "mgmtgwd.certificate.unusable",
    "error",
    ("vserver", "reason"),
    'The new certificate of the HTTPS listener for Vserver "{vserver}" cannot be used: {reason}. The one before is '
    "still shown.",
)
DESTRUCTION_HELD: Final = EventKind(
    "km.destruction.held",
    "alert",
    ("incarnation", "reason"),
    "The database was {reason}, and is in incarnation {incarnation}. Nothing is destroyed on key servers until an"
    " administrator releases destruction.",
)
DESTRUCTION_RELEASED: Final = EventKind(
    "km.destruction.released",
    "notice",
    ("incarnation",),
    "The database is in its incarnation {incarnation}, which may destroy what it wrote on key servers.",
)

NODE_COPIED: Final = EventKind(
    "km.node.copied",
    "alert",
    ("node",),
    'A second process was about to serve as node "{node}", with a copy of its data directory. It was refused.',
)
INVITATION: Final = EventKind(
    "km.node.invitation",
    "alert",
    ("node", "outcome"),
    'An invitation of node "{node}" to join the cluster {outcome}.',
)
PASSWORD_RESET: Final = EventKind(
    "km.account.passwordreset",
    "alert",
    ("vserver", "account"),
    'The password of account "{account}" of Vserver "{vserver}" was set without a login, by the root key.',
)
RECOVERY_DAYS_CHANGED: Final = EventKind(
    "km.keyrecovery.changed",
    "alert",
    ("vserver", "account", "days", "before"),
    'The account "{account}" set the recovery window of deleted keys in "{vserver}" to {days} days, from {before}.',
)
KEY_READER_GRANTED: Final = EventKind(
    "km.keyreader.granted",
    "alert",
    ("vserver", "account", "change"),
    'The account "{account}" of Vserver "{vserver}" may read key material, since its change: {change}.',
)
FIRST_KEY_READ: Final = EventKind(
    "km.keyreader.firstread",
    "alert",
    ("vserver", "account", "location"),
    'The account "{account}" of Vserver "{vserver}" read key material for the first time, from "{location}".',
)

MESSAGES_DROPPED: Final = EventKind(
    "forwarding.messages.dropped",
    "error",
    ("log", "destination", "count"),
    'The destination "{destination}" of the log "{log}" was away for so long that {count} message(s) were dropped.',
)

KINDS: Final[Mapping[str, EventKind]] = {
    kind.name: kind
    for kind in (
        NOT_AVAILABLE,
        AVAILABLE,
        EXPIRING,
        EXPIRED,
        KEY_DIFFERENT,
        KEYS_MISSING,
        KEYS_LOST,
        CANARY_HIDDEN,
        CANARY_VISIBLE,
        SERVER_CONFIRMED,
        SOLE_COPIES,
        NO_SOLE_COPIES,
        LISTENER_UNUSABLE,
        DESTRUCTION_HELD,
        DESTRUCTION_RELEASED,
        NODE_COPIED,
        INVITATION,
        PASSWORD_RESET,
        RECOVERY_DAYS_CHANGED,
        KEY_READER_GRANTED,
        FIRST_KEY_READ,
        MESSAGES_DROPPED,
    )
}
"""All kinds of events, by name."""


def sentence(event: Event, *, whole_cluster: bool) -> str:
    """Return the text of an event, as the caller may see it. ONTAP's sentence comes first."""
    kind = KINDS.get(event.name)
    values = dict(event.parameters)
    if not whole_cluster or kind is None or not values.keys() >= set(kind.internal):
        return event.log_message
    return event.log_message + kind.internal_text.format_map(values)


def shown(event: Event, *, whole_cluster: bool) -> tuple[tuple[str, str], ...]:
    """Return the parameters of an event that the caller may see."""
    kind = KINDS.get(event.name)
    hidden = () if whole_cluster or kind is None else kind.internal
    return tuple(pair for pair in event.parameters if pair[0] not in hidden)
