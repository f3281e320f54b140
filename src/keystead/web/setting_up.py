"""What the form that sets up a key manager says, and the certificates that it offers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.model import CertificateType
from keystead.core.secret import holds_private_key
from keystead.web.certificates import new_certificate
from keystead.web.overview import end_words, tone_of_end
from keystead.web.server_forms import NEW, new_servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from keystead.core.certificates.certificates import NewCertificate
    from keystead.core.model import Certificate
    from keystead.web.tones import Tone

FIELDS: Final = ("svm", "client_certificate", "server_ca_certificates", *NEW)
"""The fields of the form, without what is secret. Certificates are uuids, those of CAs with blanks between."""


class Choice(NamedTuple):
    """An installed certificate that a key manager may use."""

    uuid: str
    name: str
    issuer: str
    owner: str
    tone: Tone
    ends: str


def choices(installed: Iterable[Certificate], type_: CertificateType, now: datetime) -> list[Choice]:
    """Return the certificates of a type; those that are valid longest come first."""
    found = sorted((each for each in installed if each.type is type_), key=lambda each: each.expiry_time, reverse=True)
    return [
        Choice(
            each.uuid,
            each.name,
            each.ca,
            each.svm.name if each.svm else "the cluster",
            tone_of_end(each.expiry_time - now),
            end_words("", each.expiry_time - now).strip(),
        )
        for each in found
    ]


def cas_of(form: Mapping[str, str]) -> list[str]:
    """Return the uuids of the CAs that were chosen."""
    return form.get("server_ca_certificates", "").split()


def wanted_key_manager(form: Mapping[str, str]) -> NewKeyManager:
    """Return the key manager that a form asks for. Raises 262185 (400) for a field that cannot be read."""
    client = form.get("client_certificate", "").strip()
    return NewKeyManager(
        svm_uuid=None,
        svm_name=form.get("svm", "").strip() or None,
        client_certificate=CertificateName(uuid=client) if client else None,
        server_ca_certificates=tuple(CertificateName(uuid=uuid) for uuid in cas_of(form)),
        servers=new_servers(form).servers,
    )


def pasted_certificate(form: Mapping[str, str]) -> NewCertificate:
    """Return the certificate that was pasted: the client certificate if its private key is there, else a CA."""
    has_key = holds_private_key(form.get("public_certificate", "")) or bool(form.get("private_key", "").strip())
    type_ = CertificateType.CLIENT if has_key else CertificateType.SERVER_CA
    return new_certificate({**form, "type": type_.value, "name": ""})


def with_installed(form: Mapping[str, str], made: Certificate) -> dict[str, str]:
    """Return the fields of a form with a certificate chosen that was just installed."""
    if made.type is CertificateType.CLIENT:
        return {**form, "client_certificate": made.uuid}
    return {**form, "server_ca_certificates": " ".join([*cas_of(form), made.uuid])}
