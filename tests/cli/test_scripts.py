"""``keystead`` as people type it: each file of ``scripts/`` is run against a real service with real key servers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.scripting import Script
from tests.peers.certificates import Authority, server_context
from tests.peers.fault_servers import FaultServer, refused_port, tls
from tests.peers.keystead import install_certificates
from tests.peers.kmip_answers import answering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.fixture(scope="module")
def ports(pki: Pki, sound_ports: list[int], service: Service) -> Iterator[dict[str, int]]:
    """Yield the ports that scripts name: 40001-40006 sound servers, 40011 of another CA, 40012 of another client CA."""
    contexts: dict[str, ssl.SSLContext] = {
        "40011": server_context(Authority("Another CA").issue(), pki.client_ca),
        "40012": server_context(pki.server_ca.issue(), Authority("Another CA")),
    }
    sound = {f"4000{number}": port for number, port in enumerate(sound_ports, 1)}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(FaultServer(tls(context, answering()))).port for name, context in contexts.items()
        }
        yield sound | servers | {"40099": refused_port(), "40443": service.port}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_commands_print(
    path: Path, folder: Path, environment: dict[str, str], ports: dict[str, int], service: Service, pki: Pki
) -> None:
    """Output, error output and exit status of every command are those written in the script."""
    script = Script.read(path)
    with service.client() as call:
        svm = call.create("/svm/svms", {"name": path.stem})["name"]
        if path.stem != "cluster":
            installed = install_certificates(call, pki.client, pki.server_ca)
            first = {"server": f"127.0.0.1:{ports['40001']}"}
            call.create("/security/key-managers", installed.new_key_manager([first], svm))
    done = script.run(folder, environment, ports)
    assert [step.transcript for step in done] == [step.transcript for step in script.steps]
