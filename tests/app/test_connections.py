"""keystead.app.connections: who may have one more connection, as tables, without sockets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from keystead.app.connections import KNOWN_S, LOGGED, LOGGED_S, Connections, Limits, TrustedProxies
from keystead.settings import Settings, SettingsError

if TYPE_CHECKING:
    from keystead.app.connections import Place

TEN = Limits(in_all=10, of_address=4, reserved=3)


class Listener:
    """Connections with a clock that the test turns, and what was refused."""

    def __init__(self, limits: Limits = TEN) -> None:
        self.time = 0.0
        self.refused: Counter[str] = Counter()
        self.connections = Connections(limits, lambda reason: self.refused.update([reason]), lambda: self.time)

    def enter(self, *addresses: str) -> list[Place]:
        """Let connections of these addresses in; return those that were not refused."""
        return [place for address in addresses if (place := self.connections.enter(address))]


@pytest.mark.parametrize(
    ("there", "known", "comes", "reason"),
    [
        ([], [], "192.0.2.1", ""),
        (["192.0.2.1"] * 3, [], "192.0.2.1", ""),
        (["192.0.2.1"] * 4, [], "192.0.2.1", "address"),
        (["192.0.2.1"] * 4, ["192.0.2.1"], "192.0.2.1", "address"),
        (["192.0.2.1"] * 4, [], "192.0.2.2", ""),
        (["192.0.2.1"] * 4 + ["192.0.2.2"] * 3, [], "192.0.2.3", "reserved"),
        (["192.0.2.1"] * 4 + ["192.0.2.2"] * 3, ["192.0.2.3"], "192.0.2.3", ""),
        (["192.0.2.1"] * 4 + ["192.0.2.2"] * 3 + ["192.0.2.3"] * 3, ["192.0.2.3"], "192.0.2.3", "in_all"),
        (["2001:db8::1"] * 4, [], "2001:db8::ffff:2", "address"),
        (["2001:db8::1"] * 4, [], "2001:db8:0:1::1", ""),
        (["2001:db8::1"] * 4 + ["192.0.2.2"] * 3, ["2001:db8:0:1::1"], "2001:db8:0:1::2", ""),
        (["fe80::1%eth0"] * 4, [], "fe80::2%eth0", "address"),
        (["::ffff:192.0.2.1"] * 4, [], "192.0.2.1", "address"),
        (["::ffff:192.0.2.1"] * 4, [], "::ffff:192.0.2.2", ""),
    ],
)
def test_one_more(there: list[str], known: list[str], comes: str, reason: str) -> None:
    """Each address has its part, and only who has logged in uses the reserve."""
    listener = Listener()
    for address in known:
        listener.connections.logged_in(address)
    assert len(listener.enter(*there)) == len(there)
    assert len(listener.enter(comes)) == (not reason)
    assert listener.refused == Counter([reason] if reason else [])


def test_four_known_addresses_may_have_all() -> None:
    """With the default settings; without a login three or more have all but the reserve."""
    for count, known in ((4, True), (4, False), (3, False)):
        addresses = [f"192.0.2.{number}" for number in range(count)]
        listener = Listener(Limits.of(Settings(), 65536))
        for address in addresses if known else []:
            listener.connections.logged_in(address)
        there = listener.enter(*[each for each in addresses for _ in range(256)])
        assert len(there) == (1024 if known else 768)
        listener.connections.logged_in("192.0.2.9")
        assert bool(listener.enter("192.0.2.9")) is not known


def test_who_leaves_makes_room_once() -> None:
    """A connection that ends twice counts once."""
    listener = Listener()
    first, *_ = listener.enter(*["192.0.2.1"] * 4)
    first.leave()
    first.leave()
    assert len(listener.enter(*["192.0.2.1"] * 3)) == 1


def test_a_login_is_forgotten() -> None:
    """After 15 minutes without an authenticated request."""
    listener = Listener()
    listener.connections.logged_in("192.0.2.9")
    listener.enter(*["192.0.2.1"] * 4, *["192.0.2.2"] * 3)
    listener.time = KNOWN_S - 1
    (place,) = listener.enter("192.0.2.9")
    place.leave()
    listener.time = KNOWN_S + 1
    assert not listener.enter("192.0.2.9")


def test_a_proxy_waits_within_the_limit_in_all_only() -> None:
    """Until it names a client; an address's part and the reserve are the client's matter."""
    listener = Listener()
    places = [listener.connections.enter_by_proxy("192.0.2.1") for _ in range(11)]
    assert [bool(place) for place in places] == [True] * 10 + [False]
    assert listener.refused == {"in_all": 1}


def test_one_line_a_minute_for_each_address() -> None:
    """However many connections are refused; and not without end if many addresses are."""
    listener = Listener(Limits(in_all=1, of_address=1, reserved=0))
    listener.enter("192.0.2.1")
    with capture_logs() as lines:
        listener.enter(*["192.0.2.1", "192.0.2.2"] * 50)
        assert [(line["client"], line["reason"]) for line in lines] == [
            ("192.0.2.1", "address"),
            ("192.0.2.2", "in_all"),
        ]
        listener.time = LOGGED_S + 1
        listener.enter("192.0.2.1")
        assert len(lines) == 3
        listener.enter(*(f"198.51.{high}.{low}" for high in range(10) for low in range(250)))
        assert len(lines) == 2 + LOGGED
    assert listener.refused.total() == 100 + 1 + 2500


@pytest.mark.parametrize(
    ("settings", "open_files", "limits"),
    [
        (Settings(), 65536, Limits(1024, 256, 256)),
        (Settings(), 1024, Limits(512, 128, 128)),
        (Settings(connections=100, connections_per_address=10, connections_reserved=50), 65536, Limits(100, 10, 50)),
        (Settings(connections_per_address=100), 65536, Limits(1024, 1024, 256)),
        (Settings(connections=1, connections_per_address=1, connections_reserved=90), 65536, Limits(1, 1, 0)),
    ],
)
def test_limits_of_settings(settings: Settings, open_files: int, limits: Limits) -> None:
    """Never more than half of the open files, which is logged; somebody unknown can always log in."""
    with capture_logs() as lines:
        assert Limits.of(settings, open_files) == limits
    assert bool(lines) == (limits.in_all < settings.connections)


@pytest.mark.parametrize(
    ("setting", "address", "trusted"),
    [
        ((), "192.0.2.1", False),
        (("192.0.2.1",), "192.0.2.1", True),
        (("192.0.2.1",), "::ffff:192.0.2.1", True),
        (("192.0.2.1",), "192.0.2.2", False),
        (("198.51.100.0/24", "2001:db8::/32"), "2001:db8:1::1", True),
        (("198.51.100.0/24", "2001:db8::/32"), "198.51.101.1", False),
        (("fe80::/64",), "fe80::1%eth0", True),
    ],
)
def test_trusted_proxies(setting: tuple[str, ...], address: str, trusted: bool) -> None:
    """Addresses and networks of both families."""
    assert (address in TrustedProxies.parse(setting)) == trusted


@pytest.mark.parametrize("text", ["proxy.example.com", "192.0.2.1/24", "192.0.2.0/33"])
def test_what_is_no_network(text: str) -> None:
    """The setting is named."""
    with pytest.raises(SettingsError, match=r"^setting 'trusted_proxies': "):
        TrustedProxies.parse((text,))


def test_how_many_there_are() -> None:
    """Those that have left count no more, and those that were refused never did."""
    listener = Listener()
    places = listener.enter(*["192.0.2.1"] * 5)
    assert (listener.connections.in_all, listener.connections.most) == (4, 10)
    places[0].leave()
    assert listener.connections.in_all == 3
