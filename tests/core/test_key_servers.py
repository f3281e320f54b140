"""The rules of adding key servers, as a table of (state, request, code and target)."""

from __future__ import annotations

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_servers import AddRequest, AddState, NewKeyServer, find, plan_add
from keystead.core.model import CertificateType, Cluster, Node, Release
from keystead.core.server_address import ServerAddress
from tests.core.factories import NODE, VS0, VS1, certificate, key_manager, new, server, state

OLD_NODE = Node("old", "keystead-02", Release(9, 5, 9))
METROCLUSTER = Cluster("c", "keystead", metrocluster=True)
CLIENT, CA = CertificateType.CLIENT, CertificateType.SERVER_CA
FOUR = tuple(server(f"s{n}", n) for n in range(1, 5))


def single(asked: NewKeyServer) -> AddRequest:
    return AddRequest((asked,))


def bulk(*asked: NewKeyServer) -> AddRequest:
    return AddRequest(asked, prefix="records[{index}].")


A = single(new("a"))
REFUSED: dict[str, tuple[AddState, AddRequest, ErrorKind, str | None]] = {
    "not enabled": (state(manager=key_manager(enabled=False)), A, errors.NOT_ENABLED, None),
    "old node": (state(nodes=(NODE, OLD_NODE)), A, errors.CLUSTER_VERSION, None),
    "metrocluster": (state(cluster=METROCLUSTER), A, errors.METROCLUSTER, None),
    "no client certificate": (state(certificates=(certificate("ca", CA),)), A, errors.CERTIFICATE_NOT_INSTALLED, None),
    "no CA": (state(certificates=(certificate("client", CLIENT),)), A, errors.CERTIFICATE_NOT_INSTALLED, None),
    "client certificate of another SVM": (
        state(certificates=(certificate("client", CLIENT, VS1), certificate("ca", CA))),
        A, errors.CERTIFICATE_NOT_INSTALLED, None,
    ),
    "types exchanged": (
        state(certificates=(certificate("client", CA), certificate("ca", CLIENT))),
        A, errors.CERTIFICATE_NOT_INSTALLED, None,
    ),
    "username alone": (state(), single(new("a", username="u")), errors.MISSING_PASSWORD, "password"),
    "username, empty password": (
        state(), single(new("a", username="u", password="")), errors.MISSING_PASSWORD, "password"
    ),
    "password alone": (state(), bulk(new("b"), new("a", password="p")), errors.MISSING_USERNAME, "records[1].username"),
    "four secondaries": (
        state(), single(new("a", secondaries=("b", "c", "d", "e"))),
        errors.TOO_MANY_SECONDARIES, "secondary_key_servers",
    ),
    "secondary with a port": (
        state(), single(new("a", secondaries=("b:1",))), errors.SECONDARY_MALFORMED, "secondary_key_servers"
    ),
    "secondary malformed": (
        state(), bulk(new("a", secondaries=("b", ""))), errors.SECONDARY_MALFORMED, "records[0].secondary_key_servers"
    ),
    "secondary is its primary": (
        state(), single(new("a", secondaries=("A.",))), errors.SECONDARY_IS_OWN_PRIMARY, "secondary_key_servers"
    ),
    "secondary twice": (
        state(), single(new("a", secondaries=("b", "B"))), errors.DUPLICATE_SECONDARIES, "secondary_key_servers"
    ),
    "twice in one request": (
        state(), bulk(new("a"), new("A:5696")), errors.DUPLICATE_KEY_SERVERS, "records[1].server"
    ),
    "exists": (state(server("a")), A, errors.KEY_SERVER_EXISTS, "server"),
    "exists, other spelling": (
        state(server("[::1]")), bulk(new("b"), new("[0:0::1]:5696")), errors.KEY_SERVER_EXISTS, "records[1].server"
    ),
    "is a secondary": (state(server("b", 1, ("A",))), A, errors.ALREADY_SECONDARY, "server"),
    "a fifth": (state(*FOUR), A, errors.KEY_SERVER_LIMIT, None),
    "five at once": (state(), bulk(*(new(f"n{n}") for n in range(5))), errors.KEY_SERVER_LIMIT, None),
    "two more than fit": (state(*FOUR[:3]), bulk(new("a"), new("b")), errors.KEY_SERVER_LIMIT, None),
    "secondary is another primary": (
        state(server("b")), single(new("a", secondaries=("B",))), errors.SECONDARY_IS_PRIMARY, "secondary_key_servers"
    ),
    "secondary is a primary of the request": (
        state(), bulk(new("a"), new("b", secondaries=("a",))),
        errors.SECONDARY_IS_PRIMARY, "records[1].secondary_key_servers",
    ),
}  # fmt: skip

