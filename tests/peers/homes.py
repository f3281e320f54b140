"""An installation on each engine that harness processes add to, watched through a store of the test's own."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import delete, insert, select, update

from keystead.core.certificates.certificates import NewCertificate
from keystead.core.model import KeyManager, KeyServer, Svm
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.sealing import Keyring, read_root_key
from keystead.service.audit.verifying import verify
from keystead.settings import Settings
from keystead.store import SqlStore, open_store, tables
from keystead.store.opening import open_database
from tests.peers.adding import CALL, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from keystead.core.model import AuditRecord
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation


SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Home:
    """Where it is, what it holds, and what must be true of it at any time."""

    data: Path
    database: str
    store: SqlStore
    keyring: Keyring
    client_certificate: str
    server_ca: str

    async def svm(self) -> Svm:
        """Make an SVM."""
        svm = Svm(str(uuid4()), f"svm-{uuid4().hex[:8]}")
        await self.store.write(lambda tx: tx.add_svm(svm))
        return svm

    async def key_manager(self, *servers: str) -> str:
        """Make an SVM's key manager with these servers, without proving them; return its uuid."""
        manager = KeyManager(str(uuid4()), await self.svm(), True, self.client_certificate, (self.server_ca,))
        rows = [
            KeyServer(str(uuid4()), manager.uuid, position, ServerAddress.parse(server), 25, 10, "", ())
            for position, server in enumerate(servers, 1)
        ]
        await self.store.write(lambda tx: (tx.add_key_manager(manager), tx.add_key_servers(rows)))
        return manager.uuid

    async def servers(self, key_manager: str) -> list[KeyServer]:
        """The stored servers, in order."""
        return list(await self.store.read(lambda tx: tx.key_servers(key_manager)))

    async def records(self, after: int = 0) -> list[AuditRecord]:
        """The audit records of the one node after so many; that of init is not counted."""
        (node,) = await self.store.read(lambda tx: tx.nodes())
        return list(await self.store.read(lambda tx: tx.audit_records(node.uuid, after + 1, 100_000)))

    async def check_chain(self) -> None:
        """Assert that every record is there and as it was written."""
        reports = await verify(self.store, self.keyring.mac)
        assert reports
        assert all(report.intact for report in reports), reports


@pytest.fixture(scope="session")
def home_template(initialised: Installation) -> Settings:
    """An installation as ``keystead init`` makes it, on SQLite: to be copied."""
    return Settings(data=initialised.data)


@pytest.fixture
def home_settings(home_template: Settings, database_url: str, tmp_path: Path) -> Settings:
    """A copy of it whose database is of each engine in turn."""
    return copied(home_template, tmp_path / "home", database_url)


def copied(template: Settings, data: Path, database: str) -> Settings:
    """A copy of an installation on SQLite, with this database of the newest schema instead of its own."""
    shutil.copytree(template.data, data)
    if database.startswith(SQLITE):
        shutil.copyfile(template.database_url, database.removeprefix(SQLITE))
    else:
        copy_rows(f"{SQLITE}{template.database_url}", database)
    return Settings(data=data, database=database)


def copy_rows(source: str, target: str) -> None:
    """Give a database of the newest schema the rows of another, instead of its own."""
    reader, writer = open_database(source).reader, open_database(target).writer
    with reader.connect() as from_, writer.begin() as to:
        for table in reversed(tables.metadata.sorted_tables):
            to.execute(delete(table))
        for table in tables.metadata.sorted_tables:
            if rows := from_.execute(select(table)).mappings().all():
                to.execute(insert(table), [dict(row) for row in rows])
    reader.dispose()
    writer.dispose()


@dataclass(frozen=True)
class Furnished:
    """A template with certificates, by their uuids."""

    settings: Settings
    client_certificate: str
    server_ca: str


@pytest.fixture(scope="session")
def furnished_template(home_template: Settings, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """The template with the session's certificates. Nobody has served it, as far as it knows: copies are no clones."""
    data = tmp_path_factory.mktemp("furnished") / "home"
    settings = copied(home_template, data, f"{SQLITE}{data / 'keystead.db'}")

    async def install() -> tuple[str, str]:
        async with opened(str(data), settings.database) as services:
            install, key = services.certificates.install, Secret(pki.client.key_pem)
            client = await install(CALL, NewCertificate("client", pki.client.certificate_pem, private_key=key))
            return client.uuid, (await install(CALL, NewCertificate("server_ca", pki.server_ca.pem))).uuid

    uuids = asyncio.run(install())
    engine = open_database(f"{SQLITE}{data / 'keystead.db'}").writer
    with engine.begin() as connection:
        connection.execute(update(tables.incarnations).values(storage=""))
    engine.dispose()
    return Furnished(Settings(data=data), *uuids)


@pytest_asyncio.fixture
async def home(furnished_template: Furnished, database_url: str, tmp_path: Path) -> AsyncIterator[Home]:
    """An installation with the session's certificates."""
    settings = copied(furnished_template.settings, tmp_path / "home", database_url)
    store = open_store(settings.database_url)
    try:
        keys = await store.read(lambda tx: tx.data_keys())
        keyring = Keyring.open(read_root_key(settings.root_key_file), keys)
        certificates = furnished_template.client_certificate, furnished_template.server_ca
        yield Home(settings.data, settings.database, store, keyring, *certificates)
    finally:
        await store.close()
