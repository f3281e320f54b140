"""The rules of rebuilding a database: which keys of an inventory are certain, doubtful or unclaimed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.keys.descriptors import Descriptor
from keystead.core.keys.model import KeyType
from keystead.core.keys.names import ObjectKind, ObjectName
from keystead.core.keys.rebuilding import (
    CertainKey,
    Doubt,
    FoundCopy,
    FoundDescriptor,
    FoundObject,
    Inventory,
    Known,
    inventory,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UUID, OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e", "1f8fad5b-d9cb-469f-a165-70867728950e"
INCARNATION = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
KEY = Descriptor(UUID, "id", "km", "", "name", "", KeyType.VEK, 64, NOON, 1, INCARNATION, b"digest")
KNOWN = Known("km", {"a": "a", "b": "b", "b2": "b"}, {""}, {}, frozenset())


def thing(server: str, kind: ObjectKind = ObjectKind.KEY, of: Descriptor = KEY, suffix: str = "") -> FoundObject:
    """Return an object of the attempt that is described."""
    id_, attempt, incarnation = of.written_by
    return FoundObject(server, f"{kind} of {id_} on {server}{suffix}", ObjectName(incarnation, kind, id_, attempt))


def said(server: str, of: Descriptor = KEY) -> FoundDescriptor:
    """Return the descriptor on a server."""
    return FoundDescriptor(thing(server, ObjectKind.DESCRIPTOR, of), of)


def copy(server: str, of: Descriptor = KEY) -> FoundCopy:
    """Return a copy that agrees."""
    return FoundCopy(server, (thing(server, of=of).unique_identifier,), of)


def made(descriptors: list[FoundDescriptor], copies: list[FoundCopy], known: Known = KNOWN) -> Inventory:
    """Return an inventory of descriptors and copies without a list of objects."""
    return inventory((), descriptors, copies, known)


def test_two_domains_agree() -> None:
    """A key is taken with all copies if two domains agree; one descriptor is enough because it is authenticated."""
    copies = [copy("a"), copy("b"), copy("b2")]
    assert made([said("a")], copies) == Inventory((CertainKey(KEY, tuple(copies), 2),), {}, ())


def test_copies_of_several_attempts() -> None:
    """Copies of several attempts belong to one key."""
    later = replace(KEY, attempt=2)
    found = made([said("a"), said("b", later)], [copy("a"), copy("b", later)])
    assert [(each.compared, len(each.copies)) for each in found.keys] == [(2, 2)]


@pytest.mark.parametrize(
    ("descriptors", "copies", "known", "doubt"),
    [
        ([said("a")], [copy("a")], KNOWN, Doubt.TOO_FEW_DOMAINS),
        ([said("a")], [copy("b"), copy("b2")], KNOWN, Doubt.TOO_FEW_DOMAINS),
        ([said("a")], [], replace(KNOWN, domain_of={"a": "a"}), Doubt.TOO_FEW_DOMAINS),
        (
            [said("a"), said("b", replace(KEY, name="another"))],
            [copy("a"), copy("b")],
            KNOWN,
            Doubt.CONTRADICTED,
        ),
        ([said("a")], [copy("a"), copy("b")], replace(KNOWN, key_manager="another"), Doubt.ELSEWHERE),
        ([said("a")], [copy("a"), copy("b")], replace(KNOWN, svms={"svm"}), Doubt.NO_OWNER),
        ([said("a")], [copy("a"), copy("b")], replace(KNOWN, names={"name"}), Doubt.NAME_TAKEN),
    ],
)
def test_doubts(descriptors: list[FoundDescriptor], copies: list[FoundCopy], known: Known, doubt: Doubt) -> None:
    """A doubtful key is not taken, and the doubt gives the reason."""
    assert made(descriptors, copies, known) == Inventory((), {UUID: doubt}, ())


def test_one_domain_is_all_there_is() -> None:
    """If there is only one domain, a copy that agrees with the digest is enough."""
    (certain,) = made([said("a")], [copy("a")], replace(KNOWN, domain_of={"a": "a"})).keys
    assert certain.compared == 1


@pytest.mark.parametrize("later", [UUID, OTHER])
def test_two_keys_of_one_name(later: str) -> None:
    """Of two keys with one name, the one created later is taken, because the earlier one must have ended."""
    keys = [replace(KEY, uuid=uuid, created=NOON + timedelta(days=uuid == later)) for uuid in (UUID, OTHER)]
    found = made([said("a", of) for of in keys], [copy(at, of) for at in "ab" for of in keys])
    assert [each.descriptor.uuid for each in found.keys] == [later]
    assert found.doubts == {({UUID, OTHER} - {later}).pop(): Doubt.NAME_TAKEN}


def test_a_name_that_another_key_got_and_cannot_keep() -> None:
    """An earlier key does not get its name back, even if the later key is in doubt."""
    later = replace(KEY, uuid=OTHER, created=NOON + timedelta(days=1))
    found = made([said("a"), said("a", later)], [copy("a"), copy("b"), copy("a", later)])
    assert found.doubts == {UUID: Doubt.NAME_TAKEN, OTHER: Doubt.TOO_FEW_DOMAINS}


def test_a_name_in_another_key_manager() -> None:
    """A key of another key manager with the same name is doubtful as ELSEWHERE."""
    other = replace(KEY, uuid=OTHER, key_manager="another", created=NOON + timedelta(days=1))
    found = made([said("a"), said("a", other)], [copy(at, of) for at in "ab" for of in (KEY, other)])
    assert [each.descriptor.uuid for each in found.keys] == [UUID]
    assert found.doubts == {OTHER: Doubt.ELSEWHERE}


def test_what_the_database_has() -> None:
    """Keys that the database has are not taken again; their copies are named, even in one domain."""
    known = replace(KNOWN, keys={UUID: ""})
    objects = [thing("a"), thing("a", ObjectKind.DESCRIPTOR)]
    found = inventory(objects, [said("a")], [copy("a")], known)
    assert found == Inventory((), {}, (), (CertainKey(KEY, (copy("a"),), 1),))


def test_a_descriptor_that_names_another_owner() -> None:
    """Copies are not added to a key that the database has for another SVM than its descriptor says."""
    known = replace(KNOWN, keys={UUID: "another"}, svms={"another", ""})
    assert made([said("a")], [copy("a")], known) == Inventory((), {UUID: Doubt.OTHER_OWNER}, ())


def test_what_the_database_has_only_begun() -> None:
    """A described key that is pending in the database is taken once its attempt is over, and is UNDER_WAY before."""
    known = replace(KNOWN, keys={UUID: ""})
    objects, descriptors, copies = [thing("a"), thing("b")], [said("a")], [copy("a"), copy("b")]
    found = inventory(objects, descriptors, copies, replace(known, ended={UUID}))
    assert found == Inventory((CertainKey(KEY, tuple(copies), 2),), {}, ())
    found = inventory(objects, descriptors, copies[:1], replace(known, ended={UUID}))
    assert found == Inventory((), {UUID: Doubt.TOO_FEW_DOMAINS}, ())
    found = inventory(objects, descriptors, copies, replace(known, under_way={UUID}))
    assert found == Inventory((), {UUID: Doubt.UNDER_WAY}, ())


def test_who_adopted_comes_first() -> None:
    """An adopting key is taken before the key whose object it adopted, whatever the uuids; the other is not taken."""
    later = replace(KEY, uuid=OTHER, name="adopted", adopted=str(thing("a").name))
    assert later.copied_by == KEY.copied_by
    found = made([said("a"), said("a", later)], [copy(at, of) for at in "ab" for of in (KEY, later)])
    assert [each.descriptor.uuid for each in found.keys] == [OTHER, UUID]


def test_what_is_unclaimed() -> None:
    """Copies are unclaimed if no key, or a doubtful key, has them or if they disagree; descriptors never are."""
    doubtful = replace(KEY, uuid=OTHER, name="another")
    mine = [thing(at, kind) for at in "ab" for kind in (ObjectKind.KEY, ObjectKind.DESCRIPTOR)]
    canary = thing("a", ObjectKind.CANARY, doubtful)
    destroyed = replace(thing("a", of=doubtful, suffix=", destroyed"), state="Destroyed")
    others = [thing("a", of=doubtful), thing("b", suffix=", spoiled")]
    found = inventory(
        [*mine, canary, destroyed, thing("a", ObjectKind.DESCRIPTOR, doubtful), *others],
        [said("a"), said("a", doubtful)],
        [copy("a"), copy("b"), copy("a", doubtful)],
        KNOWN,
    )
    assert len(found.keys) == 1
    assert found.unclaimed == tuple(others)
