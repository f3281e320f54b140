"""``/key-managers/add``: set up a key manager with its certificates and its first key servers, in the same steps.

What was typed travels in fields. A private key is installed by a button of its own, and never shown again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from keystead.core.console_paths import KEY_SERVERS
from keystead.core.errors import OntapError
from keystead.core.key_servers import MAX_PRIMARIES
from keystead.core.model import CertificateType
from keystead.service.ports.page import Page as Slice
from keystead.web.certificates import shown_again
from keystead.web.declaration import Page
from keystead.web.diagnosis import diagnosis
from keystead.web.independence import together
from keystead.web.pages.add_key_servers import STORE
from keystead.web.pages.key_servers import EXTERNAL
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.server_forms import typed_records
from keystead.web.setting_up import FIELDS, cas_of, choices, pasted_certificate, wanted_key_manager, with_installed
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from keystead.core.key_managers import NewKeyManager
    from keystead.core.model import Certificate
    from keystead.core.probing import ProbeResult
    from keystead.web.diagnosis import Diagnosis
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

ADD: Final = "/key-managers/add"
INSTALL: Final = "install"

_MANAGERS: Final = "/api/security/key-managers"
_CERTIFICATES: Final = "/api/security/certificates"


async def add_form(request: PageRequest) -> Response:
    """Show the form for owner, certificates and addresses."""
    return await _form(request, request.form)


async def add(request: PageRequest) -> Response:
    """Install a certificate, diagnose the key servers, or create the key manager and show the list.

    In all other cases show the form again: with what was found, or with the reason of a refusal.
    """
    form, wish = request.form, request.form.get("do")
    try:
        if wish == INSTALL:
            request.require("POST", _CERTIFICATES)
            made = await request.services.certificates.install(request.call, pasted_certificate(form))
            return await _form(request, with_installed(form, made), installed=made)
        wanted = wanted_key_manager(form)
        if wish != STORE:
            results = await request.services.key_managers.dry_run(request.call, wanted)
            return await _form(request, form, found=_diagnosis(wanted, results))
        await request.services.key_managers.create(request.call, wanted)
    except OntapError as error:
        return await _form(request, form, error=error)
    return redirect(KEY_SERVERS)


def _diagnosis(wanted: NewKeyManager, results: Sequence[ProbeResult]) -> Diagnosis:
    declared = {str(each.server): each.replication_domain for each in wanted.servers}
    return diagnosis(results, together((), (), results, declared), datetime.now(UTC))


async def _form(
    request: PageRequest,
    form: Mapping[str, str],
    *,
    found: Diagnosis | None = None,
    installed: Certificate | None = None,
    error: OntapError | None = None,
) -> Response:
    now, values = datetime.now(UTC), shown_again(form, FIELDS)
    certificates = await request.services.certificates.page(request.call, Slice())
    context = {
        "path": ADD,
        "key_servers_path": KEY_SERVERS,
        "owners": await _owners(request),
        "clients": choices(certificates, CertificateType.CLIENT, now),
        "cas": choices(certificates, CertificateType.SERVER_CA, now),
        "chosen_cas": cas_of(form),
        "free": MAX_PRIMARIES,
        "typed": values,
        "form": request.form,
        "has_password": bool(form.get("password")),
        "diagnosis": found,
        "installed": installed,
        "ways": _ways(request, values, certificates, found),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("add_key_manager.html", await shell(request, KEY_SERVERS) | context, status)


async def _owners(request: PageRequest) -> list[str]:
    """Return the names of who may get a key manager: SVMs, and for the cluster the empty text.

    Accounts of an SVM have no choice.
    """
    if request.caller.svm:
        return []
    managers = await request.services.key_lists.key_managers(request.call)
    having = {each.of.svm.name if each.of.svm else "" for each in managers}
    names = ["", *(svm.name for svm in await request.services.svms.page(request.call, Slice()))]
    return [name for name in names if name not in having]


def _ways(
    request: PageRequest, values: Mapping[str, str], certificates: Sequence[Certificate], found: Diagnosis | None
) -> Ways:
    """Return the ways to set up what is typed, or of it what the diagnosis accepted."""
    servers = typed_records(request.form, found.accepted if found else None) or [{"server": "ks1.example.com"}]
    names = {each.uuid: each.name for each in certificates}
    svm, client, cas = values["svm"], values["client_certificate"], cas_of(values)
    cli = command(
        *(*EXTERNAL, "enable"),
        vserver=svm,
        key_servers=",".join(each["server"] for each in servers),
        client_cert=names.get(client, "kmip-client"),
        server_ca_certs=",".join(names.get(uuid, uuid) for uuid in cas) or "kmip-ca",
    )
    external: dict[str, Any] = {
        "client_certificate": {"uuid": client or "UUID"},
        "server_ca_certificates": [{"uuid": uuid} for uuid in cas or ["UUID"]],
        "servers": servers,
    }
    owner = {"svm": {"name": svm}} if svm else {}
    in_cli = all(each.keys() == {"server"} for each in servers)
    return ways(request, cli if in_cli else "", "POST", _MANAGERS, {**owner, "external": external})


_NEEDS: Final = (("POST", _MANAGERS), ("GET", _CERTIFICATES))

PAGES: Final = (
    Page(ADD, add_form, needs=_NEEDS),
    Page(ADD, add, needs=_NEEDS, method="POST"),
)
