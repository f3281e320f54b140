"""What the pages of certificates show: all certificates by their end, who uses each, what its end would mean. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from keystead.core.availability import SERVER
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.console_paths import CERTIFICATES
from keystead.core.model import CertificateType
from keystead.core.secret import Secret, holds_private_key
from keystead.web.lists import invalid
from keystead.web.overview import tone_of_end
from keystead.web.rendering import counted
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.availability import UsedCertificate
    from keystead.service.configuration.certificate_uses import CertificateEffect, CertificateUse

HORIZON: Final = timedelta(days=400)
"""How far ahead the timeline looks. Certificates that end later have no mark on it."""

TICKS: Final = (0, 30, 90, 180, 270, 365)
"""Days on the scale of the timeline."""

TYPES: Final = {
    CertificateType.CLIENT: "client certificate",
    CertificateType.SERVER_CA: "CA of key servers",
    CertificateType.SERVER: "server certificate",
    CertificateType.CLIENT_CA: "CA of logins",
    CertificateType.ROOT_CA: "CA that signs here",
}
INSTALLABLE: Final = {type_: words for type_, words in TYPES.items() if type_ is not CertificateType.ROOT_CA}

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate in the timeline. ``path`` is that of its page; empty for one that is not installed here.

    ``owner`` is the name of its SVM, empty for the cluster's, and for one that is not installed. ``svms`` are the names
    of its owner and of those who use it.
    """

    name: str
    path: str
    type: str
    owner: str
    svms: frozenset[str]
    used_by: str
    issuer: str
    not_after: datetime
    left: timedelta

    @property
    def tone(self) -> Tone:
        """How soon it ends."""
        return tone_of_end(self.left)

    @property
    def words(self) -> str:
        """The type in words, and the owner."""
        of = f" of {self.owner}" if self.owner else ""
        return f"{TYPES[CertificateType(self.type)]}{of}"

    @property
    def place(self) -> float | None:
        """Where it ends on the timeline, in percent. None: later than that."""
        return None if self.left > HORIZON else round(100 * max(self.left / HORIZON, 0), 1)


def certificate_path(uuid: str) -> str:
    """Return the path of a certificate's page."""
    return f"{CERTIFICATES}/{quote(uuid, safe='')}"


def entries(uses: Sequence[CertificateUse], shown: Iterable[UsedCertificate], now: datetime) -> list[Entry]:
    """Return all certificates, the next to end first: the installed ones, and those that key servers showed.

    One that key servers showed is left out if it is installed, or was shown before.
    """
    found = [_installed(each, now) for each in uses]
    known = {(each.certificate.ca, each.certificate.serial_number) for each in uses}
    others = {each.identity: each for each in shown if each.key_server}
    found += [
        _shown(each, now) for each in others.values() if (each.certificate_authority, each.serial_number) not in known
    ]
    return sorted(found, key=lambda each: (each.not_after, each.name, each.used_by))


def _installed(use: CertificateUse, now: datetime) -> Entry:
    of = use.certificate
    owner = of.svm.name if of.svm else ""
    return Entry(
        of.common_name,
        certificate_path(of.uuid),
        of.type.value,
        owner,
        frozenset({owner, *(each.vserver for each in use.key_managers)}),
        users(use),
        of.ca,
        of.expiry_time,
        of.expiry_time - now,
    )


def _shown(used: UsedCertificate, now: datetime) -> Entry:
    what = "shown by" if used.type == SERVER else "in the chain of"
    return Entry(
        used.common_name,
        "",
        used.type,
        "",
        frozenset({used.vserver}),
        f"{what} key server {used.key_server}, {used.vserver}",
        used.certificate_authority,
        used.not_after,
        used.not_after - now,
    )


def users(use: CertificateUse) -> str:
    """Return who uses a certificate, in words."""
    said = []
    if use.key_managers:
        said.append(f"used by {', '.join(each.vserver for each in use.key_managers)}")
    if use.logins:
        said.append(f"proves {counted(use.logins, 'login')}")
    if use.certificate.type is CertificateType.ROOT_CA:
        said.append("signs requests")
    return "; ".join(said) or "used by nobody"


def filtered(found: Iterable[Entry], asked: Mapping[str, str]) -> list[Entry]:
    """Return the entries of a type, and owned or used by an SVM (a name); empty means all.

    Raises 262185 (400) for a type that there is not.
    """
    type_, svm = asked.get("type", ""), asked.get("svm", "").strip()
    if type_ and type_ not in set(CertificateType):
        raise invalid("type", "there is no such type")
    return [each for each in found if type_ in {"", each.type} and (not svm or svm in each.svms)]


def effects(found: Iterable[CertificateEffect], ends: datetime, now: datetime) -> list[tuple[Tone, str]]:
    """Return what the end of a certificate means: a sentence per key manager that uses it, with its tone."""
    return [_effect(each, ends, now) for each in found]


def _effect(effect: CertificateEffect, ends: datetime, now: datetime) -> tuple[Tone, str]:
    has_ended = ends <= now
    day = f"It ended on {ends:%d %b %Y}. Without it, " if has_ended else f"On {ends:%d %b %Y} "
    loses = "loses" if has_ended else "would lose"
    lost = f"{day}{effect.vserver} {loses} {effect.lost} of {counted(effect.servers, 'key server')}"
    shown = "it has" if effect.unknown == 1 else "they have"
    unknown = f" Not known for {counted(effect.unknown, 'key server')}: {shown} shown no proven certificate."
    tone, then = _keys_then(effect, "can" if has_ended else "could")
    return tone, f"{lost}: {then}{unknown if effect.unknown else ''}"


def _keys_then(effect: CertificateEffect, can: str) -> tuple[Tone, str]:
    """Return what could be read then, in words. ``can`` is the verb: ``can`` or ``could``."""
    if not effect.keys:
        return (Tone.WARN if effect.lost else Tone.OK), "it has no keys."
    if effect.unreadable == effect.keys:
        return Tone.BAD, f"no key {can} be read from any server."
    if effect.unreadable:
        cannot = "cannot" if can == "can" else "could not"
        return Tone.BAD, f"{effect.unreadable} of {counted(effect.keys, 'key')} {cannot} be read."
    if not effect.survives:
        return Tone.WARN, f"every key {can} still be read, but no further domain may fail."
    more = counted(effect.survives, "more domain")
    return (
        Tone.WARN if effect.lost or effect.unknown else Tone.OK
    ), f"every key {can} be read, and any {more} may fail."


# --- forms ---


def new_certificate(typed: Mapping[str, str], svm_uuid: str | None = None) -> NewCertificate:
    """Return the certificate of a form. Its text may have intermediates after it, and the private key among it."""
    text, key = typed.get("public_certificate", ""), typed.get("private_key", "").strip()
    if not key and holds_private_key(text):
        key = text
    blocks = _BLOCK.findall(text)
    return NewCertificate(
        type=typed.get("type", ""),
        public_certificate=blocks[0] if blocks else text,
        name=typed.get("name", "").strip() or None,
        svm_uuid=svm_uuid,
        svm_name=None if svm_uuid else typed.get("svm", "").strip() or None,
        private_key=Secret(key) if key else None,
        intermediate_certificates=tuple(blocks[1:]),
    )


def shown_again(typed: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return what a form shows of what was typed, without what holds a private key."""
    values = {name: typed.get(name, "").strip() for name in names}
    return {name: "" if holds_private_key(value) else value for name, value in values.items()}
