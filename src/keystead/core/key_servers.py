"""The rules of primary key servers: which add, change or removal is accepted, and the ONTAP codes of refusals.

Pure: facts in; a plan or one :class:`OntapError` out. Source: ONTAP 9.6 pages of ``/security/key-managers/{uuid}/
key-servers``; 65536042, 65537400 and 65538xxx from the 9.11.1 pages and later, 65537002 from 9.18.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Certificate, CertificateType, Cluster, KeyManager, KeyServer, Node, Release
from keystead.core.quorum import OFF, Quorum
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.errors import ErrorKind
    from keystead.core.model import Svm
    from keystead.core.secret import Secret

MAX_PRIMARIES = 4
MAX_SECONDARIES = 3
MULTITENANT_SINCE = Release(9, 6, 0)
SECONDARIES_SINCE = Release(9, 11, 1)
PORT_SINCE = Release(9, 18, 1)
DEFAULT_TIMEOUT_S = 25
DEFAULT_CREATE_REMOVE_TIMEOUT_S = 10
TIMEOUTS_S = range(-1, 61)
PORTS = range(1, 65536)
USERNAME_LIMIT = 256
SECONDARY_LIMIT = 300
DOMAIN_LIMIT = 255

Target = Callable[[int, str], str]
"""A function from an index and a field to the place of that server's field in the request."""

_proved_values = attrgetter("address", "username", "sealed_password", "secondary_key_servers", "tls_server_name")


@dataclass(frozen=True, slots=True)
class NewKeyServer:
    """A primary key server as the caller asks for it; times in whole seconds, -1 to 60."""

    server: ServerAddress
    timeout: int = DEFAULT_TIMEOUT_S
    create_remove_timeout: int = DEFAULT_CREATE_REMOVE_TIMEOUT_S
    username: str = ""
    password: Secret | None = None
    secondary_key_servers: tuple[str, ...] = ()
    tls_server_name: str = ""
    replication_domain: str = ""

    @property
    def secondaries(self) -> tuple[ServerAddress, ...]:
        """The addresses of the secondaries, on the primary's port. Valid only after :func:`plan_add` accepted them."""
        return _on_port(self.secondary_key_servers, self.server.port)


@dataclass(frozen=True, slots=True)
class AddRequest:
    """The servers of one call. ``prefix`` says where the fields of a server are in the body, for an error's target.

    ``""`` for a single server, ``records[{index}].`` in bulk, ``external.servers[{index}].`` in a new key manager.
    """

    servers: tuple[NewKeyServer, ...]
    prefix: str = ""

    def target(self, index: int, field: str) -> str:
        """Return the place of a field of the server at ``index`` in the request's body."""
        return self.prefix.format(index=index) + field


@dataclass(frozen=True, slots=True)
class ModifyRequest:
    """Changes of the primary key server at ``address``. None leaves a value as it is, an empty value clears it."""

    address: ServerAddress
    port: int | None = None
    timeout: int | None = None
    create_remove_timeout: int | None = None
    username: str | None = None
    password: Secret | None = None
    secondary_key_servers: tuple[str, ...] | None = None
    tls_server_name: str | None = None
    replication_domain: str | None = None

    def target(self, _: int, field: str) -> str:
        """Return the field if the request has it, else ``port`` if the request changes it, else ``server`` (in the
        path).
        """
        if getattr(self, field, None) is not None:
            return field
        return "server" if self.port is None else "port"

    @property
    def values(self) -> dict[str, Any]:
        """The values in the request, by field name."""
        found = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "address"}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ServersState:
    """The facts that decide about key servers.

    ``certificates`` are the installed ones among those that the key manager names, by uuid.
    """

    key_manager: KeyManager
    cluster: Cluster
    nodes: tuple[Node, ...]
    certificates: Mapping[str, Certificate]
    servers: tuple[KeyServer, ...]
    quorum: Quorum = OFF


@dataclass(frozen=True, slots=True)
class AddPlan:
    """An accepted add: the servers in order, and the stored position of the first."""

    servers: tuple[NewKeyServer, ...]
    first_position: int


@dataclass(frozen=True, slots=True)
class ModifyPlan:
    """An accepted change: the server as it will be. ``password`` is a new password, to be sealed and added to it.

    ``proves``: the change affects how the server is reached, or who we are to it. So the server is proved before the
    change is stored.
    """

    server: KeyServer
    password: Secret | None
    proves: bool


# --- add ---


