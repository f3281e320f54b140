"""The how-to for Ansible, as its reader runs it: real Ansible, a real service, PyKMIP's servers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

import pytest

from tests.conformance.playbooks import Playbooks
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service
    from tests.peers.processes import Program

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "ansible.md"
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page(service: Service, pki: Pki, pykmip_servers: list[Program], tmp_path: Path) -> None:
    """Its playbook changes four things once, the dry run accepts, and the last one takes the four away again."""
    (tmp_path / "keystead-data").mkdir()
    shutil.copy(service.installation.data / "tls.crt", tmp_path / "keystead-data")
    (tmp_path / "admin.password").write_text(PASSWORD)
    pki.client.write(tmp_path, "client")
    (tmp_path / "kmip-ca.pem").write_text(pki.server_ca.pem)
    text = PAGE.read_text().replace("8443", str(service.port))
    names = ("ks1.example.com", "ks2.example.com:15696", "ks3.example.com")
    for name, server in zip(names, pykmip_servers, strict=False):
        text = text.replace(name, server.address)
    play, proof, removal = _BLOCK.findall(text)
    head, _ = play.split("  tasks:\n")
    plays = Playbooks(service, tmp_path)
    file = tmp_path / "site.yml"
    for content, changes in (
        (play, [4, 0]),
        (f"{head}  tasks:\n{indent(proof, '    ')}", [1, 1]),  # a POST is a change to na_ontap_restit
        (f"{head}  tasks:\n{indent(removal, '    ')}", [3, 0]),
    ):
        file.write_text(content)
        outcomes = [outcome for _ in changes for outcome in plays.playbook(file)]
        assert [outcome.failures for outcome in outcomes] == [[], []]
        assert [outcome.changed for outcome in outcomes] == changes
