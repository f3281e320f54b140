"""The rules of reading: which keys may be read, in which order of servers, and what counts as restored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import Copy, Key, KeyState, KeyType, Presence
from keystead.core.keys.reading import (
    RETIRED,
    Source,
    SourceHealth,
    check_readable,
    in_order,
    key_server_of,
    no_server_has,
    not_askable,
    not_asked,
    not_restored,
    proven_on,
    restoring_server,
    sources,
)
from keystead.core.server_address import ServerAddress
from tests.core.factories import VS0, server

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from keystead.core.model import KeyServer

A, B, C = (server(f"{name}:5696", position) for position, name in enumerate("abc", 1))
PRESENT, DIFFERENT = Presence.PRESENT, Presence.DIFFERENT
FIT = SourceHealth(avoided=False, latency_s=0.01)


def key(state: KeyState, key_type: KeyType = KeyType.VEK) -> Key:
    """Return a key in some state."""
    made = datetime(2026, 3, 1, tzinfo=UTC)
    return Key("key", "id", "km", None, "name", "", key_type, state, 64, made)


def copy(at: KeyServer, presence: Presence = PRESENT, attempt: int = 1, *, ids: tuple[str, ...] = ("1",)) -> Copy:
    """Return a copy of the key."""
    return Copy("key", attempt, at.uuid, presence, unique_identifiers=ids)


def with_secondaries(at: KeyServer, *hosts: str) -> KeyServer:
    """Return a server with secondaries."""
    return server(str(at.address), at.position, hosts)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (None, errors.ENTRY_NOT_FOUND),
        (key(KeyState.PENDING), errors.ENTRY_NOT_FOUND),
        (key(KeyState.ABORTED), errors.ENTRY_NOT_FOUND),
        (key(KeyState.RETIRED), errors.INVALID_VALUE),
        (key(KeyState.PURGING), errors.ENTRY_NOT_FOUND),
        (key(KeyState.PURGED), errors.ENTRY_NOT_FOUND),
        (key(KeyState.COMMITTED, KeyType.NSE_AK), errors.ENTRY_NOT_FOUND),
        (key(KeyState.RETIRED, KeyType.NSE_AK), errors.ENTRY_NOT_FOUND),
    ],
    ids=lambda value: f"{value.key_type} {value.state}" if isinstance(value, Key) else "",
)
def test_only_a_committed_key_is_readable(found: Key | None, kind: ErrorKind) -> None:
    """A key that is not committed, or of another type, is refused as missing.

    The error for a retired one says that it can be recovered.
    """
    with pytest.raises(OntapError) as refused:
        check_readable(found, KeyType.VEK)
    assert (refused.value.kind, refused.value.target) == (kind, "key_id")
    if kind is errors.INVALID_VALUE:
        assert str(refused.value).endswith(f'"key_id". Reason: {RETIRED}')


def test_a_committed_key_is_readable() -> None:
    """A committed key is returned."""
    committed = key(KeyState.COMMITTED)
    assert check_readable(committed, KeyType.VEK) is committed


@pytest.mark.parametrize(
    ("key_type", "kind"),
    [(KeyType.VEK, errors.VOLUME_KEY_NOT_RESTORED), (KeyType.NSE_AK, errors.AUTH_KEY_NOT_RESTORED)],
)
def test_the_code_for_a_key_that_no_server_returned_names_its_type(key_type: KeyType, kind: ErrorKind) -> None:
    """The code of an unreadable key depends on its type, as in ONTAP's restore."""
    assert not_restored(key(KeyState.COMMITTED, key_type)) is kind


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ([copy(A), copy(B)], [("a", 1), ("b", 1)]),
        ([copy(A, attempt=1), copy(A, attempt=2)], [("a", 2), ("a", 1)]),
        ([copy(A, Presence.DESTROYED)], []),
        ([copy(A, Presence.SENT, ids=())], []),
        ([copy(C)], []),
    ],
    ids=["every server", "the latest copy first", "destroyed", "never answered", "a server that was removed"],
)
def test_a_key_can_be_read_where_a_copy_may_be(copies: list[Copy], expected: list[tuple[str, int]]) -> None:
    """A key can be read from configured servers that may have a copy, by the identifiers that they gave."""
    found = sources(copies, [A, B])
    assert [(source.server.address.host, source.copy.attempt) for source in found] == expected