# Cheap rules come in the order of the design: a state that breaks two rules gets the first one's code.
ORDER: dict[str, tuple[AddState, AddRequest, ErrorKind]] = {
    "not enabled before version": (
        state(manager=key_manager(enabled=False), nodes=(OLD_NODE,)), A, errors.NOT_ENABLED,
    ),
    "version before metrocluster": (state(nodes=(OLD_NODE,), cluster=METROCLUSTER), A, errors.CLUSTER_VERSION),
    "metrocluster before certificates": (state(cluster=METROCLUSTER, certificates=()), A, errors.METROCLUSTER),
    "certificates before duplicates": (
        state(certificates=()), bulk(new("a"), new("a")), errors.CERTIFICATE_NOT_INSTALLED,
    ),
    "duplicates before existing": (state(server("a")), bulk(new("a"), new("a")), errors.DUPLICATE_KEY_SERVERS),
    "existing before secondary": (
        state(server("a"), server("b", 2, ("c",))), bulk(new("c"), new("a")), errors.KEY_SERVER_EXISTS,
    ),
    "secondary before limit": (state(*FOUR[:3], server("x", 4, ("a",))), A, errors.ALREADY_SECONDARY),
    "existing before limit": (state(*FOUR), single(new("s1")), errors.KEY_SERVER_EXISTS),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case: tuple[AddState, AddRequest, ErrorKind, str | None]) -> None:
    """Each rule broken gives its code and names the field at fault."""
    given, request, kind, target = case
    with pytest.raises(OntapError) as raised:
        plan_add(given, request)
    assert (raised.value.kind, raised.value.target) == (kind, target)


@pytest.mark.parametrize("case", ORDER.values(), ids=ORDER)
def test_order(case: tuple[AddState, AddRequest, ErrorKind]) -> None:
    """Of two rules broken, the earlier one speaks."""
    with pytest.raises(OntapError) as raised:
        plan_add(*case[:2])
    assert raised.value.kind is case[2]


def test_accepted() -> None:
    """An accepted add keeps the request's order and goes on after the last position."""
    request = bulk(new("a", username="u", password="p", secondaries=("x", "[::1]")), new("b"))
    plan = plan_add(state(server("c", 7), server("d", 3, ("y",))), request)
    assert plan.servers == request.servers
    assert plan.first_position == 8
    assert plan_add(state(), request).first_position == 1


def test_cluster_scope_is_never_multitenant() -> None:
    """The cluster's own key manager minds neither old nodes nor MetroCluster."""
    given = state(manager=key_manager(None), nodes=(OLD_NODE,), cluster=METROCLUSTER)
    assert plan_add(given, A).servers == A.servers


def test_certificates_of_the_svm_itself() -> None:
    """An SVM's key manager may use its own certificates or the cluster's; the cluster's only the cluster's."""
    own = (certificate("client", CLIENT, VS0), certificate("ca", CA))
    assert plan_add(state(certificates=own), A).servers == A.servers
    with pytest.raises(OntapError) as raised:
        plan_add(state(manager=key_manager(None), certificates=own), A)
    assert raised.value.kind is errors.CERTIFICATE_NOT_INSTALLED


def test_secondary_on_another_port_is_another_server() -> None:
    """A secondary uses its primary's port, so the same host on another port is no duplicate."""
    assert plan_add(state(server("b:1", 1, ("a",))), A).servers == A.servers
    both = bulk(new("a"), new("b:1", secondaries=("a",)))
    assert plan_add(state(), both).servers == both.servers


def test_existing_is_named() -> None:
    """A repeat after a lost answer can see in the arguments which server exists."""
    with pytest.raises(OntapError) as raised:
        plan_add(state(server("a")), single(new("A")))
    assert raised.value.arguments == (("server", "A:5696"),)


def test_find() -> None:
    """A path finds its server by comparison, not by spelling."""
    servers = (server("HOST"), server("[::1]", 2))
    assert find(servers, ServerAddress.parse("host:5696")) is servers[0]
    assert find(servers, ServerAddress.parse("[0::1]")) is servers[1]
    assert find(servers, ServerAddress.parse("other")) is None
