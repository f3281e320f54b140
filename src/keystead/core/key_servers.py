"""The rules of adding primary key servers: which request is accepted, else which ONTAP code it gets.

Pure: facts in, a plan or one :class:`OntapError` out. Source: ONTAP 9.6 page of ``POST
/security/key-managers/{uuid}/key-servers``; 65536042, 65537400 and 65538xxx from the 9.11.1 page and later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Certificate, CertificateType, Cluster, KeyManager, KeyServer, Node, Release
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.model import Svm
    from keystead.core.secret import Secret

MAX_PRIMARIES = 4
MAX_SECONDARIES = 3
MULTITENANT_SINCE = Release(9, 6, 0)
DEFAULT_TIMEOUT_S = 25
DEFAULT_CREATE_REMOVE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class NewKeyServer:
    """A primary key server as the caller asks for it; times in whole seconds, -1 to 60."""

    server: ServerAddress
    timeout: int = DEFAULT_TIMEOUT_S
    create_remove_timeout: int = DEFAULT_CREATE_REMOVE_TIMEOUT_S
    username: str = ""
    password: Secret | None = None
    secondary_key_servers: tuple[str, ...] = ()

    @property
    def secondaries(self) -> tuple[ServerAddress, ...]:
        """The secondaries' addresses, on the primary's port. Only after :func:`plan_add` accepted them."""
        return tuple(ServerAddress.parse_host(host, self.server.port) for host in self.secondary_key_servers)


@dataclass(frozen=True, slots=True)
class AddRequest:
    """The servers of one call. ``prefix`` is where a server's fields stand in the body, for an error's target.

    ``""`` for a single server, ``records[{index}].`` in bulk, ``external.servers[{index}].`` in a new key manager.
    """

    servers: tuple[NewKeyServer, ...]
    prefix: str = ""

    def target(self, index: int, field: str) -> str:
        """Where a field of the server at ``index`` stands in the request's body."""
        return self.prefix.format(index=index) + field


@dataclass(frozen=True, slots=True)
class AddState:
    """What decides about an add. ``certificates`` holds those of the key manager's that are installed, by uuid."""

    key_manager: KeyManager
    cluster: Cluster
    nodes: tuple[Node, ...]
    certificates: Mapping[str, Certificate]
    servers: tuple[KeyServer, ...]


@dataclass(frozen=True, slots=True)
class AddPlan:
    """An accepted add: the servers in order, and the stored position of the first."""

    servers: tuple[NewKeyServer, ...]
    first_position: int


def plan_add(state: AddState, request: AddRequest) -> AddPlan:
    """Decide on an add. The first rule broken is raised, in the order in which the design lists them."""
    if not state.key_manager.enabled:
        raise OntapError(errors.NOT_ENABLED)
    check_multitenant(state.key_manager.svm, state.cluster, state.nodes)
    check_certificates(state.key_manager, state.certificates)
    check_servers(state.servers, request)
    return AddPlan(request.servers, 1 + max((server.position for server in state.servers), default=0))


def check_multitenant(svm: Svm | None, cluster: Cluster, nodes: Iterable[Node]) -> None:
    """Raise 65536822 or 65536824 when an SVM cannot have a key manager of its own here."""
    if svm is None:
        return
    if any(node.release < MULTITENANT_SINCE for node in nodes):
        raise OntapError(errors.CLUSTER_VERSION)
    if cluster.metrocluster:
        raise OntapError(errors.METROCLUSTER)


def check_certificates(key_manager: KeyManager, installed: Mapping[str, Certificate]) -> None:
    """Raise 65536821 unless every certificate is installed, of the right type, and of the SVM or the cluster."""
    wanted = [(key_manager.client_certificate, CertificateType.CLIENT)]
    wanted += [(uuid, CertificateType.SERVER_CA) for uuid in key_manager.server_ca_certificates]
    for uuid, type_ in wanted:
        certificate = installed.get(uuid)
        if certificate is None or certificate.type != type_ or certificate.svm not in {None, key_manager.svm}:
            raise OntapError(errors.CERTIFICATE_NOT_INSTALLED)


def check_servers(existing: Sequence[KeyServer], request: AddRequest) -> None:
    """Raise the first rule that the new servers break, among themselves and with those that exist."""
    for index, new in enumerate(request.servers):
        _check_credential(new, request, index)
        _check_own_secondaries(new, request, index)
    _check_primaries(existing, request)
    _check_secondaries_against_primaries(existing, request)


def _check_credential(new: NewKeyServer, request: AddRequest, index: int) -> None:
    if new.password is not None and new.password and not new.username:
        raise OntapError(errors.MISSING_USERNAME, target=request.target(index, "username"))
    if new.username and not new.password:
        raise OntapError(errors.MISSING_PASSWORD, target=request.target(index, "password"))


def _check_own_secondaries(new: NewKeyServer, request: AddRequest, index: int) -> None:
    target = request.target(index, "secondary_key_servers")
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


def _check_primaries(existing: Sequence[KeyServer], request: AddRequest) -> None:
    primaries = {server.address for server in existing}
    secondaries = {address for server in existing for address in secondary_addresses(server)}
    new = [server.server for server in request.servers]
    seen: set[ServerAddress] = set()
    for index, address in enumerate(new):
        if address in seen:
            raise OntapError(errors.DUPLICATE_KEY_SERVERS, target=request.target(index, "server"))
        seen.add(address)
    for index, address in enumerate(new):
        if address in primaries:
            named = [("server", str(address))]
            raise OntapError(errors.KEY_SERVER_EXISTS, target=request.target(index, "server"), arguments=named)
    for index, address in enumerate(new):
        if address in secondaries:
            raise OntapError(errors.ALREADY_SECONDARY, target=request.target(index, "server"))
    if len(primaries) + len(new) > MAX_PRIMARIES:
        raise OntapError(errors.KEY_SERVER_LIMIT)


def _check_secondaries_against_primaries(existing: Sequence[KeyServer], request: AddRequest) -> None:
    primaries = {server.address for server in existing} | {server.server for server in request.servers}
    for index, new in enumerate(request.servers):
        if primaries & set(new.secondaries):
            raise OntapError(errors.SECONDARY_IS_PRIMARY, target=request.target(index, "secondary_key_servers"))


def secondary_addresses(server: KeyServer) -> tuple[ServerAddress, ...]:
    """The addresses of a stored server's secondaries: they use their primary's port."""
    return tuple(ServerAddress.parse_host(host, server.address.port) for host in server.secondary_key_servers)


def find(servers: Iterable[KeyServer], address: ServerAddress) -> KeyServer | None:
    """Find a server by address, however it is spelled."""
    return next((server for server in servers if server.address == address), None)
