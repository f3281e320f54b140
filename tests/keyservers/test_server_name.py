"""The TLS server name of a probe: the host, or another name that was given."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from keystead.keyservers.gateway import Gateway
from tests.keyservers.cases import CLIENT_CA, LOOPBACK, SERVER_CA, identity, target
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import server_context

if TYPE_CHECKING:
    from keystead.core.probing import ProbeResult

Versions = Literal["1.2", "1.3"]
NAME = "kms.example.com"


@dataclass
class Named:
    """A sound server with a certificate for ``names``; it records the names that clients sent (SNI)."""

    names: tuple[str, ...]
    version: Versions
    script: Any = fault.tls
    asked: list[str | None] = field(default_factory=list)

    def __enter__(self) -> fault.FaultServer:
        context = server_context(SERVER_CA.issue(self.names), CLIENT_CA, versions=self.version)
        context.sni_callback = lambda _socket, name, _context: self.asked.append(name)
        self._stack = ExitStack()
        return self._stack.enter_context(fault.FaultServer(self.script(context, kmip.answering())))

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def probed(run: Any, port: int, host: str, server_name: str) -> ProbeResult:
    """Return what one probe finds."""
    asked = target(port, host, server_name=server_name)
    (result,) = run(Gateway(LOOPBACK).probe_all([asked], identity(), 40))
    found: ProbeResult = result
    return found


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("host", "names", "server_name", "reason", "sni"),
    [
        ("localhost", (NAME,), "", "server_certificate_wrong_name", "localhost"),
        ("localhost", (NAME,), NAME, None, NAME),
        ("127.0.0.1", (NAME,), "KMS.example.com.", None, "KMS.example.com"),
        ("127.0.0.1", (NAME,), "other.example.com", "server_certificate_wrong_name", "other.example.com"),
        ("localhost", ("localhost",), NAME, "server_certificate_wrong_name", NAME),
        ("localhost", ("192.0.2.9",), "192.0.2.9", None, None),
        ("localhost", ("2001:db8::9",), "2001:db8::9", None, None),
        ("localhost", ("192.0.2.9",), "192.0.2.10", "server_certificate_wrong_name", None),
        ("127.0.0.1", ("127.0.0.1",), "", None, None),
    ],
)
def test_the_name_that_counts(
    run: Any,
    version: Versions,
    host: str,
    names: tuple[str, ...],
    server_name: str,
    reason: str | None,
    sni: str | None,
) -> None:
    """Verified and sent as SNI is the name given, else the host; an address is verified and never sent."""
    with (peer := Named(names, version)) as server:
        result = probed(run, server.port, host, server_name)
    assert result.reason == reason
    assert peer.asked == [sni]


def test_the_second_look_asks_for_the_same_name(run: Any) -> None:
    """The second look at a server that refuses silently sends the given name, too."""
    with (peer := Named((NAME,), "1.3", fault.mute_tls)) as server:
        asked = target(server.port, server_name=NAME)
        stranger = identity(CLIENT_CA.issue((), purpose="server"))
        (result,) = run(Gateway(LOOPBACK).probe_all([asked], stranger, 40))
    assert result.reason == "client_certificate_probably_refused"
    assert peer.asked == [NAME, NAME]


def test_secondaries_are_asked_for_it_too(run: Any) -> None:
    """The name applies to primary and secondaries."""
    with (peer := Named((NAME,), "1.3")) as server:
        secondary = target(server.port, "localhost").server
        for name, accepted in (("", False), (NAME, True)):
            asked = target(server.port, "127.0.0.1", server_name=name, secondaries=(secondary,))
            (result,) = run(Gateway(LOOPBACK).probe_all([asked], identity(), 40))
            assert result.accepted is accepted
    assert peer.asked[2:] == [NAME, NAME]
