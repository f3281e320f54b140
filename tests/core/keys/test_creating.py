"""The rules of a new key: its owner, its name, and the material that may be given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.keys.creating import (
    AUTH_KEY_LIMIT,
    KMIP_LIMIT,
    CreateState,
    NewKey,
    check_material,
    halves_differ,
    owner_of,
    plan_create,
)
from keystead.core.keys.model import Key, KeyState, KeyType
from keystead.core.model import CertificateType, Svm
from keystead.core.secret import Secret
from tests.core.factories import VS0, VS1, certificate, key_manager, server

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
CERTIFICATES = {
    "client": certificate("client", CertificateType.CLIENT),
    "ca": certificate("ca", CertificateType.SERVER_CA),
}
OF_SVM = CreateState(key_manager(), CERTIFICATES, (server("a:5696"),), serving="km")
OF_CLUSTER = replace(OF_SVM, key_manager=key_manager(None))
NEW = NewKey("a key")
AUTH = NewKey("", key_type=KeyType.NSE_AK)

MATERIAL = bytes(range(64))
PASSPHRASE = b"twenty visible bytes"


def planned(state: CreateState, request: NewKey) -> Key:
    """Plan the key, at noon."""
    return plan_create(state, request, UUID, NOON)


def refused(state: CreateState, request: NewKey) -> OntapError:
    """Return the rule that is broken."""
    with pytest.raises(OntapError) as raised:
        planned(state, request)
    return raised.value


# --- what a key becomes ---


def test_a_volume_key() -> None:
    """A volume key is pending, belongs to the SVM, has 64 bytes, an id in ONTAP's form and no digest yet."""
    assert planned(OF_SVM, replace(NEW, key_tag="tag")) == Key(
        uuid=UUID,
        key_id="00000000000000000200000000000500" + UUID.replace("-", "") + "0" * 16,
        key_manager="km",
        svm=VS0,
        name="a key",
        key_tag="tag",
        key_type=KeyType.VEK,
        state=KeyState.PENDING,
        length=64,
        created=NOON,
    )


def test_an_authentication_key() -> None:
    """An authentication key belongs to the cluster, has 32 bytes, and is named by its id unless it has a name."""
    key = planned(OF_CLUSTER, AUTH)
    assert (key.svm, key.length, key.name) == (None, 32, key.key_id)
    assert key.key_id.startswith("00000000000000000200000000000100")
    assert planned(OF_CLUSTER, replace(AUTH, name="drive")).name == "drive"


def test_the_length_is_that_of_imported_material() -> None:
    """The length of the key is the length of the imported material, which may be shorter than a generated one."""
    assert planned(OF_CLUSTER, replace(AUTH, material=Secret(PASSPHRASE))).length == len(PASSPHRASE)
    assert planned(OF_SVM, replace(NEW, material=Secret(MATERIAL))).length == 64
    of_application = replace(NEW, key_type=KeyType.KMIP, material=Secret(bytes(KMIP_LIMIT)))
    assert planned(OF_SVM, of_application).length == KMIP_LIMIT


# --- whose it is ---


@pytest.mark.parametrize(
    ("manager", "scope", "asked", "owner"),
    [
        (VS0, None, None, VS0),
        (VS0, None, VS0, VS0),
        (VS0, VS0, None, VS0),
        (None, None, None, None),
        (None, None, VS1, VS1),
        (None, VS1, None, VS1),
        (None, VS1, VS1, VS1),
    ],
)
def test_whose_a_volume_key_is(manager: Svm | None, scope: Svm | None, asked: Svm | None, owner: Svm | None) -> None:
    """A volume key belongs to the SVM asked for, else to the key manager's or the call's SVM, else to the cluster."""
    assert owner_of(key_manager(manager), scope, replace(NEW, svm=asked)) == owner


@pytest.mark.parametrize(("manager", "scope", "asked"), [(VS0, None, VS1), (VS0, VS0, VS1), (None, VS0, VS1)])
def test_a_volume_key_of_another_svm(manager: Svm | None, scope: Svm | None, asked: Svm) -> None:
    """A key manager of an SVM, and a call confined to an SVM, cannot create keys of another SVM."""
    error = refused(replace(OF_SVM, key_manager=key_manager(manager), scope=scope), replace(NEW, svm=asked))
    assert (error.kind, error.target) == (errors.INVALID_VALUE, "svm")
    assert str(error).endswith("the key manager, or the call, is another SVM's.")


