"""The listener's certificate is replaced while the service runs, and watched like others."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import time
from contextlib import closing
from dataclasses import replace
from http.client import HTTPSConnection
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.peers.asgi import Response
from tests.peers.certificates import DAY, Authority
from tests.peers.keystead import PASSWORD
from tests.web.conftest import forms

if TYPE_CHECKING:
    from tests.peers.keystead import Client, Installation, Service


class Visitor:
    """A browser without scripts, on the connection of a client."""

    def __init__(self, call: Client) -> None:
        self._connection = call.connection
        self._cookies = SimpleCookie()

    def send(self, method: str, path: str, body: str = "", **headers: str) -> Response:
        """Send a request, and keep the cookies of the answer."""
        cookies = "; ".join(f"{name}={each.value}" for name, each in self._cookies.items())
        self._connection.request(method, path, body, {"Accept": "text/html", "Cookie": cookies, **headers})
        answer = self._connection.getresponse()
        for value in answer.headers.get_all("Set-Cookie", []):
            self._cookies.load(value)
        return Response(answer.status, dict(answer.headers), answer.read())

    def log_in(self, host: str) -> None:
        """Log in as the administrator by the form."""
        ((action, fields),) = forms(self.send("GET", "/login")).items()
        body = urlencode(fields | {"name": "admin", "password": PASSWORD})
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": host}
        assert self.send("POST", action, body, **form).status == 303


OFTEN = {"monitor_probe_interval": "1"}


def shown(service: Service) -> str:
    """Return the certificate that a new connection sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as plain,
        context.wrap_socket(plain) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der)


def event(call: Client, name: str) -> dict[str, Any]:
    """Wait for an event of this name; return its parameters, with its severity."""
    deadline = time.monotonic() + 60
    while not (found := call.get(f"/support/ems/events?message.name={name}&fields=*")["records"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    values = {each["name"]: each["value"] for each in found[0]["parameters"]}
    return values | {"severity": found[0]["message"]["severity"]}


def test_a_certificate_is_replaced_while_connections_live(installation: Installation) -> None:
    """New connections see it after SIGHUP, its end is announced, and what cannot be used replaces nothing."""
    issued = Authority("Listener CA").issue(("127.0.0.1",), common_name="ks1", starts=-60 * DAY, ends=5 * DAY)
    certificate, key = (installation.data / name for name in ("tls.crt", "tls.key"))
    with replace(installation, settings=OFTEN).serving() as service, service.client() as call:
        assert call("GET", "/cluster").status == 200
        before, connection = shown(service), call.connection.sock
        for file, content in ((certificate, issued.certificate_pem), (key, issued.key_pem)):
            file.chmod(0o600)
            file.write_text(content)
        service.signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while (now := shown(service)) == before:
            assert time.monotonic() < deadline
        assert now.split() == issued.certificate_pem.split()
        expiring = event(call, "mgmtgwd.certificate.expiring")
        assert (expiring["common_name"], expiring["days"], expiring["type"]) == ("ks1", "5", "server")
        key.write_text("no key")
        service.signal(signal.SIGHUP)
        unusable = event(call, "mgmtgwd.certificate.unusable")
        assert unusable["severity"] == "error"
        assert "a certificate and its key are expected" in unusable["reason"]
        assert shown(service) == now
        call.connection.request("GET", "/metrics", headers=call.headers)
        text = call.connection.getresponse().read().decode()
        assert 'keystead_certificate_expiry_timestamp_seconds{common_name="ks1"' in text
        assert call.connection.sock is connection
    assert "the listener's certificate is not replaced" in service.stderr.read_text()


def strict_header(service: Service, trusted: str, host: str) -> str | None:
    """Return the HSTS header of the login page at this host. ``trusted`` is the CA, PEM."""
    context = ssl.create_default_context(cadata=trusted)
    with closing(HTTPSConnection("127.0.0.1", service.port, context=context, timeout=60)) as connection:
        connection.request("GET", "/login", headers={"host": host, "accept": "text/html"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        return answer.headers["strict-transport-security"]


def test_browsers_keep_to_https_where_they_can_trust_it(installation: Installation) -> None:
    """HSTS comes at the console's address, once the certificate is not the one that ``init`` made."""
    authority = Authority("Listener CA")
    issued = authority.issue(("127.0.0.1",), common_name="ks1")
    settings = {"console_origin": "https://keys.example.com"}
    with replace(installation, settings=settings).serving() as service:
        before = shown(service)
        assert strict_header(service, before, "keys.example.com") is None
        for name, content in (("tls.crt", issued.certificate_pem), ("tls.key", issued.key_pem)):
            (installation.data / name).chmod(0o600)
            (installation.data / name).write_text(content)
        service.signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while shown(service) == before:
            assert time.monotonic() < deadline
        assert strict_header(service, authority.pem, "keys.example.com") == "max-age=31536000"
        assert strict_header(service, authority.pem, "localhost") is None


def test_the_page_of_health_tells_of_the_listener(installation: Installation) -> None:
    """Its address, the end of its certificate, and how many connections it has, of a real process."""
    with installation.serving() as service, service.client() as call:
        visitor = Visitor(call)
        visitor.log_in(service.url)
        page = visitor.send("GET", "/health").content.decode()
        assert "It listens on 127.0.0.1:" in page
        assert "The certificate of Keystead, issued by Keystead, ends in " in page
        assert re.search(r"[1-9]\d* of [\d,]+ connections are in use\.", page)
        with service.client() as other:
            other.get("/cluster")
            assert "2 of " in visitor.send("GET", "/health").content.decode()
