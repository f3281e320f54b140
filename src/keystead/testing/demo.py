"""``keystead demo``: a service and key servers in one folder, which stay up until a signal ends them.

The folder is private, and everything in it is removed in the end. It holds the password of ``admin`` in files of the
mode 0600. ``env`` is written last: once it is there, everything answers.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from keystead.testing.control import controlled
from keystead.testing.key_servers import KeyServers
from keystead.testing.service import LOOPBACK, Keystead, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SVM: Final = "vs0"
MOST_PRIMARIES: Final = 4
PASSWORD_FILE: Final = "admin.password"  # noqa: S105 - a file's name
ENVIRONMENT_FILE: Final = "env"
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """A demo cannot run in this folder. The text says why."""


@dataclass(frozen=True)
class Demo:
    """What runs: the service, its key servers, and the folder with their files."""

    folder: Path
    service: Keystead
    servers: KeyServers

    @property
    def files(self) -> dict[str, str]:
        """The names of the variables that hold files for key servers, and their paths."""
        names = {"CLIENT_CERT": "client.pem", "CLIENT_KEY": "client.key", "KMIP_CA": "kmip-ca.pem"}
        return {name: str(self.folder / file) for name, file in names.items()}

    def environment(self) -> dict[str, str]:
        """Return what another program needs: where everything is, but no password."""
        return {
            "KEYSTEAD_DEMO": str(self.folder),
            "KEYSTEAD_URL": self.service.url,
            "KEYSTEAD_USER": self.service.user,
            "KEYSTEAD_PASSWORD_FILE": str(self.folder / PASSWORD_FILE),
            "KEYSTEAD_CA": str(self.service.ca),
            "KEYSTEAD_PROFILE": str(self.folder / "profile.toml"),
            "KEYSTEAD_EGRESS_ALLOW": LOOPBACK,
            **{server.name.upper(): server.address for server in self.servers},
            **self.files,
        }


@contextlib.contextmanager
def demo(folder: Path, count: int, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Demo]:
    """Run ``count`` key servers, which have one CA, and a service. Raise NotStartedError, OSError."""
    password = secrets.token_hex(12)  # letters and digits: accounts made through the API need both
    _write_private(folder / PASSWORD_FILE, f"{password}\n")
    with (
        KeyServers(count, one_ca=True) as servers,
        controlled(servers, folder),
        running(folder, host=host, port=port, password=password) as service,
    ):
        made = Demo(folder, service, servers)
        servers.client.write(folder, "client")
        (folder / "kmip-ca.pem").write_text("".join(servers.cas))
        login = {"url": service.url, "ca": str(service.ca), "user": service.user, "password": password}
        _write_private(folder / "profile.toml", "".join(f'{name} = "{value}"\n' for name, value in login.items()))
        curl = f'cacert = "{service.ca}"\nuser = "{service.user}:{password}"\n'
        _write_private(folder / "curl.conf", curl)
        yield made


def offer(running_demo: Demo) -> str:
    """Create the SVM ``vs0`` over the first four key servers, write ``env``, and return its lines."""
    running_demo.service.create_svm(running_demo.servers, SVM, most=MOST_PRIMARIES)
    lines = exports(running_demo.environment())
    unfinished = running_demo.folder / f".{ENVIRONMENT_FILE}"
    unfinished.write_text(lines)
    unfinished.rename(running_demo.folder / ENVIRONMENT_FILE)
    return lines


def exports(values: Mapping[str, str]) -> str:
    """Return lines of shell code that set these variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


@contextlib.contextmanager
def private_folder(wanted: Path | None) -> Iterator[Path]:
    """Yield an empty folder that only its owner can read, and remove what was written there.

    Without ``wanted`` it is a temporary one. A folder that was there stays, empty. Raise DemoError for one with
    anything in it, and leave it as it is.
    """
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="keystead-demo-") as temporary:
            yield Path(temporary)
        return
    folder = wanted.absolute()
    there = folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DemoError(f"{wanted} is not empty: a demo begins from nothing, and removes its folder in the end")
        folder.chmod(0o700)
    except OSError as error:
        raise DemoError(f"{wanted}: {error.strerror}") from None
    try:
        yield folder
    finally:
        for each in folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        if not there:
            folder.rmdir()


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block, and say so. From then on nothing interrupts what cleans up."""

    def stop(*_: object) -> None:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in STOPS:
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("\nStopped: everything is removed.", err=True)


def _write_private(path: Path, text: str) -> None:
    """Write a new file with the mode 0600."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