@pytest.mark.parametrize(
    ("manager", "scope", "kind"),
    [(VS0, None, errors.NOT_CLUSTERS_KEY_MANAGER), (None, VS0, errors.ENTRY_NOT_FOUND)],
)
def test_an_authentication_key_is_the_clusters(manager: Svm | None, scope: Svm | None, kind: ErrorKind) -> None:
    """A key manager of an SVM, and a call confined to an SVM, cannot create authentication keys."""
    error = refused(replace(OF_SVM, key_manager=key_manager(manager), scope=scope), AUTH)
    assert (error.kind, error.target) == (kind, "uuid")


def test_an_authentication_key_is_made_for_no_svm() -> None:
    """A request for an authentication key of an SVM is refused, and the error says so."""
    error = refused(OF_CLUSTER, replace(AUTH, svm=VS1))
    assert (error.kind, error.target) == (errors.INVALID_VALUE, "svm")


@pytest.mark.parametrize("serving", [None, "another"])
def test_an_svm_whose_keys_are_kept_elsewhere(serving: str | None) -> None:
    """The cluster's key manager accepts the cluster's keys; it refuses a key of an SVM that has its own key manager."""
    state = replace(OF_CLUSTER, serving=serving)
    error = refused(state, replace(NEW, svm=VS1))
    assert (error.kind, error.target) == (errors.INVALID_VALUE, "svm")
    assert planned(state, NEW).svm is None


# --- the rules, in their order ---

LONG_NAME, LONG_TAG = "n" * 255, "t" * 32
HELD = planned(OF_SVM, NEW)
BROKEN: list[tuple[ErrorKind, str | None, dict[str, Any], dict[str, Any]]] = [
    (errors.NOT_ENABLED, None, {"key_manager": key_manager(enabled=False)}, {}),
    (errors.INVALID_VALUE, "svm", {"serving": None}, {}),
    (errors.CERTIFICATE_NOT_INSTALLED, None, {"certificates": {}}, {}),
    (errors.NO_KEY_SERVERS, None, {"servers": ()}, {}),
    (errors.INVALID_VALUE, "name", {}, {"name": ""}),
    (errors.KEY_TAG_BLANKS, "key_tag", {}, {"key_tag": "a b"}),
    (errors.KEY_LENGTH, "material", {}, {"material": Secret(b"short")}),
    (errors.DUPLICATE_ENTRY, "name", {"named": HELD}, {}),
]


@pytest.mark.parametrize(("kind", "target", "facts", "fields"), BROKEN, ids=lambda v: getattr(v, "code", None))
def test_each_rule(kind: ErrorKind, target: str | None, facts: dict[str, Any], fields: dict[str, Any]) -> None:
    """One fault in the request breaks exactly the rule of that fault."""
    error = refused(replace(OF_SVM, **facts), replace(NEW, **fields))
    assert (error.kind, error.target) == (kind, target)


@pytest.mark.parametrize("first", range(len(BROKEN)))
def test_the_first_broken_rule_is_told(first: int) -> None:
    """If several rules are broken, the first one in the order of the table is reported."""
    facts: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for _, _, more_facts, more_fields in BROKEN[first:]:
        facts |= more_facts
        fields |= more_fields
    error = refused(replace(OF_SVM, **facts), replace(NEW, **fields))
    assert (error.kind, error.target) == BROKEN[first][:2]


def test_at_most_128_authentication_keys() -> None:
    """The 129th authentication key is refused; volume keys are not counted."""
    full = replace(OF_CLUSTER, authentication_keys=AUTH_KEY_LIMIT)
    assert refused(full, AUTH).kind is errors.AUTH_KEY_LIMIT
    assert planned(replace(full, authentication_keys=AUTH_KEY_LIMIT - 1), AUTH).key_type is KeyType.NSE_AK
    assert planned(full, NEW).key_type is KeyType.VEK


# --- names and tags ---


@pytest.mark.parametrize("name", ["n", LONG_NAME, "with blanks inside", "schlüssel/1:é"])
def test_a_name(name: str) -> None:
    """A name has 1 to 255 printable characters."""
    assert planned(OF_SVM, replace(NEW, name=name)).name == name


PRINTABLE = "1 to 255 printable characters are a name, the first and last of them no blanks."
COMPOSED = "its characters are composed ones, as Unicode's normal form C has them."