def plan_add(state: ServersState, request: AddRequest) -> AddPlan:
    """Return the plan of an add, or raise the first rule that is broken, in the order of the design."""
    _check_supported(state)
    _check_quorum(state, "add")
    check_certificates(state.key_manager, state.certificates)
    for index, new in enumerate(request.servers):
        target = request.target(index, "secondary_key_servers")
        _check_secondaries_supported(state.nodes, new.secondary_key_servers, target)
    check_servers(state.servers, request)
    return AddPlan(request.servers, 1 + max((server.position for server in state.servers), default=0))


def check_servers(existing: Sequence[KeyServer], request: AddRequest) -> None:
    """Raise the first rule that the new servers break, among themselves or with existing servers."""
    for index, new in enumerate(request.servers):
        if new.password and not new.username:
            raise OntapError(errors.MISSING_USERNAME, target=request.target(index, "username"))
        if new.username and not new.password:
            raise OntapError(errors.MISSING_PASSWORD, target=request.target(index, "password"))
    _check_addresses(existing, request.servers, request.target)


# --- modify ---


def plan_modify(state: ServersState, request: ModifyRequest) -> ModifyPlan:
    """Return the plan of a change, by the rules of an add in their order. Values that are not in the request stay."""
    _check_supported(state)
    _check_quorum(state, "modify")
    check_certificates(state.key_manager, state.certificates)
    before = require(state.servers, request.address)
    if request.port is not None:
        check_release(state.nodes, PORT_SINCE, errors.PORT_RELEASE, "port")
    _check_secondaries_supported(state.nodes, request.secondary_key_servers, "secondary_key_servers")
    after = _changed(before, request)
    asked = NewKeyServer(after.address, secondary_key_servers=after.secondary_key_servers)
    others = tuple(server for server in state.servers if server is not before)
    _check_addresses(others, (asked,), request.target)
    password = request.password or None
    return ModifyPlan(after, password, password is not None or _proved_values(before) != _proved_values(after))


def _changed(before: KeyServer, request: ModifyRequest) -> KeyServer:
    """Return the server with the request's values, and without its password unless the password stays."""
    values = request.values
    password_stays = _password_stays(before, request)
    port = values.pop("port", before.address.port)
    values.pop("password", None)
    return replace(
        before,
        address=ServerAddress(before.address.host, port),
        sealed_password=before.sealed_password if password_stays else None,
        **values,
    )


def _password_stays(before: KeyServer, request: ModifyRequest) -> bool:
    """Return True if the stored password stays. Raise 65536845 or 65536846 if only user name or password is given."""
    username = before.username if request.username is None else request.username
    if not username:
        if request.password:
            raise OntapError(errors.MISSING_USERNAME, target="username")
        return False
    if request.password is None and username == before.username:
        return True
    if not request.password:
        raise OntapError(errors.MISSING_PASSWORD, target="password")
    return False


# --- remove ---


def plan_remove(state: ServersState, address: ServerAddress, *, force: bool = False) -> KeyServer:
    """Return the server to remove. The last one may be removed: its key manager stays.

    With ``force``, nodes may be out of quorum.
    """
    _check_supported(state)
    if not force:
        _check_quorum(state, "remove")
    return require(state.servers, address)


# --- probe ---


def plan_probe(state: ServersState, addresses: Sequence[ServerAddress]) -> tuple[KeyServer, ...]:
    """Return the stored servers to probe, all if there are no addresses. Raise 65536843 for an unknown address."""
    _check_supported(state)
    check_certificates(state.key_manager, state.certificates)
    for address in addresses:
        if find(state.servers, address) is None:
            named = [("server", str(address))]
            raise OntapError(errors.KEY_SERVER_NOT_CONFIGURED, target="servers", arguments=named)
    return tuple(server for server in state.servers if not addresses or server.address in addresses)


# --- shared rules ---


def _check_supported(state: ServersState) -> None:
    if not state.key_manager.enabled:
        raise OntapError(errors.NOT_ENABLED)
    check_multitenant(state.key_manager.svm, state.cluster, state.nodes)


def _check_quorum(state: ServersState, verb: str) -> None:
    if node := state.quorum.missing(state.nodes):
        raise OntapError(errors.OUT_OF_QUORUM, verb=verb, node=node)


def check_multitenant(svm: Svm | None, cluster: Cluster, nodes: Iterable[Node]) -> None:
    """Raise 65536822 or 65536824 if an SVM cannot have its own key manager here."""
    if svm is None:
        return
    check_release(nodes, MULTITENANT_SINCE, errors.CLUSTER_VERSION)
    if cluster.metrocluster:
        raise OntapError(errors.METROCLUSTER)


