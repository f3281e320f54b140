"""The objects of the test server: replication between members, and what happens to bytes over time."""

from __future__ import annotations

import pytest

from keystead.kmip.messages.attributes import attribute, name_attribute
from keystead.kmip.messages.objects import (
    Certificate,
    KeyBlock,
    KeyValue,
    ManagedObject,
    OpaqueObject,
    SecretData,
    SymmetricKey,
)
from keystead.kmip.server.responder import cluster
from keystead.kmip.server.storage import Replication, Store, Stored, spoiled
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.enums import State
from keystead.kmip.ttlv.ttlv import Item, ItemType

RAW, SEED = enums.KeyFormatType.RAW, enums.SecretDataType.SEED


def stored(name: str = "a") -> Stored:
    """Return a seed."""
    seed = SecretData(SEED, KeyBlock(RAW, key_value=KeyValue(bytes(64))))
    return Stored(enums.ObjectType.SECRET_DATA, seed, [name_attribute(name), attribute("State", State.PRE_ACTIVE)])


def test_one_store_is_a_cluster_that_agrees() -> None:
    """Members without a delay see each other's changes at once, and removals."""
    (first, second), _ = cluster(2)
    first.store.put("1", stored())
    assert second.objects["1"] == stored()
    changed = second.objects["1"]
    changed.change_state(State.ACTIVE)
    assert first.objects["1"] != changed
    second.store.put("1", changed)
    assert first.objects["1"] == changed
    second.store.remove("1")
    assert not first.objects
    second.store.remove("1")


def test_a_change_arrives_after_the_delay() -> None:
    """Changes arrive in order after the delay; a longer delay also holds earlier ones, a shorter one releases them."""
    now = 0.0
    link = Replication(5, clock=lambda: now)
    first, second, third = link.store(), link.store(), link.store()
    first.put("1", stored("old"))
    now = 3.0
    first.put("1", stored("new"))
    assert not second.objects
    now = 5.0
    assert second.objects["1"].names == third.objects["1"].names == {"old"}
    link.delay = 10
    now = 9.0
    assert second.objects["1"].names == {"old"}
    link.delay = 6
    assert second.objects["1"].names == {"new"}


def test_changes_that_are_held() -> None:
    """Without a delay, changes arrive when the link is told to deliver."""
    (first, second), link = cluster(2, delay=None)
    first.store.put("1", stored())
    assert not second.objects
    assert second.store.names_taken == set()
    link.deliver()
    assert second.store.names_taken == {"a"}
    assert list(second.objects) == ["1"]


def test_what_happens_to_one_member() -> None:
    """Bytes rot, one object vanishes with its name, or all do; the other member keeps its own."""
    (first, second), _ = cluster(2)
    for name in ("a", "b"):
        first.store.put(name, stored(name))
    assert len(second.objects) == 2
    first.store.rot("a")
    assert first.objects["a"].managed_object == spoiled(stored().managed_object)
    assert second.objects["a"] == stored()
    first.store.forget("a")
    assert (list(first.objects), first.store.names_taken) == (["b"], {"b"})
    first.store.forget_all()
    assert (list(first.objects), first.store.names_taken) == ([], set())
    assert len(second.objects) == 2
    with pytest.raises(KeyError):
        first.store.rot("a")


def test_a_name_stays_known() -> None:
    """A removed object's name is remembered; so is one that was added directly, while it is there."""
    store = Store()
    store.put("1", stored("a"))
    store.remove("1")
    store.objects["2"] = stored("b")
    assert store.names_taken == {"a", "b"}


@pytest.mark.parametrize(
    "sound",
    [
        OpaqueObject(0, b"bytes"),
        Certificate(enums.CertificateType.X_509, b"DER"),
        SecretData(SEED, KeyBlock(RAW, key_value=KeyValue(b"seed"))),
        SymmetricKey(KeyBlock(RAW, key_value=b"wrapped")),
    ],
)
def test_spoiled_objects(sound: ManagedObject) -> None:
    """Other bytes, never by chance the same; spoiled twice they are the old ones, so there are as many."""
    assert spoiled(sound) != sound
    assert spoiled(spoiled(sound)) == sound


@pytest.mark.parametrize(
    "sound",
    [
        SymmetricKey(KeyBlock(RAW)),
        SymmetricKey(KeyBlock(RAW, key_value=KeyValue(Item(tags.KEY_MATERIAL, ItemType.STRUCTURE, ())))),
        Item(tags.PRIVATE_KEY, ItemType.STRUCTURE, ()),
    ],
)
def test_objects_without_plain_bytes(sound: ManagedObject) -> None:
    """An object without plain bytes cannot be spoiled."""
    assert spoiled(sound) == sound
