"""Reading keys on a real service whose database is taken away and given back."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from tests.peers import canned
from tests.peers.keystead import PASSWORD, Installation, create_key_manager, install_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki

READER_PASSWORD = "words and 1 number"


def test_keys_in_memory_are_read_while_the_database_is_away(pki: Pki, tmp_path: Path) -> None:
    """By who has logged in lately; nothing else is. The reads are in the audit chain when it is back."""
    installation = Installation(tmp_path / "data").init()
    server = canned.start(tmp_path / "ks", pki.server, pki.client_ca)
    try:
        server.wait_until_ready()
        with installation.serving() as service, service.client() as admin:
            certificates = install_certificates(admin, pki.client, pki.server_ca)
            manager = create_key_manager(admin, certificates, server.address).removesuffix("/key-servers")
            kept, other = (admin.create(f"{manager}/volume-keys", {"name": name}) for name in ("kept", "other"))
            reader = {"name": "reader", "role": {"name": "key-reader"}, "password": READER_PASSWORD}
            applications = [{"application": "http", "authentication_methods": ["password"]}]
            answer = admin("POST", "/security/accounts", reader | {"applications": applications})
            assert answer.status == 201, answer.content
            with service.client("reader", READER_PASSWORD) as call:
                path = f"{manager}/volume-keys/{kept['key_id']}/retrieve"
                first = call("POST", path)
                assert first.status == 200, first.content
                _away(installation.data, "lost-")
                again = call("POST", path)
                assert (again.status, again.body["material"]) == (200, first.body["material"])
                assert call("POST", f"{manager}/volume-keys/{other['key_id']}/retrieve").status == 500
                with service.client("reader", PASSWORD) as wrong:
                    assert wrong("POST", path).status == 500
                spool = installation.data / "reads.spool"
                assert stat.S_IMODE(spool.stat().st_mode) == 0o600
                assert first.body["material"].encode() not in spool.read_bytes()
                _away(installation.data, "")
                until = time.monotonic() + 120
                while spool.exists() and time.monotonic() < until:
                    time.sleep(0.1)
            messages = admin.get("/security/audit/messages?message=retrieval*&fields=message")
            assert messages["num_records"] == 2
    finally:
        server.stop()
    verified = installation.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout


def _away(data: Path, prefix: str) -> None:
    """Move the database's files away, or back when the prefix is empty."""
    for name in ("keystead.db", "keystead.db-wal", "keystead.db-shm"):
        here, there = data / name, data / f"lost-{name}"
        here, there = (here, there) if prefix else (there, here)
        if here.exists():
            here.rename(there)