def check_release(nodes: Iterable[Node], since: Release, kind: ErrorKind, target: str | None = None) -> None:
    """Raise the error if any node runs a release before ``since``: the oldest node decides for the cluster."""
    if any(node.release < since for node in nodes):
        raise OntapError(kind, target=target)


def _check_secondaries_supported(nodes: Iterable[Node], secondaries: Sequence[str] | None, target: str) -> None:
    if secondaries:
        check_release(nodes, SECONDARIES_SINCE, errors.SECONDARIES_RELEASE, target)


def check_certificates(key_manager: KeyManager, installed: Mapping[str, Certificate]) -> None:
    """Raise 65536821 unless every certificate is installed, has the right type, and is the SVM's or the cluster's."""
    wanted = [(key_manager.client_certificate, CertificateType.CLIENT)]
    wanted += [(uuid, CertificateType.SERVER_CA) for uuid in key_manager.server_ca_certificates]
    for uuid, type_ in wanted:
        certificate = installed.get(uuid)
        if certificate is None or certificate.type != type_ or certificate.svm not in {None, key_manager.svm}:
            raise OntapError(errors.CERTIFICATE_NOT_INSTALLED)


def _check_addresses(existing: Sequence[KeyServer], servers: Sequence[NewKeyServer], target: Target) -> None:
    """Raise the first rule that the addresses of the servers and their secondaries break."""
    for index, new in enumerate(servers):
        _check_own_secondaries(new, target(index, "secondary_key_servers"))
    _check_primaries(existing, servers, target)
    primaries = {server.address for server in existing} | {server.server for server in servers}
    for index, new in enumerate(servers):
        if primaries & set(new.secondaries):
            raise OntapError(errors.SECONDARY_IS_PRIMARY, target=target(index, "secondary_key_servers"))


def _check_own_secondaries(new: NewKeyServer, target: str) -> None:
    if len(new.secondary_key_servers) > MAX_SECONDARIES:
        raise OntapError(errors.TOO_MANY_SECONDARIES, target=target)
    try:
        secondaries = new.secondaries
    except ValueError:
        raise OntapError(errors.SECONDARY_MALFORMED, target=target) from None
    if new.server in secondaries:
        raise OntapError(errors.SECONDARY_IS_OWN_PRIMARY, target=target)
    if len(set(secondaries)) < len(secondaries):
        raise OntapError(errors.DUPLICATE_SECONDARIES, target=target)


def _check_primaries(existing: Sequence[KeyServer], servers: Sequence[NewKeyServer], target: Target) -> None:
    primaries = {server.address for server in existing}
    secondaries = {address for server in existing for address in secondary_addresses(server)}
    new = [server.server for server in servers]
    seen: set[ServerAddress] = set()
    for index, address in enumerate(new):
        if address in seen:
            raise OntapError(errors.DUPLICATE_KEY_SERVERS, target=target(index, "server"))
        seen.add(address)
    for index, address in enumerate(new):
        if address in primaries:
            named = [("server", str(address))]
            raise OntapError(errors.KEY_SERVER_EXISTS, target=target(index, "server"), arguments=named)
    for index, address in enumerate(new):
        if address in secondaries:
            raise OntapError(errors.ALREADY_SECONDARY, target=target(index, "server"))
    if len(primaries) + len(new) > MAX_PRIMARIES:
        raise OntapError(errors.KEY_SERVER_LIMIT)


def secondary_addresses(server: KeyServer) -> tuple[ServerAddress, ...]:
    """Return the addresses of a stored server's secondaries. They use the primary's port."""
    return _on_port(server.secondary_key_servers, server.address.port)


def _on_port(hosts: Iterable[str], port: int) -> tuple[ServerAddress, ...]:
    return tuple(ServerAddress.parse_host(host, port) for host in hosts)


def find(servers: Iterable[KeyServer], address: ServerAddress) -> KeyServer | None:
    """Return the server with this address, however it is spelled, or None."""
    return next((server for server in servers if server.address == address), None)


def require(servers: Iterable[KeyServer], address: ServerAddress) -> KeyServer:
    """Return the server to be changed, or raise 65536843."""
    server = find(servers, address)
    if server is None:
        raise OntapError(errors.KEY_SERVER_NOT_CONFIGURED, target="server")
    return server