def test_a_copy_can_be_read_from_secondaries_too() -> None:
    """A copy on a primary can be read from its secondaries, because they replicate it."""
    (first, second, third) = sources([copy(A)], [with_secondaries(A, "x", "y")])
    assert (first.host, second.host, third.host) == ("", "x", "y")


SLOW, UNTRIED = SourceHealth(avoided=False, latency_s=0.5), SourceHealth(avoided=False, latency_s=None)
FAILED = SourceHealth(avoided=True, latency_s=0.001)
APART = {A.uuid: A.uuid, B.uuid: B.uuid, C.uuid: C.uuid}
TOGETHER = {A.uuid: A.uuid, B.uuid: A.uuid, C.uuid: C.uuid}


@pytest.mark.parametrize(
    ("copies", "domain_of", "health", "expected"),
    [
        ([copy(A), copy(B), copy(C)], APART, {}, "a b c ax"),
        ([copy(A), copy(B), copy(C)], APART, {"a": SLOW}, "b c a ax"),
        ([copy(A), copy(B), copy(C)], APART, {"a": UNTRIED, "b": SLOW}, "c b a ax"),
        ([copy(A), copy(B), copy(C)], APART, {"a": FAILED, "b": SLOW}, "c b ax a"),
        ([copy(A), copy(B), copy(C)], APART, {"a": FAILED, "b": FAILED, "c": FAILED}, "ax a b c"),
        ([copy(A), copy(B), copy(C)], TOGETHER, {"c": SLOW}, "a c b ax"),
        ([copy(A, Presence.MISSING), copy(B, DIFFERENT), copy(C)], APART, {"c": SLOW}, "c a ax b"),
        ([copy(A, Presence.MISSING), copy(C)], APART, {"c": FAILED}, "c a ax"),
    ],
    ids=[
        "in their order, secondaries last",
        "the one that answered best lately first",
        "one that never answered after those that did",
        "one that failed after all that did not, its secondary before it",
        "all failed",
        "another domain before a second server of the same",
        "proven copies before doubtful ones",
        "a proven copy on a server that failed is likelier than a missing one",
    ],
)
def test_the_order_of_reading(
    copies: list[Copy], domain_of: dict[str, str], health: dict[str, SourceHealth], expected: str
) -> None:
    """The order of reading by availability and proof. Server A has the secondary x."""
    found = sources(copies, [with_secondaries(A, "x"), B, C])

    def known(source: Source) -> SourceHealth:
        return FIT if source.host else health.get(source.server.address.host, FIT)

    order = in_order(found, domain_of, known)
    assert " ".join(source.server.address.host + source.host for source in order) == expected


def test_domains_take_turns() -> None:
    """The best server of each domain is read first, then the second best of each, and so on."""
    servers = [server(f"{name}:5696", position) for position, name in enumerate("abcxyz", 1)]
    domain_of = {each.uuid: "one" if each.address.host in "abc" else "two" for each in servers}
    order = in_order(sources([copy(each) for each in servers], servers), domain_of, lambda _: FIT)
    assert "".join(source.server.address.host for source in order) == "axbycz"


UNSENT = copy(B, Presence.MISSING, ids=())


