"""The rules of creating, changing and deleting a key manager."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_managers import (
    CertificateName,
    CreateState,
    KeyManagerChange,
    NewKeyManager,
    check_complete,
    check_delete,
    plan_change,
    plan_create,
    serving,
)
from keystead.core.keys.model import KeyState
from keystead.core.model import Certificate, CertificateType, Cluster, KeyManager, Node, Release
from tests.core.factories import CLUSTER, NODE, VS0, VS1, certificate, key_manager, new, server, state

if TYPE_CHECKING:
    from keystead.core.key_servers import ServersState

METROCLUSTER = Cluster("c", "k", metrocluster=True)
CLIENT, CA = CertificateType.CLIENT, CertificateType.SERVER_CA
KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a certificate of this key, another one each time."""
    name, now = x509.Name([]), datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def client(uuid: str, key: ec.EllipticCurvePrivateKey = KEY) -> Certificate:
    """Return an installed client certificate of the cluster."""
    return replace(certificate(uuid, CLIENT), public_certificate=pem(key))


def found(*certificates: Certificate) -> dict[CertificateName, tuple[Certificate, ...]]:
    """Return certificates by their uuids."""
    return {CertificateName(each.uuid): (each,) for each in certificates}


def named(*uuids: str) -> tuple[CertificateName, ...]:
    """Return certificates as a body names them."""
    return tuple(map(CertificateName, uuids))


def refused(kind: ErrorKind, target: str | None, call: object) -> OntapError:
    """Assert that a rule is broken."""
    with pytest.raises(OntapError) as raised:
        call()  # type: ignore[operator]
    assert (raised.value.kind, raised.value.target) == (kind, target)
    return raised.value


# --- create ---

INSTALLED = found(client("client"), certificate("ca", CA), certificate("ca2", CA))
ASKED = NewKeyManager(None, VS0.name, CertificateName("client"), named("ca"), (new("a"),))
INACTIVE = replace(ASKED, inactive=True)
GIVEN = CreateState(VS0, None, CLUSTER, (NODE,), INSTALLED)
OF_CLUSTER = replace(GIVEN, svm=None)
CLIENT_FIELD, CA_FIELD = "external.client_certificate", "external.server_ca_certificates[{}]"


@pytest.mark.parametrize(
    "change",
    [{"client_certificate": None}, {"server_ca_certificates": ()}, {"servers": ()}],
    ids=lambda c: next(iter(c)),
)
def test_incomplete(change: dict[str, object]) -> None:
    """Client certificate, server CA certificates and servers are all required."""
    check_complete(ASKED)
    incomplete = replace(ASKED, **change)  # type: ignore[arg-type]
    refused(errors.EXTERNAL_INCOMPLETE, None, lambda: check_complete(incomplete))


def old_node(release: str) -> tuple[Node, ...]:
    """Return an older node beside one of the newest release."""
    return (NODE, Node("o", "o", Release(*map(int, release.split(".")))))


