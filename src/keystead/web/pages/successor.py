"""``/certificates/{uuid}/successor``: replace a client certificate in use, in two steps.

First the new certificate is installed. Then each key manager is changed to it, after ONTAP's proof. Each step is a
request of its own and leaves a state that its page explains. The page shows what is stored, so it can be opened again.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.console_paths import CERTIFICATES
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange, has_same_key_pair
from keystead.core.model import CertificateType
from keystead.web.certificates import certificate_path, new_certificate, shown_again
from keystead.web.declaration import Page
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from keystead.core.model import Certificate
    from keystead.service.configuration.certificate_uses import CertificateUse, CertificateUser
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

FIELDS: Final = ("name", "public_certificate")

_API: Final = "/api/security/certificates"
_MANAGERS: Final = "/api/security/key-managers"


async def choose(request: PageRequest) -> Response:
    """Show the first step: install the successor, or choose one that is installed."""
    return await _choose(request, {})


async def install(request: PageRequest) -> Response:
    """Install the successor and go to the second step; or show the first again, with the reason."""
    old, _ = await _old_and_others(request)
    try:
        typed = {**request.form, "type": CertificateType.CLIENT.value}
        owner = old.certificate.svm.uuid if old.certificate.svm else None
        new = new_certificate(typed, owner)
        made = await request.services.certificates.install(request.call, new, successor_of=old.certificate)
    except OntapError as error:
        return await _choose(request, request.form, error)
    return redirect(_step(old.certificate.uuid, made.uuid))


async def _choose(request: PageRequest, typed: Mapping[str, str], error: OntapError | None = None) -> Response:
    old, others = await _old_and_others(request)
    context = {
        "old": old.certificate,
        "path": _step(old.certificate.uuid),
        "users": [each.vserver for each in old.key_managers],
        "others": [(each.certificate, _step(old.certificate.uuid, each.certificate.uuid)) for each in others],
        "typed": shown_again(typed, FIELDS),
        "asks": _ask(old.certificate),
        "ways": _install_ways(request, old.certificate),
        **await refusal(request, error),
    }
    return page("successor.html", await shell(request, CERTIFICATES) | context, error.kind.status if error else 200)


async def switch_form(request: PageRequest) -> Response:
    """Show the second step: which key managers use the old certificate, and which the new one."""
    return await _switch_form(request)


async def switch(request: PageRequest) -> Response:
    """Change one key manager to the successor, after ONTAP's proof; or show which key server refuses it, and why."""
    old, new = await _pair(request)
    uuid = request.form.get("key_manager", "")
    user = next((each for each in old.key_managers if each.key_manager == uuid), None)
    try:
        if user is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="key_manager")
        request.require("PATCH", f"{_MANAGERS}/{uuid}")
        change = KeyManagerChange(client_certificate=CertificateName(uuid=new.certificate.uuid))
        await request.services.key_managers.change(request.call, uuid, change)
    except OntapError as error:
        return await _switch_form(request, error, user.vserver if user else "")
    return redirect(_step(old.certificate.uuid, new.certificate.uuid))


async def _switch_form(request: PageRequest, error: OntapError | None = None, refused: str = "") -> Response:
    """Show the second step. ``refused`` is the owner of the key manager that was not changed."""
    old, new = await _pair(request)
    context = {
        "old": old.certificate,
        "new": new.certificate,
        "old_path": certificate_path(old.certificate.uuid),
        "new_path": certificate_path(new.certificate.uuid),
        "path": _step(old.certificate.uuid, new.certificate.uuid),
        "waiting": [(each, _switch_ways(request, each, new.certificate)) for each in old.key_managers],
        "switched": new.key_managers,
        "refused": refused,
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("successor_switch.html", await shell(request, CERTIFICATES) | context, status)


async def _old_and_others(request: PageRequest) -> tuple[CertificateUse, list[CertificateUse]]:
    """Return the client certificate to replace, and those of its owner that may follow it: for the same key pair.

    Raises 4 (404) for another type.
    """
    uses = await request.services.certificate_uses.all(request.call)
    old = _client(uses, request.value("uuid"))
    return old, [each for each in uses if _may_follow(each.certificate, old.certificate)]


def _may_follow(new: Certificate, old: Certificate) -> bool:
    """Return True if a certificate may follow an old client certificate."""
    is_other = new.type is CertificateType.CLIENT and new.svm == old.svm and new.uuid != old.uuid
    return is_other and has_same_key_pair(old, new)


async def _pair(request: PageRequest) -> tuple[CertificateUse, CertificateUse]:
    """Return the old certificate and its successor. Raises 4 (404) unless the one may follow the other."""
    old, others = await _old_and_others(request)
    return old, _client(others, request.value("new"))


def _client(uses: list[CertificateUse] | tuple[CertificateUse, ...], uuid: str) -> CertificateUse:
    """Return the client certificate with this uuid. Raises 4 (404) if there is none."""
    for each in uses:
        if each.certificate.uuid == uuid and each.certificate.type is CertificateType.CLIENT:
            return each
    raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")


def _step(old: str, new: str = "") -> str:
    """Return the path of the first step, or of the second one with ``new``."""
    first = f"{certificate_path(old)}/successor"
    return f"{first}/{new}" if new else first


def _ask(old: Certificate) -> str:
    """Return the command that makes a signing request for the private key of a certificate. Its file is needed."""
    name = old.common_name.replace("/", r"\/")
    return shlex.join(["openssl", "req", "-new", "-key", "private.key", "-subj", f"/CN={name}", "-out", "client.csr"])


def _install_ways(request: PageRequest, old: Certificate) -> Ways:
    cli = command(
        *("security", "certificate", "install"),
        vserver=vserver(old.svm),
        type=CertificateType.CLIENT.value,
        cert="certificate.pem",
        key="private.key",
    )
    body = {"type": CertificateType.CLIENT.value, "public_certificate": "PEM", "private_key": "PEM"}
    return ways(request, cli, "POST", _API, {**body, "svm": {"name": old.svm.name}} if old.svm else body)


def _switch_ways(request: PageRequest, user: CertificateUser, new: Certificate) -> Ways:
    words = ("security", "key-manager", "external", "modify")
    cli = command(*words, vserver=user.vserver if user.owned_by_svm else None, client_cert=new.name)
    body = {"external": {"client_certificate": {"uuid": new.uuid}}}
    return ways(request, cli, "PATCH", f"{_MANAGERS}/{user.key_manager}", body)


_NEEDS: Final = (("GET", _API), ("GET", _MANAGERS), ("PATCH", f"{_MANAGERS}/-"))
_INSTALLS: Final = (*_NEEDS, ("POST", _API))
_FIRST: Final = f"{CERTIFICATES}/{{uuid}}/successor"
_SECOND: Final = f"{_FIRST}/{{new}}"

PAGES: Final = (
    Page(_FIRST, choose, needs=_INSTALLS),
    Page(_FIRST, install, needs=_INSTALLS, method="POST"),
    Page(_SECOND, switch_form, needs=_NEEDS),
    Page(_SECOND, switch, needs=_NEEDS, method="POST"),
)
