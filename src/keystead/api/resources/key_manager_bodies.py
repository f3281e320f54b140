"""The requests in bodies of ``/security/key-managers``, made from checked values. This module decides no rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.resources.key_servers import new_key_server
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import (
    CLIENT_CERTIFICATE,
    SERVER_CA_CERTIFICATES,
    CertificateName,
    KeyManagerChange,
    NewKeyManager,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def new_key_manager(values: Mapping[str, Any], *, confined: bool, inactive: bool = False) -> NewKeyManager:
    """Return the key manager that a body asks for. Raise 262185 if ``scope`` contradicts the owner.

    The values are checked already. ``confined`` means that the call is confined to an SVM, so that the body need not
    name it.
    """
    _refuse_onboard(values)
    svm: Mapping[str, Any] = values.get("svm", {})
    external: Mapping[str, Any] = values.get("external", {})
    if values.get("scope") not in {None, "svm" if svm or confined else "cluster"}:
        raise OntapError(errors.INVALID_VALUE, target="scope", field="scope", reason="it does not agree with svm")
    client = external.get("client_certificate")
    return NewKeyManager(
        svm_uuid=svm.get("uuid"),
        svm_name=svm.get("name"),
        client_certificate=_named(client, CLIENT_CERTIFICATE) if client else None,
        server_ca_certificates=_named_cas(external.get("server_ca_certificates", ())),
        servers=tuple(map(new_key_server, external.get("servers", ()))),
        policy=values.get("policy"),
        configuration_name=values.get("configuration", {}).get("name", "default"),
        inactive=inactive,
        min_copies=values.get("min_copies", 0),
        monitor_interval=values.get("monitor_interval", 0),
    )


def key_manager_change(values: Mapping[str, Any]) -> KeyManagerChange:
    """Return the changes that a PATCH asks for, from checked values."""
    _refuse_onboard(values)
    svm: Mapping[str, Any] = values.get("svm", {})
    external: Mapping[str, Any] = values.get("external", {})
    if "servers" in external:
        raise OntapError(errors.FIELD_NOT_SETTABLE, target="external.servers", field="external.servers")
    client, cas = external.get("client_certificate"), external.get("server_ca_certificates")
    return KeyManagerChange(
        client_certificate=None if client is None else _named(client, CLIENT_CERTIFICATE),
        server_ca_certificates=None if cas is None else _named_cas(cas),
        policy=values.get("policy"),
        scope=values.get("scope"),
        svm_uuid=svm.get("uuid"),
        svm_name=svm.get("name"),
        min_copies=values.get("min_copies"),
        monitor_interval=values.get("monitor_interval"),
    )


def _refuse_onboard(values: Mapping[str, Any]) -> None:
    if "onboard" in values:
        raise OntapError(errors.ONBOARD, target="onboard")


def _named(values: Mapping[str, Any], target: str) -> CertificateName:
    if not values:
        raise OntapError(errors.MISSING_VALUE, target=f"{target}.uuid", field=f"{target}.uuid")
    return CertificateName(**values)


def _named_cas(items: Iterable[Mapping[str, Any]]) -> tuple[CertificateName, ...]:
    return tuple(_named(values, f"{SERVER_CA_CERTIFICATES}[{index}]") for index, values in enumerate(items))
