"""The CLI's way to the service: the REST API over ``http.client``, with a login from flags, environment or profile.

A password is never a flag: it comes from ``KEYSTEAD_PASSWORD``, the profile file (mode 0600) or a prompt.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import stat
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import click

TIMEOUT_S = 60
UNREACHABLE = 3
DEFAULT_PROFILE = Path("~/.config/keystead/profile.toml")
PROFILE_FIELDS = {"url", "ca", "user", "password"}


@dataclass(frozen=True, slots=True)
class Login:
    """Where the service is and who calls. ``ca`` is a file of certificates to trust; None means the system's."""

    url: str
    user: str
    ca: Path | None
    password: str | None = field(repr=False)


def read_login(url: str | None, user: str | None, ca: Path | None, profile: Path | None) -> Login:
    """Combine flags, environment and profile file, in this order; raises click.UsageError."""
    table = _read_profile(profile)
    chosen_ca = ca or os.environ.get("KEYSTEAD_CA") or table.get("ca")
    return Login(
        url=url or os.environ.get("KEYSTEAD_URL") or table.get("url") or "https://127.0.0.1:8443",
        user=user or os.environ.get("KEYSTEAD_USER") or table.get("user") or "admin",
        ca=Path(chosen_ca).expanduser() if chosen_ca else None,
        password=os.environ.get("KEYSTEAD_PASSWORD") or table.get("password"),
    )


def _read_profile(given: Path | None) -> dict[str, str]:
    path = (given or Path(os.environ.get("KEYSTEAD_PROFILE") or DEFAULT_PROFILE)).expanduser()
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if given:
            raise click.UsageError(f"{path}: no such file") from None
        return {}
    except (OSError, ValueError):
        raise click.UsageError(f"{path}: cannot be read as TOML") from None
    if set(table) - PROFILE_FIELDS or not all(isinstance(value, str) for value in table.values()):
        raise click.UsageError(f"{path}: holds texts named {', '.join(sorted(PROFILE_FIELDS))} only")
    if "password" in table and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise click.UsageError(f"{path}: holds a password, so its mode must be 0600")
    return table


class Refused(click.ClickException):
    """The service answered with an error: what it said is printed, and the exit status is 1."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "no message")))
        self.status = status
        self.error = error

    def show(self, file: Any = None) -> None:
        """Print code, text, field and arguments."""
        out = file or sys.stderr
        where = f" (field {self.error['target']})" if self.error.get("target") else ""
        click.echo(f"Error {self.error.get('code')}: {self.message}{where}", file=out)
        for argument in self.error.get("arguments", []):
            click.echo(f"  {argument.get('code')}: {argument.get('message')}", file=out)


class Api:
    """One connection to the service."""

    def __init__(self, login: Login) -> None:
        self._login = login
        parts = urlsplit(login.url)
        if parts.scheme != "https" or not parts.hostname:
            raise click.UsageError("the service's URL is https://HOST[:PORT]")
        try:
            context = ssl.create_default_context(cafile=login.ca)
        except (OSError, ssl.SSLError):
            raise click.UsageError(f"{login.ca}: no certificates to trust") from None
        self._connection = http.client.HTTPSConnection(
            parts.hostname, parts.port or 443, timeout=TIMEOUT_S, context=context
        )
        password = login.password
        if password is None:
            password = click.prompt(f"Password of {login.user}", hide_input=True, err=True)
        self._authorization = "Basic " + base64.b64encode(f"{login.user}:{password}".encode()).decode()

    def call(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Make one call of ``/api`` + path; raises Refused on an error, exits with 3 when nothing answers."""
        target = f"/api{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": self._authorization, "Accept": "application/json"}
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body)
        try:
            self._connection.request(method, target, payload, headers)
            response = self._connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            _unreachable(self._login.url, error)
        if response.status >= http.client.BAD_REQUEST:
            raise Refused(response.status, answer.get("error", {}))
        return dict(answer)

    def records(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return all records of a collection."""
        found: list[dict[str, Any]] = self.call("GET", path, **query)["records"]
        return found


def _unreachable(url: str, error: Exception) -> NoReturn:
    reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
    click.echo(f"Error: {url} cannot be reached: {reason}", err=True)
    sys.exit(UNREACHABLE)
