"""``keystead key-manager rebuild``: the way back from a lost database, command by command."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from keystead.cli.main import cli
from keystead.sealing import passphrases
from keystead.settings import Settings
from keystead.store import open_store
from tests.service.keys.rebuilding.test_rebuild import keeping, new_store

if TYPE_CHECKING:
    from keystead.store import SqlStore
    from tests.peers.groups import Group, Server
    from tests.service.keys.rebuilding.test_rebuild import Lost
    from tests.service.worlds.keys import KeyWorld

__all__ = ["new_store"]

PASSPHRASE = "a passphrase of the tests\n"
UNKNOWN = "00000000-0000-0000-0000-000000000000"


async def keystead(*arguments: str, **environment: str) -> Result:
    """Run a command beside the test's loop, which serves the key servers."""
    allowed = {"KEYSTEAD_EGRESS_ALLOW": "127.0.0.0/8,::1/128"} | environment
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, PASSPHRASE * 2, allowed)


async def test_the_way_back(
    key_world: KeyWorld,
    new_store: SqlStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bundle, then the database is gone: restore, rebuild, and every key is there; again, and nothing changes."""
    monkeypatch.setattr(passphrases, "MEMORY_KIB", 64)
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    home, bundle, data = key_world.home, str(tmp_path / "bundle"), str(tmp_path / "restored")
    saved = await keystead("backup", "--bundle", "--data", str(home.data), bundle, KEYSTEAD_DATABASE=home.database)
    assert saved.exit_code == 0, saved.output
    key = await lost.node.create(lost.manager)

    restored = await keystead("restore", "--data", data, bundle)
    assert restored.exit_code == 0, restored.output
    found = await keystead("key-manager", "rebuild", "--data", data)
    assert (found.exit_code, "keys taken: 1" in found.output) == (0, True), found.output
    store = open_store(Settings(data=tmp_path / "restored").database_url)
    try:
        (again,) = await store.read(lambda tx: tx.keys([key.uuid]))
        await store.write(lambda tx: tx.drop_attempt(key.uuid, 1))
    finally:
        await store.close()
    assert (again.name, again.digest) == (key.name, key.digest)

    found = await keystead("key-manager", "rebuild", "--data", data)
    for text in ("keys taken: 0", "keys that were there, with copies of which the database did not know: 1"):
        assert (found.exit_code, text in found.output) == (0, True), found.output
    found = await keystead("key-manager", "rebuild", "--data", data, lost.manager)
    assert (found.exit_code, "keys taken: 0" in found.output) == (0, True)
    found = await keystead("key-manager", "rebuild", "--data", data, UNKNOWN)
    assert (found.exit_code, f"there is no key manager {UNKNOWN}" in found.output) == (1, True)
    await lost.node.create(lost.manager, "another")
    await servers[1].__aexit__(None, None, None)
    found = await keystead("key-manager", "rebuild", "--data", data)
    assert found.exit_code == 1
    for text in ("was not read", "keys not taken: 1, too few", "unclaimed objects: 1"):
        assert text in found.output


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_way_back_from_real_key_servers(
    key_world: KeyWorld,
    new_store: SqlStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pykmip_group: Group,
) -> None:
    """PyKMIP's, one of them dead, another one without a key: all is found that two of them agree on."""
    monkeypatch.setattr(passphrases, "MEMORY_KIB", 64)
    servers = pykmip_group.primaries[:3]
    lost = await keeping(key_world, new_store, [server.proxied for server in servers])
    home, bundle, data = key_world.home, str(tmp_path / "bundle"), str(tmp_path / "restored")
    saved = await keystead("backup", "--bundle", "--data", str(home.data), bundle, KEYSTEAD_DATABASE=home.database)
    assert saved.exit_code == 0, saved.output
    keys = [await lost.node.create(lost.manager, f"key {number}") for number in range(20)]
    second = await uuid_of(lost, servers[1])
    (id_,) = (each.unique_identifiers[0] for each in await key_world.copies(keys[0].uuid) if each.key_server == second)
    servers[1].forget(id_)
    servers[2].kill()

    restored = await keystead("restore", "--data", data, bundle)
    assert restored.exit_code == 0, restored.output
    found = await keystead("key-manager", "rebuild", "--data", data)
    assert found.exit_code == 1
    for text in ("keys taken: 19", f"key server {servers[2].proxied} was not read", "keys not taken: 1, too few"):
        assert text in found.output
    servers[2].restart()
    async with asyncio.timeout(120):
        while True:  # a server that has just started may not answer in time at first
            found = await keystead("key-manager", "rebuild", "--data", data)
            if "keys taken: 1" in found.output:
                break
    assert found.exit_code == 0, found.output
    store = open_store(Settings(data=tmp_path / "restored").database_url)
    try:
        again = await store.read(lambda tx: tx.keys([key.uuid for key in keys]))
        unclaimed = await store.read(lambda tx: tx.orphans(lost.manager))
    finally:
        await store.close()
    assert {(key.uuid, key.name, key.digest) for key in again} == {(key.uuid, key.name, key.digest) for key in keys}
    assert unclaimed == ()


async def uuid_of(lost: Lost, server: Server) -> str:
    """Return the uuid of a key server's row."""
    return next(row.uuid for row in await lost.world.servers(lost.manager) if str(row.address) == server.proxied)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_older_database_is_noticed(home_settings: Settings) -> None:
    """Before any key is: what it began belongs to an earlier life of it."""
    arguments = ("key-manager", "rebuild", "--data", str(home_settings.data))
    for _ in range(2):
        await keystead(*arguments, KEYSTEAD_DATABASE=str(home_settings.database))
        file = Path(str(home_settings.database_url).removeprefix("sqlite:///"))
        await asyncio.to_thread(shutil.copyfile, file, file.with_name("older"))
        await asyncio.to_thread(file.with_name("older").replace, file)
    store = open_store(home_settings.database_url)
    try:
        found = await store.read(lambda tx: tx.incarnation())
    finally:
        await store.close()
    assert found is not None
    assert (found.number, found.destroys) == (2, False)


async def test_nothing_to_rebuild(home_settings: Settings) -> None:
    """No key managers; nor a data directory, or its root key."""
    found = await keystead(
        "key-manager", "rebuild", "--data", str(home_settings.data), KEYSTEAD_DATABASE=str(home_settings.database)
    )
    assert (found.exit_code, "there are no key managers" in found.output) == (1, True)
    root_key = home_settings.data / "root.key"
    await asyncio.to_thread(root_key.unlink)
    found = await keystead(
        "key-manager", "rebuild", "--data", str(home_settings.data), KEYSTEAD_DATABASE=str(home_settings.database)
    )
    assert (found.exit_code, "root key" in found.output) == (1, True)
