"""The rules of creating a key manager."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_managers import CreateState, NewKeyManager, check_complete, check_create
from keystead.core.model import CertificateType, Cluster, KeyManager, Node, Release
from tests.core.factories import CLUSTER, NODE, VS0, certificate, key_manager, new

if TYPE_CHECKING:
    from keystead.core.key_servers import NewKeyServer

INSTALLED = {
    "client": certificate("client", CertificateType.CLIENT),
    "ca": certificate("ca", CertificateType.SERVER_CA),
}


def asked(*servers: NewKeyServer) -> NewKeyManager:
    return NewKeyManager(None, VS0.name, "client", ("ca",), servers or (new("a"),))


def given(existing: KeyManager | None = None, **changes: object) -> CreateState:
    return replace(CreateState(existing, CLUSTER, (NODE,), INSTALLED), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"client_certificate": None}, {"server_ca_certificates": ()}, {"servers": ()}],
    ids=lambda c: next(iter(c)),
)
def test_incomplete(change: dict[str, object]) -> None:
    """Client certificate, server CA certificates and servers are all required."""
    check_complete(asked())
    with pytest.raises(OntapError) as raised:
        check_complete(replace(asked(), **change))  # type: ignore[arg-type]
    assert raised.value.kind is errors.EXTERNAL_INCOMPLETE


def test_a_ca_named_twice() -> None:
    """The same server CA certificate twice is refused, with where it stands."""
    with pytest.raises(OntapError) as raised:
        check_complete(replace(asked(), server_ca_certificates=("a", "b", "a")))
    assert raised.value.kind is errors.VALUE_TWICE
    assert raised.value.target == "external.server_ca_certificates[2].uuid"


REFUSED: dict[str, tuple[CreateState, NewKeyManager, ErrorKind, str | None]] = {
    "exists": (given(key_manager()), asked(), errors.KEY_MANAGER_EXISTS, None),
    "old node": (given(nodes=(Node("o", "o", Release(9, 5, 0)),)), asked(), errors.CLUSTER_VERSION, None),
    "metrocluster": (given(cluster=Cluster("c", "k", metrocluster=True)), asked(), errors.METROCLUSTER, None),
    "no certificates": (given(certificates={}), asked(), errors.CERTIFICATE_NOT_INSTALLED, None),
    "server twice": (
        given(), asked(new("a"), new("A")), errors.DUPLICATE_KEY_SERVERS, "external.servers[1].server",
    ),
    "five servers": (given(), asked(*(new(f"s{n}") for n in range(5))), errors.KEY_SERVER_LIMIT, None),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case: tuple[CreateState, NewKeyManager, ErrorKind, str | None]) -> None:
    """Each rule broken gives its code."""
    state, request, kind, target = case
    with pytest.raises(OntapError) as raised:
        check_create(state, key_manager(), request)
    assert (raised.value.kind, raised.value.target) == (kind, target)


def test_accepted() -> None:
    """A complete key manager is accepted, for an SVM and for the cluster."""
    check_create(given(), key_manager(), asked())
    check_create(given(cluster=Cluster("c", "k", metrocluster=True)), key_manager(None), asked())
