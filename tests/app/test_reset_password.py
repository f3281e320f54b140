"""``keystead account reset-password``: beside a running service, for accounts of each owner, and what it refuses."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, TypeVar

import pytest

from keystead.app.audit import verify_audit
from keystead.app.opening import CannotStart
from keystead.app.reset_password import reset_password
from keystead.core.model import Account, Event, Role, Svm
from keystead.core.secret import Secret
from keystead.service.ports.page import Page
from keystead.settings import Settings
from keystead.store import open_store
from tests.cli.terminal import Terminal
from tests.peers.keystead import PASSWORD, Installation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from tests.peers.keystead import Service

T = TypeVar("T")

NEW = "another-horse-7"
SVM = Svm("00000000-0000-4000-8000-000000000001", "vs0")
IN_SVM = Account("vs0-admin", Role.VSADMIN, "", svm=SVM, certificate=True, locked=True)
KIND = "km.account.passwordreset"


def settings_of(installation: Installation) -> Settings:
    """Return the settings of an installation."""
    return Settings(data=installation.data, database=installation.database)


def stored(installation: Installation, work: Callable[[Transaction], T], *, write: bool = False) -> T:
    """Run one transaction on the installation's database."""

    async def run() -> T:
        store = open_store(settings_of(installation).database_url)
        try:
            return await (store.write(work) if write else store.read(work))
        finally:
            await store.close()

    return asyncio.run(run())


def everything(installation: Installation) -> tuple[object, ...]:
    """Return the accounts, the events and the ends of the audit chains."""
    return stored(
        installation,
        lambda tx: (tx.page(Account, Page()), tx.page(Event, Page()), [tx.audit_head(n) for n in tx.audit_nodes()]),
    )


def add_svm_account(tx: Transaction) -> None:
    """Store a locked account of an SVM, which has no password."""
    tx.add_svm(SVM)
    tx.put_account(IN_SVM)


def password_file(folder: Path, password: str = NEW) -> str:
    """Write a password into a file, and return the file's path."""
    (folder / "new.password").write_text(f"{password}\n")
    return str(folder / "new.password")


def status(service: Service, password: str) -> int:
    """Return how a login as admin is answered."""
    with service.client(password=password) as call:
        return call("GET", "/cluster").status


def test_the_old_password_ends_at_once_on_a_node_that_runs(place: Installation, tmp_path: Path) -> None:
    """It was remembered there. The new one is taken, the reset is audited in the node's chain, and an alert stands."""
    with place.serving() as service:
        assert status(service, PASSWORD) == 200
        done = place.run("account", "reset-password", "admin", "--password-file", password_file(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        assert status(service, PASSWORD) == 401
        assert status(service, NEW) == 200
        with service.client(password=NEW) as again:
            again.create("/svm/svms", {"name": "vs9"})  # the node goes on with the chain
            (event,) = again.get(f"/support/ems/events?message.name={KIND}&fields=**")["records"]
            (record,) = again.get("/security/audit/messages?message=reset*&fields=**")["records"]
    assert event["message"]["severity"] == "alert"
    assert {each["name"]: each["value"] for each in event["parameters"]} == {"vserver": "keystead", "account": "admin"}
    assert record["message"] == "reset the password of account admin"
    assert record["input"].strip() == "keystead account reset-password"
    assert verify_audit(settings_of(place))[1]
    written = done.stdout + service.stderr.read_text()
    assert NEW not in written


def test_an_account_of_an_svm_is_unlocked_and_keeps_its_certificate(installation: Installation) -> None:
    """It also gets a password if it had none; the event and the record are the SVM's own."""
    stored(installation, add_svm_account, write=True)
    said = reset_password(settings_of(installation), "vs0-admin", "vs0", Secret(NEW))
    assert said == "reset the password of account vs0-admin of SVM vs0; it is not locked"
    found, events = stored(installation, lambda tx: (tx.account("vs0-admin"), tx.page(Event, Page())))
    assert found is not None
    assert (found.locked, found.certificate, found.version) == (False, True, 2)
    assert found.password_hash.startswith("$argon2id$")
    assert [(each.name, each.svm) for each in events] == [(KIND, SVM)]


@pytest.mark.parametrize(
    ("name", "vserver", "password", "expected"),
    [
        ("nobody", None, NEW, "the cluster has no account nobody"),
        ("Admin", None, NEW, "the cluster has no account Admin"),
        ("vs0-admin", None, NEW, "the cluster has no account vs0-admin"),
        ("admin", "vs0", NEW, "SVM vs0 has no account admin"),
        ("vs0-admin", "vs1", NEW, "SVM vs1 has no account vs0-admin"),
        ("admin", None, "short-1", "minimum length"),
        ("admin", None, "no digit at all", "both letters and numbers"),
        ("admin", None, "the-ADMIN-of-1", "the username"),
        ("admin", None, "1" * 129 + "x", "maximum supported length"),
    ],
)
def test_what_is_refused_changes_nothing(
    installation: Installation, name: str, vserver: str | None, password: str, expected: str
) -> None:
    """An account that this owner does not have, and passwords that the API would refuse, which are not repeated."""
    stored(installation, add_svm_account, write=True)
    before = everything(installation)
    with pytest.raises(CannotStart) as refused:
        reset_password(settings_of(installation), name, vserver, Secret(password))
    assert expected in str(refused.value)
    assert password not in str(refused.value)
    assert everything(installation) == before


def test_another_root_key_opens_nothing(installation: Installation, tmp_path: Path) -> None:
    """Exit status 1, one line, and nothing is changed."""
    before = everything(installation)
    (installation.data / "root.key").unlink()
    file = ("--password-file", password_file(tmp_path))
    missing = installation.run("account", "reset-password", "admin", *file)
    (installation.data / "root.key").write_bytes(os.urandom(32))
    (installation.data / "root.key").chmod(0o400)
    wrong = installation.run("account", "reset-password", "admin", *file)
    for done in (missing, wrong):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("Error: ")
        assert "root key" in done.stderr
    assert everything(installation) == before


def test_without_a_data_directory_or_terminal_nothing_is_done(installation: Installation, tmp_path: Path) -> None:
    """A usage error asks for the file; a directory of nobody is named."""
    before = everything(installation)
    unasked = installation.run("account", "reset-password", "admin")
    assert unasked.returncode == 2
    assert "give --password-file, or use a terminal" in unasked.stderr
    nowhere = Installation(tmp_path / "nowhere")
    done = nowhere.run("account", "reset-password", "admin", "--password-file", password_file(tmp_path))
    assert (done.returncode, "is no data directory of Keystead" in done.stderr) == (1, True)
    assert everything(installation) == before


@pytest.mark.parametrize(("again", "expected"), [(NEW, 0), (f"{NEW}8", 2)])
def test_the_password_is_asked_for_twice(installation: Installation, tmp_path: Path, again: str, expected: int) -> None:
    """Without an echo; two that differ change nothing."""
    before = everything(installation)
    command = installation.command("account", "reset-password", "admin")
    with Terminal(command, tmp_path, installation.environment, columns=120) as terminal:
        terminal.wait_for("New password of admin: ")
        terminal.type(f"{NEW}\n")
        terminal.wait_for("The same again: ")
        terminal.type(f"{again}\n")
        assert terminal.end() == expected
        assert "horse" not in terminal.screen
        assert ("the two passwords differ" in terminal.screen) is bool(expected)
    assert (everything(installation) == before) is bool(expected)
    with installation.serving() as service:
        assert (status(service, NEW), status(service, PASSWORD)) == ((401, 200) if expected else (200, 401))
