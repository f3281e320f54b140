"""The service's address and the caller's account: from options, else environment, else the profile file, else defaults.

A password is never an option or part of the URL. It comes from ``KEYSTEAD_PASSWORD``, from the file that
``KEYSTEAD_PASSWORD_FILE`` names, from the profile file (mode 0600) or from a prompt on the terminal. This module does
not call the service.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import tomllib
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_URL = "https://127.0.0.1:8443"
DEFAULT_USER = "admin"
DEFAULT_PROFILE = Path("~/.config/keystead/profile.toml")
HTTPS_PORT = 443
PROFILE_FIELDS = {"url", "ca", "user", "password"}
SECRET_LIMIT = 4096
"""The maximum number of bytes of a file with a password, passphrase or key.

No real secret is so long. The limit stops endless reading from a device.
"""


@dataclass(frozen=True, slots=True)
class Login:
    """The service's address and the caller's account. ``ca`` is a file of trusted certificates, or None."""

    url: str
    user: str
    ca: Path | None
    password: str | None = field(repr=False)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the service."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or HTTPS_PORT


def read_login(url: str | None, user: str | None, ca: Path | None, profile: Path | None) -> Login:
    """Combine options, environment and profile file, in this order. Raise click.UsageError."""
    table = _read_profile(profile)
    chosen_ca = ca or os.environ.get("KEYSTEAD_CA") or table.get("ca")
    login = Login(
        url=url or os.environ.get("KEYSTEAD_URL") or table.get("url") or DEFAULT_URL,
        user=user or os.environ.get("KEYSTEAD_USER") or table.get("user") or DEFAULT_USER,
        ca=Path(chosen_ca).expanduser() if chosen_ca else None,
        password=os.environ.get("KEYSTEAD_PASSWORD") or _password_of_file(),
    )
    # The password of the profile belongs only to the account of the profile.
    if login.password is None and login.user == (table.get("user") or DEFAULT_USER):
        login = replace(login, password=table.get("password"))
    _check_url(login.url)
    check_utf8(login.password or "", "KEYSTEAD_PASSWORD")
    if ":" in login.user or not login.user.isprintable():
        raise click.UsageError("the account's name cannot hold a colon or a control character")
    return login


def _password_of_file() -> str | None:
    """Return the password in the file that ``KEYSTEAD_PASSWORD_FILE`` names; None if it is not set."""
    file = os.environ.get("KEYSTEAD_PASSWORD_FILE")
    return secret_text(Path(file), "KEYSTEAD_PASSWORD_FILE") if file else None


def ask_password(user: str) -> str:
    """Ask for a password on the terminal without echo. Raise click.UsageError if there is no terminal."""
    return _ask(
        f"Password of {user}: ",
        "set KEYSTEAD_PASSWORD or KEYSTEAD_PASSWORD_FILE, put it into the profile file, or use a terminal",
    )


def kmip_password(username: str, file: Path | None) -> str | None:
    """Return the password of a KMIP user from the file, ``KEYSTEAD_KMIP_PASSWORD`` or a prompt.

    Return None without a user. Raise click.UsageError.
    """
    if not username:
        if file is not None:
            raise click.UsageError("--password-file needs --username")
        return None
    check_utf8(username, "--username")
    given = os.environ.get("KEYSTEAD_KMIP_PASSWORD")
    if file is not None:
        return secret_text(file, "--password-file")
    if given is None:
        with hidden("KMIP password", "give --password-file, set KEYSTEAD_KMIP_PASSWORD, or use a terminal"):
            given = click.prompt(f"KMIP password of {username}", hide_input=True, err=True)
    check_utf8(given, "KEYSTEAD_KMIP_PASSWORD")
    return given


def new_password(account: str, file: Path | None) -> str:
    """Return the new password of an account, from the file or from two prompts on the terminal."""
    if file is None:
        given = _ask(f"New password of {account}: ", "give --password-file, or use a terminal")
        if _ask("The same again: ", "") != given:
            raise click.UsageError("the two passwords differ")
        return given
    return secret_text(file, "--password-file")


@contextlib.contextmanager
def hidden(what: str, instead: str) -> Iterator[None]:
    """Turn the failure of a prompt without echo into click.UsageError: no terminal, or input that is not UTF-8.

    ``instead`` tells the user what to do without a terminal.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            yield
        except UnicodeDecodeError:
            raise click.UsageError(f"the {what} is not UTF-8") from None
        except getpass.GetPassWarning:
            raise click.UsageError(f"no {what}: {instead}") from None


def _ask(prompt: str, instead: str) -> str:
    """Ask for a password on the terminal without echo. ``instead`` tells the user what to do without a terminal."""
    with hidden("password", instead):
        return getpass.getpass(prompt)


def secret_text(file: Path, flag: str) -> str:
    """Return the text of a file without one trailing newline. Raise click.UsageError, which never quotes the text."""
    text = secret_bytes(file, flag).removesuffix(b"\n").decode(errors="surrogateescape")
    check_utf8(text, flag)
    return text


def secret_bytes(file: Path, flag: str) -> bytes:
    """Return the content of a file. Raise click.UsageError if it cannot be read or is too large."""
    try:
        with file.open("rb") as opened:
            content = opened.read(SECRET_LIMIT + 1)
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    if len(content) > SECRET_LIMIT:
        raise click.UsageError(f"{flag}: {file} holds more than {SECRET_LIMIT} bytes")
    return content


def check_utf8(text: str, name: str) -> None:
    """Raise click.UsageError if a text of the command line or environment is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{name}: not UTF-8") from None


def _check_url(url: str) -> None:
    """Raise click.UsageError for an invalid URL. The message leaves out the URL, because it may hold a password."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme == "https" and parts.hostname and (parts.port is None or parts.port > 0)
        bare = "@" not in parts.netloc and parts.path in {"", "/"} and not parts.query and not parts.fragment
    except ValueError:
        sound, bare = False, False
    if not (sound and bare and url.isascii() and url.isprintable()):
        raise click.UsageError("the service's URL is https://HOST[:PORT], without a path or a login")


def _read_profile(given: Path | None) -> dict[str, str]:
    named = given or os.environ.get("KEYSTEAD_PROFILE")
    path = Path(named or DEFAULT_PROFILE).expanduser()
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            table = tomllib.load(file)
    except FileNotFoundError:
        if named:
            raise click.UsageError(f"{path}: no such file") from None
        return {}
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except ValueError:  # the exception's text could quote the password
        raise click.UsageError(f"{path}: not TOML") from None
    if set(table) - PROFILE_FIELDS or not all(isinstance(value, str) for value in table.values()):
        raise click.UsageError(f"{path}: holds texts named {', '.join(sorted(PROFILE_FIELDS))} only")
    if "password" in table and mode & 0o077:
        raise click.UsageError(f"{path}: holds a password, so its mode must be 0600")
    return table