@pytest.mark.parametrize(
    ("name", "reason"),
    [(name, PRINTABLE) for name in ("", LONG_NAME + "n", " n", "n ", "a\nb", "a\x00", "a\u200b")]
    + [(name, COMPOSED) for name in ("e\u0301", "\u212b")],
)
def test_what_is_no_name(name: str, reason: str) -> None:
    """Empty and long names are refused, and names with blanks at an end or invisible characters."""
    error = refused(OF_SVM, replace(NEW, name=name))
    assert (error.kind, error.target) == (errors.INVALID_VALUE, "name")
    assert str(error).endswith(reason)


@pytest.mark.parametrize("tag", ["", "t", LONG_TAG, "naïve"])
def test_a_tag(tag: str) -> None:
    """A tag has up to 32 printable characters."""
    assert planned(OF_SVM, replace(NEW, key_tag=tag)).key_tag == tag


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("a b", errors.KEY_TAG_BLANKS),
        ("a\t", errors.KEY_TAG_BLANKS),
        ("a\n" * 40, errors.KEY_TAG_BLANKS),
        (LONG_TAG + "t", errors.KEY_TAG_INVALID),
        ("a\x00", errors.KEY_TAG_INVALID),
    ],
)
def test_what_is_no_tag(tag: str, kind: ErrorKind) -> None:
    """A wrong tag is refused; a tag with blanks has an error text of its own."""
    error = refused(OF_SVM, replace(NEW, key_tag=tag))
    assert (error.kind, error.target) == (kind, "key_tag")


def test_a_name_that_is_taken() -> None:
    """Code 1 names the key that has the name; its id is shown only to callers who may see that key."""
    holder = replace(HELD, svm=VS1)
    seen, name = ("key_id", holder.key_id), ("name", holder.name)
    for scope, arguments in [(None, [seen, name]), (VS1, [seen, name]), (VS0, [name])]:
        error = refused(replace(OF_CLUSTER, scope=scope, named=holder), NEW)
        assert (error.kind.status, error.kind.code, list(error.arguments)) == (409, 1, arguments)
    clusters = replace(OF_CLUSTER, scope=VS0, named=replace(holder, svm=None))
    assert list(refused(clusters, NEW).arguments) == [name]


# --- material ---


@pytest.mark.parametrize(
    ("key_type", "material", "kind", "target"),
    [
        (KeyType.VEK, MATERIAL[:-1], errors.KEY_LENGTH, "material"),
        (KeyType.VEK, MATERIAL + b"x", errors.KEY_LENGTH, "material"),
        (KeyType.VEK, MATERIAL[:32] * 2, errors.INVALID_VALUE, "material"),
        (KeyType.NSE_AK, PASSPHRASE[:-1], errors.PASSPHRASE_LENGTH, "passphrase"),
        (KeyType.NSE_AK, b"x" * 33, errors.PASSPHRASE_LENGTH, "passphrase"),
        (KeyType.NSE_AK, PASSPHRASE + b"\n", errors.PASSPHRASE_LENGTH, "passphrase"),
        (KeyType.NSE_AK, PASSPHRASE + "é".encode(), errors.PASSPHRASE_LENGTH, "passphrase"),
    ],
)
def test_material_that_is_refused(key_type: KeyType, material: bytes, kind: ErrorKind, target: str) -> None:
    """Material is refused for its length, its characters or two equal halves; no error repeats the material."""
    with pytest.raises(OntapError) as raised:
        check_material(key_type, Secret(material))
    error = raised.value
    assert (error.kind, error.target) == (kind, target)
    assert not any(text in f"{error!r} {error}" for text in (repr(material), material.hex(), "twenty visible"))
    if kind is errors.INVALID_VALUE:
        assert str(error).endswith(": the two halves must differ: XTS with one key twice protects less.")


@pytest.mark.parametrize("length", [0, KMIP_LIMIT + 1])
def test_the_length_of_an_objects_material(length: int) -> None:
    """An application's object has any material up to 16 KiB."""
    with pytest.raises(OntapError) as raised:
        check_material(KeyType.KMIP, Secret(bytes(length)))
    assert (raised.value.kind, raised.value.target) == (errors.INVALID_VALUE, "material")


@pytest.mark.parametrize("passphrase", [PASSPHRASE, b"~" * 32, b" " * 20])
def test_a_passphrase(passphrase: bytes) -> None:
    """A passphrase has 20 to 32 visible ASCII characters, which may include blanks."""
    check_material(KeyType.NSE_AK, Secret(passphrase))


def test_halves() -> None:
    """One different bit is enough for two halves to differ."""
    assert halves_differ(Secret(MATERIAL))
    assert not halves_differ(Secret(MATERIAL[:32] * 2))
    assert halves_differ(Secret(bytes(63) + b"\x01"))
