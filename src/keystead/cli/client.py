"""The REST client of the CLI: ``http.client``, one connection, JSON in and out.

The client does not trust the answering program to be Keystead. Any answer that is not ONTAP's JSON ends the command
with exit status 3.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import click

from keystead.cli.login import Login, ask_password
from keystead.cli.output import folded, printable
from keystead.cli.reasons import advice_about

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.client import HTTPMessage
    from typing import IO

TIMEOUT_S = 60
ANSWER_LIMIT = 64 * 2**20  # bytes: far beyond a full page of records
_API_SYNTAX = re.compile(r"`|\]\(")
_NEXT = re.compile(r'<(/api/[^>]*)>; rel="next"')


class Refused(click.ClickException):
    """The error that the service answered. Its text is printed, and the exit status is 1."""

    def __init__(self, error: Mapping[str, Any], *, as_json: bool = False) -> None:
        super().__init__(str(error.get("message", "")))
        self.error = error
        self.advice: str | None = None
        self._as_json = as_json

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the code, the text and the key servers or field at fault, or print everything as JSON."""
        if self._as_json:
            click.echo(json.dumps({"error": self.error}, indent=2), file=file, err=True)
            return
        target, arguments = self.error.get("target"), self.error.get("arguments", ())
        field = f" (field {target})" if target and not arguments and target not in self.message else ""
        lines = [f"Error {self.error.get('code')}: {self.message}{field}"]
        advised: set[str] = set()
        server_line = 0  # the line that names a server, to which stage, reason and rule belong
        for argument in arguments:
            name, text = argument.get("code"), argument.get("message")
            if server_line and name in {"stage", "reason", "rule"}:
                lines[server_line] += f"{':' if name == 'stage' else ','} {name} {text}"
            else:
                server_line = len(lines) if name == "server" else 0
                lines.append(f"  {text}" if name == "server" else f"  {name}: {text}")
            if name == "reason" and text not in advised and (said := advice_about(text)):
                advised.add(text)
                lines.append(f"    {said}")
        advice = self.advice or _advice(self.error.get("code"))
        lines += [f"  {advice}"] if advice else []
        lines = [printable(line) for line in lines]
        if sys.stderr.isatty():
            lines = [folded(line, shutil.get_terminal_size().columns) for line in lines]
        click.echo("\n".join(lines), file=file, err=True)


def _advice(code: Any) -> str | None:
    """Return the advice of the error table, or None if there is none or more than one.

    Advice that names API calls or fields is left out.
    """
    from keystead.core.errors import ADVICE  # a command that is not refused starts without the table

    found = {advice for kind, advice in ADVICE.items() if str(kind.code) == code}
    plain = [advice for advice in found if not _API_SYNTAX.search(advice)]
    return plain[0] if len(found) == len(plain) == 1 else None


@contextlib.contextmanager
def with_advice(code: str, advice: str) -> Iterator[None]:
    """Add advice to the refusal with this code."""
    try:
        yield
    except Refused as error:
        if error.error.get("code") == code:
            error.advice = advice
        raise


class Unreachable(click.ClickException):
    """The error for a service that does not answer, or for another program at its URL. The exit status is 3."""

    exit_code = 3


