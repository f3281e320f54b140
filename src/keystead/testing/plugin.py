"""The pytest plugin: a service, key servers with faults, and SVMs over them, as fixtures.

The wheel registers it with pytest (``pytest11``), so this module imports nothing of Keystead before a fixture is used.
With pytest-xdist each worker has a service of its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.testing.key_servers import KeyServers
    from keystead.testing.service import Keystead, Svm

COUNT = 4
"""How many key servers there are: as many as one key manager can have."""


@pytest.fixture(scope="session")
def keystead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystead]:
    """Run a service that all tests share: ``url``, ``user``, ``password``, ``ca``. netapp_ontap connects to it."""
    with _connected(tmp_path_factory) as service:
        yield service


@pytest.fixture
def fresh_keystead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystead]:
    """Run a service of this test alone. netapp_ontap connects to it until the test ends."""
    with _connected(tmp_path_factory) as service:
        yield service


@pytest.fixture(scope="session")
def session_key_servers() -> Iterator[KeyServers]:
    """Run four key servers that all tests share. Use ``key_servers``, which ends the faults of each test."""
    from keystead.testing.key_servers import KeyServers

    with KeyServers(COUNT) as servers:
        yield servers


@pytest.fixture
def key_servers(session_key_servers: KeyServers) -> Iterator[KeyServers]:
    """Yield four key servers, each with a CA of its own. Faults (``break_``, ``kill``) end with the test."""
    yield session_key_servers
    session_key_servers.heal()


@pytest.fixture
def svm(keystead: Keystead, key_servers: KeyServers) -> Iterator[Svm]:
    """Create an SVM of this test with a key manager over ``key_servers``: ``name``, ``uuid``, ``key_manager``."""
    made = keystead.create_svm(key_servers)
    yield made
    key_servers.heal()  # so that nothing waits for a silent one
    keystead.retire_svm(made)


@pytest.fixture
def fresh_svm(fresh_keystead: Keystead, key_servers: KeyServers) -> Svm:
    """Create an SVM of ``fresh_keystead`` with a key manager over ``key_servers``."""
    return fresh_keystead.create_svm(key_servers)


@contextlib.contextmanager
def _connected(folders: pytest.TempPathFactory) -> Iterator[Keystead]:
    """Run a service, to which netapp_ontap connects if it is installed."""
    from keystead.testing.ontap_client import connected
    from keystead.testing.service import running

    with running(folders.mktemp("keystead")) as service, connected(service):
        yield service
