"""A running Keystead for tests: ``serve`` in a process of its own on loopback, with a new data directory.

Some settings differ from an installation's, see :data:`SETTINGS` and :data:`RECOVERY`. Otherwise it is what an
administrator would run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from keystead.cli.client import Api, Refused
from keystead.cli.login import Login

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from keystead.testing.key_servers import KeyServers

LOOPBACK: Final = "127.0.0.0/8,::1/128"
SETTINGS: Final[Mapping[str, str]] = {
    "KEYSTEAD_EGRESS_ALLOW": LOOPBACK,  # the key servers of tests are on this host, which the egress rules refuse
    "KEYSTEAD_MONITOR_INTERVAL": "1",  # a test must not wait for the default
}
"""The environment of the service. It takes no other ``KEYSTEAD_*`` variable over."""

RECOVERY: Final = {"key_recovery_days": 0}
"""The setting of the cluster that also differs: deleted keys are destroyed at once."""

USER: Final = "admin"
READY_S: Final = 60
STOP_S: Final = 10
SELDOM_S: Final = 86_400
"""Seconds between two checks of key servers whose test is over: the most that a key manager can have."""


class NotStartedError(RuntimeError):
    """The service did not start. The text is the end of its log."""


@dataclass(frozen=True)
class Svm:
    """An SVM and its key manager (the uuid), over real key servers."""

    name: str
    uuid: str
    key_manager: str


@dataclass(frozen=True)
class Keystead:
    """A running service: where it is, who may log in, and the file of the CA that its clients trust."""

    url: str
    user: str
    password: str = field(repr=False)
    ca: Path
    _certificates: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def host(self) -> str:
        """The host of the URL."""
        return self._login.address[0]

    @property
    def port(self) -> int:
        """The port of the URL."""
        return self._login.address[1]

    @property
    def _login(self) -> Login:
        return Login(self.url, self.user, self.ca, self.password)

    def api(self, user: str | None = None) -> Api:
        """Return a connection as this account or another one with the same password; use it as a ``with`` block."""
        return Api(Login(self.url, user or self.user, self.ca, self.password))

    def call(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Make one call of ``/api`` + path and return its answer.

        Raise :class:`keystead.cli.client.Refused`, whose ``error`` is what was answered.
        """
        with self.api() as api:
            return api.call(method, path, body, **query)

    def create_svm(self, servers: KeyServers, name: str | None = None, *, most: int | None = None) -> Svm:
        """Create an SVM with a key manager over these key servers, or over the first ``most`` of them.

        Without a name, it gets one of its own.

        Raise :class:`keystead.cli.client.Refused` if a key server is broken or the name is taken; then there is no SVM.
        """
        name = name or f"svm_{uuid4().hex[:8]}"
        with self.api() as api:
            external = {
                "client_certificate": {"uuid": self._client_certificate(api, servers)},
                "server_ca_certificates": [{"uuid": self._server_ca(api, ca)} for ca in servers.cas],
                "servers": [{"server": server.address} for server in servers[:most]],
            }
            (svm,) = api.create("/svm/svms", {"name": name})
            try:
                (manager,) = api.create("/security/key-managers", {"svm": {"name": name}, "external": external})
            except Refused:
                api.call("DELETE", f"/svm/svms/{svm['uuid']}")
                raise
        return Svm(name, svm["uuid"], manager["uuid"])

    def retire_svm(self, svm: Svm) -> None:
        """Delete an SVM. If it has keys, which keep their key manager, stop watching its key servers instead."""
        manager = f"/security/key-managers/{svm.key_manager}"
        with self.api() as api:
            try:
                api.call("DELETE", manager)
                api.call("DELETE", f"/svm/svms/{svm.uuid}")
            except Refused:
                with contextlib.suppress(Refused):  # the test has deleted it
                    api.call("PATCH", manager, {"monitor_interval": SELDOM_S})

    def _client_certificate(self, api: Api, servers: KeyServers) -> str:
        mine = servers.client
        keyed = {"type": "client", "public_certificate": mine.certificate_pem, "private_key": mine.key_pem}
        return self._installed(api, mine.certificate_pem, keyed)

    def _server_ca(self, api: Api, ca: str) -> str:
        return self._installed(api, ca, {"type": "server_ca", "public_certificate": ca})

    def _installed(self, api: Api, pem: str, body: dict[str, str]) -> str:
        """Return the uuid of a certificate of the cluster, which is installed once."""
        if pem not in self._certificates:
            (made,) = api.create("/security/certificates", {"name": f"testing-{uuid4().hex[:8]}"} | body)
            self._certificates[pem] = made["uuid"]
        return self._certificates[pem]


@contextlib.contextmanager
def running(folder: Path, *, host: str = "127.0.0.1", port: int = 0, password: str | None = None) -> Iterator[Keystead]:
    """Run a service whose data directory is ``folder/data``. Port 0 is any free one.

    With ``0.0.0.0`` or ``::`` it listens on all addresses, and its URL names loopback, as its certificate does.
    ``password`` is that of ``admin``; without it, one is made up. Raise NotStartedError.
    """
    password = password or secrets.token_hex(12)
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    data, log = folder / "data", folder / "serve.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-m", "keystead.testing.child", data, listen],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=_environment(), start_new_session=True,
        )  # fmt: skip
    try:
        ready = Keystead(_ready(process, password, log), USER, password, data / "tls.crt")
        ready.call("PATCH", "/security/key-manager-configs", RECOVERY)
        yield ready
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    return {**inherited, **SETTINGS}


def _ready(process: subprocess.Popen[bytes], password: str, log: Path) -> str:
    """Return the URL once the service answers there. Raise NotStartedError."""
    sender, receiver = process.stdin, process.stdout
    line, until = b"", time.monotonic() + READY_S
    if sender and receiver:
        with contextlib.suppress(BrokenPipeError):  # it has ended, and its log says why
            sender.write(f"{password}\n".encode())
            sender.flush()
        while not line.endswith(b"\n") and select.select([receiver], [], [], max(until - time.monotonic(), 0))[0]:
            part = os.read(receiver.fileno(), 4096)
            if not part:
                break
            line += part
    if not line.startswith(b"listening on ") or not line.endswith(b"\n"):
        raise NotStartedError(f"keystead did not start:\n{log.read_text(errors='replace')[-2000:]}")
    url = line.decode().removeprefix("listening on ").strip()
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