class Api:
    """One connection to the service, closed at the end of the ``with`` block."""

    def __init__(self, login: Login, *, errors_as_json: bool = False, timeout_s: float | None = None) -> None:
        self._login = login
        self._errors_as_json = errors_as_json
        self._svm: dict[str, bytes] = {}
        try:
            context = ssl.create_default_context(cafile=login.ca)
        except (OSError, ssl.SSLError):
            raise click.UsageError(f"{login.ca}: no certificates to trust") from None
        host, port = login.address
        self._connection = http.client.HTTPSConnection(host, port, timeout=timeout_s or TIMEOUT_S, context=context)
        password = ask_password(login.user) if login.password is None else login.password
        self._authorization = "Basic " + base64.b64encode(f"{login.user}:{password}".encode()).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the service."""
        return self._login.address

    def trusted(self) -> str:
        """Return the certificates (PEM) by which the service is trusted. Empty if they are those of the machine."""
        return self._login.ca.read_text() if self._login.ca else ""

    def confine(self, vserver: str) -> None:
        """Confine the following calls to an SVM, so that only its objects are visible. Source: SVM tunnelling.

        Raise click.ClickException for a name that cannot be an SVM's name or a header.
        """
        if not vserver.isprintable():
            raise click.ClickException(f"there is no SVM {printable(vserver)}")
        self._svm = {"X-Dot-SVM-Name": vserver.encode()}

    def call(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Make one call of ``/api`` + path and return its answer. Raise Refused or Unreachable."""
        answer, _ = self._exchange(method, _target(path, query), body)
        return answer

    def make(self, path: str, body: Any) -> str:
        """Send a POST and return the path of the new object, without ``/api``. Raise Refused or Unreachable."""
        _, headers = self._exchange("POST", _target(path, {}), body)
        location = headers.get("Location", "")
        if not location.startswith("/api/"):
            raise self._not_keystead()
        return location.removeprefix("/api")

    def records(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return all records of a collection, page by page. Raise Refused or Unreachable."""
        target: str | None = _target(path, query)
        found: list[dict[str, Any]] = []
        while target is not None:
            answer, headers = self._exchange("GET", target, None)
            following = _NEXT.search(headers.get("Link", ""))
            target = following.group(1) if following else None
            found += self._records_of(answer)
        return found

    def create(self, path: str, body: Any, **query: str) -> list[dict[str, Any]]:
        """Send a POST and return the records in the answer. Raise Refused or Unreachable."""
        return self._records_of(self.call("POST", path, body, **({"return_records": "true"} | query)))

    def refusal(self, error: Mapping[str, Any]) -> Refused:
        """Return the error for a failure that is not an answer's, such as a failed job."""
        return Refused(error, as_json=self._errors_as_json)

    def _records_of(self, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
        records = answer.get("records")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise self._not_keystead()
        return records

    def _exchange(self, method: str, target: str, body: Any) -> tuple[dict[str, Any], HTTPMessage]:
        """Return the answer and its headers. Raise Refused or Unreachable."""
        headers: dict[str, str | bytes] = {"Authorization": self._authorization, "Accept": "application/json"}
        headers |= self._svm
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body)
        try:
            self._connection.request(method, target, payload, headers)
            response = self._connection.getresponse()
            content = response.read(ANSWER_LIMIT)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._login.url} cannot be reached: {_reason(error)}") from None
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise self._not_keystead() from None
        if not isinstance(answer, dict):
            raise self._not_keystead()
        if response.status >= http.client.BAD_REQUEST and isinstance(answer.get("error"), dict):
            raise self.refusal(answer["error"])
        for warning in answer.get("warnings", ()):
            click.echo(f"Warning: {printable(str(warning))}", err=True)
        if response.status not in {http.client.OK, http.client.CREATED, http.client.ACCEPTED}:
            raise self._not_keystead()
        return answer, response.headers

    def _not_keystead(self) -> Unreachable:
        return Unreachable(f"{self._login.url} answers, but not as Keystead does: is another program on this port?")


def exactly(text: str) -> str:
    """Return a filter for exactly this text. Operators go into quotes, and quotation marks go into braces."""
    return '"' + text.replace('"', '"{"}"') + '"'


def _target(path: str, query: Mapping[str, str]) -> str:
    return f"/api{path}" + (f"?{urlencode(query)}" if query else "")


def _reason(error: OSError | http.client.HTTPException) -> str:
    """Return the reason of a failure in words for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} (--ca names the file of certificates to trust)"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'}): is it an HTTPS port?"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    if isinstance(error, http.client.HTTPException):  # RemoteDisconnected is both
        return "the connection was closed, or the answer is not HTTP"
    return error.strerror or type(error).__name__
