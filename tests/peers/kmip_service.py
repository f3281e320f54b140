"""A real ``keystead serve`` with its KMIP listener, over real key servers, and applications that use it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead.kmip.client.client import Client as KmipClient
from keystead.kmip.transport import tls
from keystead.testing.key_servers import KeyServers
from tests.peers.certificates import DAY, Authority, Credentials
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import timedelta
    from pathlib import Path

    from keystead.kmip.ttlv.versions import Version
    from tests.peers.keystead import Client, Installation, Service

HOST = "127.0.0.1"
KMIP_ONLY = [{"application": "kmip", "authentication_methods": ["certificate"]}]


@dataclass
class Application:
    """An application: its account, and how it connects."""

    site: KmipSite
    name: str
    credentials: Credentials

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a context that shows the application's certificate and trusts Keystead's."""
        context = ssl.create_default_context(cafile=self.site.ca_file)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        self.credentials.load_into(context)
        return context

    @asynccontextmanager
    async def client(self, version: Version = (1, 4)) -> AsyncIterator[KmipClient]:
        """Yield a connection of Keystead's own KMIP client."""
        with contextlib.closing(socket.create_connection((HOST, self.site.port), timeout=20)) as sock:
            sock.settimeout(0)
            stream = await tls.handshake(sock, self.context(), server_name=HOST)
            made = KmipClient(stream)
            made.version = version
            try:
                yield made
            finally:
                made.close()


@dataclass
class KmipSite:
    """The service, its key servers, an SVM with a key manager over all of them, and the SVM's CA for logins."""

    service: Service
    port: int
    servers: KeyServers
    admin: Client
    svm: str
    key_manager: str
    authority: Authority

    @property
    def ca_file(self) -> Path:
        """The file with the certificate that Keystead shows."""
        return self.service.installation.data / "tls.crt"

    @cached_property
    def one(self) -> Application:
        """An application."""
        return self.application()

    def application(
        self, name: str = "", *, authority: Authority | None = None, ends: timedelta = 10 * DAY
    ) -> Application:
        """Make an application with an account, and a certificate of the SVM's CA or of another one."""
        name = name or f"app-{uuid4().hex[:8]}"
        body = {"name": name, "owner": {"name": self.svm}, "role": {"name": "kmip-client"}, "applications": KMIP_ONLY}
        self.admin.create("/security/accounts", body)
        issued = (authority or self.authority).issue((), common_name=name, purpose="client", ends=ends)
        return Application(self, name, issued)


@contextmanager
def kmip_site(installation: Installation, count: int = 4) -> Iterator[KmipSite]:
    """Serve an installation with a KMIP listener until the block ends."""
    port = free_port()
    command = installation.command("serve", "--listen", f"{HOST}:0", "--kmip-listen", f"{HOST}:{port}")
    with KeyServers(count) as servers, installation.serving(command) as service, service.client() as admin:
        svm, authority = f"svm-{uuid4().hex[:8]}", Authority(f"Applications {uuid4().hex[:8]}")
        admin.create("/svm/svms", {"name": svm})
        owned = {"svm": {"name": svm}}
        client, *cas = [
            admin.create("/security/certificates", owned | body)["uuid"]
            for body in (
                {
                    "type": "client",
                    "public_certificate": servers.client.certificate_pem,
                    "private_key": servers.client.key_pem,
                },
                *({"type": "server_ca", "public_certificate": ca} for ca in servers.cas),
            )
        ]
        admin.create(
            "/security/certificates",
            owned | {"type": "client_ca", "public_certificate": authority.pem, "name": f"logins-{svm}"},
        )
        external = {
            "client_certificate": {"uuid": client},
            "server_ca_certificates": [{"uuid": uuid} for uuid in cas],
            "servers": [{"server": server.address} for server in servers],
        }
        manager = admin.create("/security/key-managers", owned | {"external": external})["uuid"]
        yield KmipSite(service, port, servers, admin, svm, f"/security/key-managers/{manager}", authority)
