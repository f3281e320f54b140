"""A service for the command line's tests, the files that commands name, and the environment that they run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.certificates import Authority
from tests.peers.fork_server import programs
from tests.peers.keystead import PASSWORD
from tests.peers.processes import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation, Service


@pytest.fixture(scope="module")
def service(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service of the module's own, that answers on every loopback address."""
    installation = initialised.copy(tmp_path_factory.mktemp("service") / "data")
    with installation.serving(installation.command("serve", "--listen", "0.0.0.0:0")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, pki: Pki, service: Service) -> Path:
    """Where commands run: the certificates for key servers, and the CA of the service."""
    pki.client.write(tmp_path, "client")
    pki.stranger.write(tmp_path, "stranger")
    (tmp_path / "kmip-ca.pem").write_text(pki.server_ca.pem)
    (tmp_path / "other-ca.pem").write_text(Authority("Another CA").pem)
    (tmp_path / "binary.der").write_bytes(b"\x30\x82\x01\xff\xfe")
    (tmp_path / "tls.crt").write_bytes((service.installation.data / "tls.crt").read_bytes())
    return tmp_path


@pytest.fixture
def environment(folder: Path, service: Service) -> dict[str, str]:
    """Return the environment of a user who has set up everything; ``keystead`` is on the PATH."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    return inherited | {
        "PATH": os.pathsep.join([programs(), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": MODULES,
        "HOME": str(folder),
        "KEYSTEAD_URL": service.url,
        "KEYSTEAD_CA": "tls.crt",
        "KEYSTEAD_PASSWORD": PASSWORD,
    }