@pytest.mark.parametrize(
    ("copies", "silent", "lost"),
    [
        ([copy(A), copy(B)], "", True),
        ([copy(A, Presence.MISSING), copy(B, Presence.UNKNOWN), copy(B, DIFFERENT, 2)], "", True),
        ([copy(A), copy(B, Presence.DESTROYED)], "", True),
        ([copy(A), copy(B, attempt=2), UNSENT], "", True),
        ([copy(A, Presence.DESTROYED)], "", True),
        ([copy(A), copy(B)], "a", False),
        ([copy(A), copy(B)], "x", False),
        ([copy(A), copy(B)], "b", False),
        ([copy(A), UNSENT], "", False),
        ([copy(A), copy(B, Presence.SENT, ids=())], "", False),
        ([copy(A), copy(A, Presence.UNKNOWN, 2, ids=())], "", False),
        ([copy(A), copy(C)], "", False),
    ],
    ids=[
        "all deny it",
        "all deny what was in doubt",
        "another copy was destroyed",
        "a later attempt wrote what an earlier one had not sent",
        "nothing is left",
        "the primary is silent",
        "the secondary is silent",
        "another server is silent",
        "a server that was never sent it",
        "Register was not answered",
        "another attempt's copy on a server that denies the first",
        "a server was removed",
    ],
)
def test_a_key_is_lost_if_all_who_should_have_it_deny_it(copies: list[Copy], silent: str, lost: bool) -> None:
    """A key is lost only if every address of every server that should have it denies it. A has the secondary x."""
    found = sources(copies, [with_secondaries(A, "x"), B])
    denied = {source for source in found if (source.host or source.server.address.host) != silent}
    assert no_server_has(copies, found, denied) is lost
    assert lost or silent or len(not_askable(copies, found)) == 1


@pytest.mark.parametrize(
    ("health", "presence", "word"),
    [
        (FIT, PRESENT, "not_needed"),
        (FAILED, PRESENT, "circuit_open"),
        (FIT, DIFFERENT, "different_material"),
    ],
)
def test_why_a_server_was_not_asked(health: SourceHealth, presence: Presence, word: str) -> None:
    """The reason for not asking a server is one word."""
    assert not_asked(health, presence) == word


def test_a_node_can_read_a_proven_copy_on_a_server_that_is_available_to_it() -> None:
    """A copy counts as readable if it is proven and its server is available to this node."""
    assert proven_on([copy(A)], {A.uuid})
    assert not proven_on([copy(A)], {B.uuid})
    assert not proven_on([copy(A, Presence.MISSING)], {A.uuid})


def test_a_key_id_is_shown_with_the_first_server_that_has_it() -> None:
    """A key id is shown with the first responding server that has a proven copy, and with None if no copy is proven."""
    assert key_server_of([copy(C), copy(B)], [A, B, C]) == B
    assert key_server_of([copy(C), copy(B)], [A, B, C], {B.uuid}) == C
    assert key_server_of([copy(C), copy(B)], [A, B, C], {B.uuid, C.uuid}) == B
    assert key_server_of([copy(A, DIFFERENT)], [A]) is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [("x:5696", errors.ONLY_PRIMARIES), ("x:5697", errors.KEY_SERVER_NOT_CONFIGURED)],
    ids=["a secondary", "unknown"],
)
def test_keys_are_restored_from_primaries_only(address: str, kind: ErrorKind) -> None:
    """A restore from a secondary is refused with a code of its own."""
    with pytest.raises(OntapError) as refused:
        restoring_server([with_secondaries(A, "x"), B], ServerAddress.parse(address))
    assert (refused.value.kind, refused.value.target) == (kind, "key_server")


def test_a_primary_is_restored_from() -> None:
    """A primary to restore from is found by its address."""
    assert restoring_server([A, B], B.address) is B


@pytest.mark.parametrize("change", [{"version": 2}, {"state": KeyState.RETIRED}, {"svm": VS0}])
def test_a_standing_differs_with_whatever_decides_who_may_read(change: dict[str, Any]) -> None:
    """Not with the name, which anybody may change."""
    committed = key(KeyState.COMMITTED)
    assert replace(committed, **change).standing != committed.standing
    assert replace(committed, name="another").standing == committed.standing
