"""Completion of names: of what is there, within a limit of time, without a word and without a prompt."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from keystead.cli import completing
from keystead.cli.completion import VARIABLE
from keystead.cli.main import cli
from tests.cli.terminal import Terminal
from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Service

    Complete = Callable[..., list[str]]

EXTERNAL = ("security", "key-manager", "external")
CERTIFICATE = ("security", "certificate")
KEY = ("security", "key-manager", "key")
PATIENT_S = 60.0  # a busy machine is not what is tested


@pytest.fixture(scope="module")
def there(service: Service) -> str:
    """Return the name of an SVM that can be completed."""
    with service.client() as call:
        return str(call.create("/svm/svms", {"name": "there"})["name"])


@pytest.fixture
def complete(
    environment: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Complete:
    """Return a function that completes the last of some words, as a shell would, and that must not print anything."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(completing, "LIMIT_S", PATIENT_S)

    def values(*words: str) -> list[str]:
        *before, last = words
        found = ShellComplete(cli, {}, "keystead", VARIABLE).get_completions(list(before), last)
        assert capfd.readouterr() == ("", "")
        return [each.value for each in found]

    return values


def test_svms(service: Service, complete: Complete) -> None:
    """Those that begin so; what a shell would read as something else is left out."""
    with service.client() as call:
        for name in ("comp-a", "comp-b", "comp-$(id)", "comp c", "other"):
            call.create("/svm/svms", {"name": name})
    for command in ((*EXTERNAL, "show"), ("vserver", "delete"), ("report", "prove"), (*KEY, "show")):
        assert complete(*command, "--vserver", "comp") == ["comp-a", "comp-b"]
    assert complete("vserver", "delete", "--vserver", "comp-b") == ["comp-b"]
    assert complete("vserver", "delete", "--vserver", 'co*"') == []
    assert "other" in complete("vserver", "delete", "--vserver", "")


def test_certificates(service: Service, pki: Pki, complete: Complete) -> None:
    """Of the owner and the type that the option takes; the last name of several."""
    with service.client() as call:
        call.create("/svm/svms", {"name": "certified"})
        for name, owner in (("ca-1", "certified"), ("ca-2", "certified"), ("ca-3", None)):
            body = {"name": name, "type": "server_ca", "public_certificate": pki.server_ca.pem}
            call.create("/security/certificates", body | ({"svm": {"name": owner}} if owner else {}))
        client = {"public_certificate": pki.client.certificate_pem, "private_key": pki.client.key_pem}
        own = {"name": "ca-client", "type": "client", "svm": {"name": "certified"}}
        call.create("/security/certificates", own | client)
    of_svm = ("--vserver", "certified")
    assert complete(*CERTIFICATE, "delete", *of_svm, "--name", "ca-") == ["ca-1", "ca-2", "ca-client"]
    assert complete(*CERTIFICATE, "delete", "--name", "ca-") == ["ca-3"]
    assert complete(*EXTERNAL, "modify", *of_svm, "--client-cert", "ca") == ["ca-client"]
    assert complete(*EXTERNAL, "modify", *of_svm, "--server-ca-certs", "ca-1,ca") == ["ca-1,ca-1", "ca-1,ca-2"]
    assert complete(*CERTIFICATE, "sign", *of_svm, "--ca-name", "ca") == []


def test_roles(service: Service, complete: Complete) -> None:
    """Of the owner that the other options name, built in or not."""
    with service.client() as call:
        call.create("/svm/svms", {"name": "with-roles"})
        made = {"name": "vs-made", "privileges": [{"path": "/api/cluster", "access": "readonly"}]}
        call.create("/security/roles", made | {"owner": {"name": "with-roles"}})
    login, of_svm = ("security", "login"), ("--vserver", "with-roles")
    assert complete(*login, "create", *of_svm, "--role", "vs") == ["vs-made", "vsadmin", "vsadmin-readonly"]
    assert complete(*login, "role", "delete", *of_svm, "--role", "vs-") == ["vs-made"]
    assert complete(*login, "role", "create", "--role", "read") == ["readonly"]


def test_keys_and_key_servers(service: Service, pki: Pki, pykmip_group: Group, complete: Complete) -> None:
    """Of the key manager that the other options choose."""
    servers = sorted(server.address for server in pykmip_group.primaries[:2])
    with service.client() as call:
        path = create_key_manager(call, install_certificates(call, pki.client, pki.server_ca), *servers)
        manager = path.removesuffix("/key-servers")
        svm = call.get(manager)["svm"]["name"]
        for name in ("vol1", "vol2", "swap"):
            create_key(call, manager, name)
    of_svm = ("--vserver", svm)
    assert complete(*KEY, "retire", *of_svm, "--name", "vol") == ["vol1", "vol2"]
    by_uuid = ("--key-manager", manager.rpartition("/")[2])
    assert complete(*KEY, "retrieve", *by_uuid, "--name", "s") == ["swap"]
    assert sorted(complete(*EXTERNAL, "modify-server", *of_svm, "--key-server", "")) == servers
    assert sorted(complete(*KEY, "restore", *by_uuid, "--key-server", "")) == servers
    assert complete(*EXTERNAL, "remove-servers", *of_svm, "--key-servers", f"x,{servers[0]}") == [f"x,{servers[0]}"]
    assert complete(*EXTERNAL, "add-servers", *of_svm, "--key-servers", "") == []


@pytest.mark.parametrize(
    "changed",
    [
        {"KEYSTEAD_PASSWORD": "wrong"},
        {"KEYSTEAD_CA": "other-ca.pem"},
        {"KEYSTEAD_CA": "none.pem"},
        {"KEYSTEAD_URL": "http://[::1"},
        {"KEYSTEAD_URL": "https://127.0.0.1:1"},
        {"KEYSTEAD_URL": "https://nowhere.invalid"},
        {"KEYSTEAD_PROFILE": "client.pem"},
    ],
    ids=str,
)
def test_what_goes_wrong_is_not_told(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, there: str, changed: dict[str, str]
) -> None:
    """Nothing is completed and nothing is printed."""
    assert complete("vserver", "delete", "--vserver", "th") == [there]
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    assert complete("vserver", "delete", "--vserver", "th") == []


def test_a_service_that_never_answers(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion gives up at its limit, whatever the connection still waits for."""
    monkeypatch.setattr(completing, "LIMIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("KEYSTEAD_URL", f"https://127.0.0.1:{silent.getsockname()[1]}")
        assert complete("vserver", "delete", "--vserver", "") == []


def test_no_password_is_asked_for(folder: Path, environment: dict[str, str]) -> None:
    """On a terminal without a password nothing is completed, and nothing is printed."""
    words = {"COMP_WORDS": "keystead vserver delete --vserver ", "COMP_CWORD": "4", VARIABLE: "bash_complete"}
    asked = {name: value for name, value in environment.items() if name != "KEYSTEAD_PASSWORD"} | words
    with Terminal((sys.executable, "-m", "keystead"), folder, asked) as terminal:
        assert terminal.end() == 0
    assert terminal.screen.strip() == ""
