"""Model values for tests of pure rules; every argument has a plain default."""

from __future__ import annotations

from datetime import UTC, datetime

from keystead.core.key_servers import NewKeyServer, ServersState
from keystead.core.model import Certificate, CertificateType, Cluster, KeyManager, KeyServer, Node, Release, Svm
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress

VS0 = Svm("11111111-0000-0000-0000-000000000000", "vs0")
VS1 = Svm("22222222-0000-0000-0000-000000000000", "vs1")
CLUSTER = Cluster("c", "keystead")
NODE = Node("n", "keystead-01", Release(9, 18, 1))


def certificate(uuid: str, type_: CertificateType, svm: Svm | None = None) -> Certificate:
    """Make an installed certificate whose contents do not matter."""
    then = datetime(2026, 1, 1, tzinfo=UTC)
    return Certificate(
        uuid, svm, uuid, type_, uuid, "PEM", (), "ca", "1", then, then, 256, "sha256", "", "", sealed_private_key=b"x"
    )


def key_manager(svm: Svm | None = VS0, *, enabled: bool = True) -> KeyManager:
    """Make a key manager with one client and one CA certificate."""
    return KeyManager("km", svm, enabled, "client", ("ca",))


def server(text: str, position: int = 1, secondaries: tuple[str, ...] = ()) -> KeyServer:
    """Make a stored key server."""
    return KeyServer(text, "km", position, ServerAddress.parse(text), 25, 10, "", secondaries)


def new(
    text: str, *, username: str = "", password: str | None = None, secondaries: tuple[str, ...] = ()
) -> NewKeyServer:
    """Make a requested key server."""
    return NewKeyServer(
        ServerAddress.parse(text),
        username=username,
        password=None if password is None else Secret(password),
        secondary_key_servers=secondaries,
    )


def state(
    *servers: KeyServer,
    manager: KeyManager | None = None,
    cluster: Cluster = CLUSTER,
    nodes: tuple[Node, ...] = (NODE,),
    certificates: tuple[Certificate, ...] | None = None,
) -> ServersState:
    """Make the state that decides about an add: by default everything is in order."""
    manager = manager or key_manager()
    installed = certificates
    if installed is None:
        installed = (certificate("client", CertificateType.CLIENT), certificate("ca", CertificateType.SERVER_CA))
    return ServersState(manager, cluster, nodes, {each.uuid: each for each in installed}, servers)
