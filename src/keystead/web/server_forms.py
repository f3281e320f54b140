"""What forms about key servers say: new servers, and changes of one. Pure.

A field that cannot be read is refused here, as the API refuses it. All rules are those of the use cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import (
    DOMAIN_LIMIT,
    PORTS,
    SECONDARY_LIMIT,
    TIMEOUTS_S,
    USERNAME_LIMIT,
    AddRequest,
    ModifyRequest,
    NewKeyServer,
)
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress, server_name
from keystead.web.certificates import shown_again
from keystead.web.lists import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from keystead.core.model import KeyServer

CHANGES: Final = (
    *("port", "timeout", "create_remove_timeout", "tls_server_name", "replication_domain"),
    *("secondary_key_servers", "username"),
)
"""The fields of the form that changes a key server, without the password."""

NEW: Final = ("servers", "username", "tls_server_name", "timeout", "create_remove_timeout")
"""The fields of the form with new servers, without the password."""

PASSWORD: Final = "PASSWORD"  # noqa: S105 - a word in its place
"""What a way to do the same shows where a password belongs."""


def values_of(server: KeyServer) -> dict[str, str]:
    """Return the fields of the form that changes a server, as the server is."""
    return {
        "port": str(server.address.port),
        "timeout": str(server.timeout),
        "create_remove_timeout": str(server.create_remove_timeout),
        "tls_server_name": server.tls_server_name,
        "replication_domain": server.replication_domain,
        "secondary_key_servers": "\n".join(server.secondary_key_servers),
        "username": server.username,
    }


def change_of(server: KeyServer, form: Mapping[str, str]) -> ModifyRequest:
    """Return the change that a form asks for. Raises 262185 for a field that cannot be read, 65536880 if nothing
    differs.

    An empty password leaves the stored one.
    """
    changed = typed_changes(server, form)
    password = form.get("password", "")
    if password:
        changed["password"] = Secret(password)
    if not changed:
        raise OntapError(errors.NOTHING_TO_MODIFY)
    return ModifyRequest(server.address, **changed)


def typed_changes(server: KeyServer, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a form that differ from the server, as values of the API, without the password.

    Raises 262185 for a field that cannot be read.
    """
    before, after = values_of(server), shown_again(form, CHANGES)
    after["secondary_key_servers"] = "\n".join(_listed(after["secondary_key_servers"]))
    return {name: _PARSERS[name](name, value) for name, value in after.items() if value != before[name]}


def _listed(text: str) -> list[str]:
    """Return what was typed: one per line, or with commas or blanks between."""
    return text.replace(",", " ").split()


def new_servers(form: Mapping[str, str]) -> AddRequest:
    """Return the servers that a form adds. The other fields are the same for all; each may have a domain of its own.

    Raises 262185 (400) for a field that cannot be read, and if there is no address.
    """
    addresses = _listed(form.get("servers", ""))
    if not addresses:
        raise invalid("servers", "give at least one address")
    password = form.get("password", "")
    same: dict[str, Any] = {
        name: _PARSERS[name](name, form[name].strip()) for name in NEW[1:] if form.get(name, "").strip()
    }
    if password:
        same["password"] = Secret(password)
    return AddRequest(
        tuple(
            NewKeyServer(
                _address(address),
                replication_domain=_text(DOMAIN_LIMIT)(domain_field(address), _domain(form, address)),
                **same,
            )
            for address in addresses
        ),
        prefix="servers[{index}].",
    )


def typed_records(form: Mapping[str, str], only: Container[str] | None = None) -> list[dict[str, Any]]:
    """Return the servers that a form adds as records of the API, with a word for the password.

    ``only`` are the addresses that count; None: all. Empty if a field cannot be read.
    """
    try:
        servers = new_servers({**form, **shown_again(form, NEW)}).servers
    except OntapError:
        return []
    return [_record(each) for each in servers if only is None or str(each.server) in only]


def _record(server: NewKeyServer) -> dict[str, Any]:
    plain = NewKeyServer(server.server)
    given = {name: getattr(server, name) for name in (*NEW[1:], "replication_domain")}
    told = {name: value for name, value in given.items() if value != getattr(plain, name)}
    return {"server": str(server.server), **told, **({"password": PASSWORD} if server.password else {})}


def domain_field(address: str) -> str:
    """Return the name of the field with the replication domain of a new server."""
    return f"domain-{address}"


def _domain(form: Mapping[str, str], address: str) -> str:
    return form.get(domain_field(address), "").strip()


def _address(text: str) -> ServerAddress:
    try:
        return ServerAddress.parse(text)
    except ValueError as error:
        raise invalid("servers", str(error)) from None


def _whole(numbers: range) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        digits = value.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > len(str(numbers[-1])):
            raise invalid(name, "it is no whole number")
        if int(value) not in numbers:
            raise invalid(name, f"it is not from {numbers[0]} to {numbers[-1]}")
        return int(value)

    return parse


def _text(limit: int) -> Callable[[str, str], str]:
    def parse(name: str, value: str) -> str:
        if len(value) > limit or not value.isprintable():
            raise invalid(name, f"it has more than {limit} characters, or some that cannot be shown")
        return value

    return parse


def _tls_name(name: str, value: str) -> str:
    try:
        return server_name(value)
    except ValueError as error:
        raise invalid(name, str(error)) from None


def _hosts(name: str, value: str) -> tuple[str, ...]:
    return tuple(_text(SECONDARY_LIMIT)(name, host) for host in value.split())


_PARSERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "port": _whole(PORTS),
    "timeout": _whole(TIMEOUTS_S),
    "create_remove_timeout": _whole(TIMEOUTS_S),
    "tls_server_name": _tls_name,
    "replication_domain": _text(DOMAIN_LIMIT),
    "secondary_key_servers": _hosts,
    "username": _text(USERNAME_LIMIT),
}