CREATION_REFUSED: dict[str, tuple[CreateState, NewKeyManager, ErrorKind, str | None]] = {
    "exists": (replace(GIVEN, existing=key_manager()), ASKED, errors.KEY_MANAGER_EXISTS, None),
    "the cluster's has keys of the SVM": (
        replace(GIVEN, keys_at_cluster=1), ASKED, errors.KEYS_AT_CLUSTER, None,
    ),
    "the cluster's exists": (
        replace(OF_CLUSTER, existing=key_manager(None)), ASKED, errors.ADMIN_SVM_HAS_KEY_MANAGER, None,
    ),
    "an inactive one exists": (
        replace(OF_CLUSTER, existing=key_manager(None, enabled=False)), ASKED, errors.ENABLE_BESIDE_INACTIVE, None,
    ),
    "old node": (replace(GIVEN, nodes=old_node("9.5.0")), ASKED, errors.CLUSTER_VERSION, None),
    "metrocluster": (replace(GIVEN, cluster=METROCLUSTER), ASKED, errors.METROCLUSTER, None),
    "no client": (
        replace(GIVEN, found=found(certificate("ca", CA))), ASKED, errors.CERTIFICATE_NOT_INSTALLED, CLIENT_FIELD,
    ),
    "no ca": (
        replace(GIVEN, found=found(client("client"))), ASKED, errors.CERTIFICATE_NOT_INSTALLED, CA_FIELD.format(0),
    ),
    "ca as client": (
        GIVEN, replace(ASKED, client_certificate=CertificateName("ca")), errors.CERTIFICATE_NOT_INSTALLED, CLIENT_FIELD,
    ),
    "client as ca": (
        GIVEN, replace(ASKED, server_ca_certificates=named("ca", "client")), errors.CERTIFICATE_NOT_INSTALLED,
        CA_FIELD.format(1),
    ),
    "another svm's": (
        replace(GIVEN, found=found(client("client"), certificate("ca", CA, VS1))), ASKED,
        errors.CERTIFICATE_NOT_INSTALLED, None,
    ),
    "uuid and name of two": (
        replace(GIVEN, found=INSTALLED | {CertificateName("ca", "x"): (certificate("ca", CA),)}),
        replace(ASKED, server_ca_certificates=(CertificateName("ca", "x"),)), errors.CERTIFICATE_NOT_INSTALLED,
        CA_FIELD.format(0),
    ),
    "a ca twice": (
        GIVEN, replace(ASKED, server_ca_certificates=named("ca", "ca2", "ca")), errors.VALUE_TWICE, CA_FIELD.format(2),
    ),
    "server twice": (
        GIVEN, replace(ASKED, servers=(new("a"), new("A"))), errors.DUPLICATE_KEY_SERVERS, "external.servers[1].server",
    ),
    "five servers": (
        GIVEN, replace(ASKED, servers=tuple(new(f"s{n}") for n in range(5))), errors.KEY_SERVER_LIMIT, None,
    ),
    "policy of the cluster's": (OF_CLUSTER, replace(ASKED, policy="p"), errors.POLICY_ON_ADMIN_SVM, "policy"),
    **{
        f"policy {policy[:4]!r}": (GIVEN, replace(ASKED, policy=policy), errors.POLICY_INVALID, "policy")
        for policy in ("", " p", "p ", "p\n", "x" * 256)
    },
    "inactive of an svm": (GIVEN, INACTIVE, errors.INACTIVE_OF_SVM, None),
    "inactive, old node": (replace(OF_CLUSTER, nodes=old_node("9.16.0")), INACTIVE, errors.INACTIVE_RELEASE, None),
    "inactive, metrocluster": (
        replace(OF_CLUSTER, cluster=METROCLUSTER), INACTIVE, errors.INACTIVE_METROCLUSTER, None,
    ),
    **{
        f"inactive beside {enabled}": (
            replace(OF_CLUSTER, existing=key_manager(None, enabled=enabled)), INACTIVE,
            errors.INACTIVE_BESIDE_ANOTHER, None,
        )
        for enabled in (True, False)
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CREATION_REFUSED.values(), ids=CREATION_REFUSED)
def test_creation_refused(case: tuple[CreateState, NewKeyManager, ErrorKind, str | None]) -> None:
    """Each rule broken gives its code."""
    given, asked, kind, target = case
    error = refused(kind, target, lambda: plan_create(given, asked, "new"))
    said = {"key_manager": "km"} if given.existing else {}
    assert dict(error.arguments) == said | ({"keys": "1"} if given.keys_at_cluster else {})


def test_creation_accepted() -> None:
    """What is planned is what was asked for, for an SVM and for the cluster, MetroCluster or not."""
    cas = named("ca2", "ca")
    asked = replace(ASKED, server_ca_certificates=cas, policy="p" * 255, configuration_name="c", min_copies=2)
    asked = replace(asked, monitor_interval=60)
    plan = plan_create(GIVEN, asked, "new")
    assert plan.key_manager == KeyManager("new", VS0, True, "client", ("ca2", "ca"), "p" * 255, "c", 2, 60)
    assert set(plan.certificates) == {"client", "ca", "ca2"}
    assert plan.proves
    plan = plan_create(replace(OF_CLUSTER, cluster=METROCLUSTER), ASKED, "new")
    assert plan.key_manager == KeyManager("new", None, True, "client", ("ca",))
    assert not plan_create(OF_CLUSTER, INACTIVE, "new").key_manager.enabled


def test_the_first_certificate_of_the_type_is_meant() -> None:
    """A name finds the SVM's own certificate before the cluster's; a certificate of another type is skipped."""
    name = CertificateName(name="same")
    own, of_cluster = (replace(certificate(uuid, CA, svm), name="same") for uuid, svm in (("own", VS0), ("its", None)))
    asked = replace(ASKED, server_ca_certificates=(name,))
    for certificates, meant in (((own, of_cluster), "own"), ((replace(own, type=CLIENT), of_cluster), "its")):
        plan = plan_create(replace(GIVEN, found=INSTALLED | {name: certificates}), asked, "new")
        assert plan.key_manager.server_ca_certificates == (meant,)


def test_what_is_named() -> None:
    """All certificates that a request names are looked up."""
    assert ASKED.named == named("client", "ca")
    assert KeyManagerChange().named == ()
    assert KeyManagerChange(server_ca_certificates=named("ca")).named == named("ca")


# --- change ---

OLD = client("client")
CURRENT = state(server("a"), certificates=(OLD, certificate("ca", CA)))
RENEWED = found(client("renewed"), client("other", OTHER_KEY), certificate("ca2", CA), certificate("foreign", CA, VS1))


def change(client: str | None = None, *cas: str, **more: Any) -> KeyManagerChange:
    """Return a change as a caller asks for it."""
    return KeyManagerChange(CertificateName(client) if client else None, named(*cas) if cas else None, **more)


CHANGE_REFUSED: dict[str, tuple[ServersState, KeyManagerChange, ErrorKind, str | None]] = {
    "nothing": (CURRENT, change(svm_name="vs0"), errors.NO_VALUES, None),
    "another scope": (CURRENT, change("renewed", scope="cluster"), errors.INVALID_VALUE, "scope"),
    "another svm": (CURRENT, change("renewed", svm_name="vs1"), errors.INVALID_VALUE, "svm.name"),
    "another svm's uuid": (CURRENT, change("renewed", svm_uuid=VS1.uuid), errors.INVALID_VALUE, "svm.uuid"),
    "svm of the cluster's": (
        replace(CURRENT, key_manager=key_manager(None)), change("renewed", svm_name="vs0"), errors.INVALID_VALUE,
        "svm.name",
    ),
    "inactive": (
        replace(CURRENT, key_manager=key_manager(enabled=False)), change("renewed"), errors.INACTIVE_UNCHANGEABLE, None,
    ),
    "old node": (replace(CURRENT, nodes=old_node("9.5.0")), change("renewed"), errors.CLUSTER_VERSION, None),
    "metrocluster": (replace(CURRENT, cluster=METROCLUSTER), change("renewed"), errors.METROCLUSTER, None),
    "policy of the cluster's": (
        replace(CURRENT, key_manager=key_manager(None)), change(policy="p"), errors.POLICY_ON_ADMIN_SVM, "policy",
    ),
    "no policy": (CURRENT, change(policy=""), errors.POLICY_INVALID, "policy"),
    "no cas": (
        CURRENT, KeyManagerChange(CertificateName("renewed"), ()), errors.EXTERNAL_INCOMPLETE,
        "external.server_ca_certificates",
    ),
    "unknown client": (CURRENT, change("nope"), errors.CERTIFICATE_NOT_INSTALLED, CLIENT_FIELD),
    "unknown ca": (CURRENT, change(None, "ca2", "nope"), errors.CERTIFICATE_NOT_INSTALLED, CA_FIELD.format(1)),
    "another svm's ca": (CURRENT, change(None, "foreign"), errors.CERTIFICATE_NOT_INSTALLED, None),
    "ca is gone": (
        replace(CURRENT, certificates={"client": OLD}), change("renewed"), errors.CERTIFICATE_NOT_INSTALLED, None,
    ),
    "another key pair": (CURRENT, change("other"), errors.KEY_PAIR, CLIENT_FIELD),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGE_REFUSED.values(), ids=CHANGE_REFUSED)
def test_change_refused(case: tuple[ServersState, KeyManagerChange, ErrorKind, str | None]) -> None:
    """Each rule broken gives its code."""
    given, asked, kind, target = case
    refused(kind, target, lambda: plan_change(given, RENEWED, asked))


def test_change_accepted() -> None:
    """Fields that are not named stay, and the same owner is accepted; changed certificates must be proved."""
    plan = plan_change(CURRENT, RENEWED, change("renewed", scope="svm", svm_name="vs0", svm_uuid=VS0.uuid))
    assert plan.key_manager == replace(key_manager(), client_certificate="renewed")
    assert plan.proves
    assert {"renewed", "ca"} <= set(plan.certificates)
    plan = plan_change(CURRENT, RENEWED, change(None, "ca2", policy="p"))
    assert plan.key_manager == replace(key_manager(), server_ca_certificates=("ca2",), policy="p")
    plan = plan_change(CURRENT, RENEWED, change(policy="p"))
    assert (plan.key_manager, plan.proves) == (replace(key_manager(), policy="p"), False)
    plan = plan_change(CURRENT, RENEWED, change(min_copies=3))
    assert (plan.key_manager, plan.proves) == (replace(key_manager(), min_copies=3), False)
    again = replace(CURRENT, key_manager=plan.key_manager)
    assert plan_change(again, RENEWED, change(min_copies=0)).key_manager == key_manager()
    plan = plan_change(CURRENT, RENEWED, change(monitor_interval=30))
    assert (plan.key_manager, plan.proves) == (replace(key_manager(), monitor_interval=30), False)
    again = replace(CURRENT, key_manager=plan.key_manager)
    assert plan_change(again, RENEWED, change(monitor_interval=0)).key_manager == key_manager()
    of_cluster = replace(CURRENT, key_manager=key_manager(None))
    assert plan_change(of_cluster, RENEWED, change("renewed", scope="cluster")).key_manager.svm is None


def test_a_client_certificate_that_is_gone_can_be_replaced() -> None:
    """Certificates that are gone can be replaced, although there is no key pair to compare with."""
    gone = replace(CURRENT, certificates={"ca": certificate("ca", CA)})
    assert plan_change(gone, RENEWED, change("other")).key_manager.client_certificate == "other"
    both = replace(CURRENT, certificates={})
    assert plan_change(both, RENEWED, change("other", "ca2")).proves


@pytest.mark.parametrize(
    ("asked", "of_ca", "of_others"),
    [
        (change("c", "ca"), "external.server_ca_certificates", "external.client_certificate"),
        (change("c"), "external.client_certificate", "external.client_certificate"),
        (change(None, "ca"), "external.server_ca_certificates", "external.server_ca_certificates"),
    ],
)
def test_what_is_blamed(asked: KeyManagerChange, of_ca: str, of_others: str) -> None:
    """If a server refuses, the error names the field that the request changes."""
    assert asked.blamed(errors.SERVER_CA_REFUSED) == of_ca
    for kind in (errors.CLIENT_CERTIFICATE_REFUSED, errors.NETWORK, errors.KMIP_VERSIONS):
        assert asked.blamed(kind) == of_others


# --- delete, serve ---


def test_what_is_not_deleted() -> None:
    """A disabled key manager is refused with 65536828; one with keys, or with objects of ended keys, with 65536867."""
    check_delete(key_manager(), {KeyState.PURGED: 2}, 0, held=False)
    refused(errors.NOT_ENABLED, None, lambda: check_delete(key_manager(None, enabled=False), {}, 0, held=False))
    refused(errors.KEYS_IN_USE, None, lambda: check_delete(key_manager(), {KeyState.RETIRED: 1}, 0, held=False))
    refused(errors.KEYS_IN_USE, None, lambda: check_delete(key_manager(), {KeyState.PURGED: 2}, 1, held=False))
    refused(errors.KEYS_IN_USE, None, lambda: check_delete(key_manager(), {}, 0, held=True))


def test_who_serves_an_svm() -> None:
    """An SVM is served by its own key manager, else the cluster's, else none."""
    own, of_cluster = key_manager(VS0), key_manager(None)
    both = (VS0.uuid, VS1.uuid)
    assert serving(both, [of_cluster, own]) == {VS0.uuid: own, VS1.uuid: of_cluster}
    assert serving(both, [own]) == {VS0.uuid: own}
    assert serving(both, []) == {}
