"""How commands are told which key they mean: by its name, or by its id of 80 hexadecimal digits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from keystead.cli.rest import named, only_one

if TYPE_CHECKING:
    from keystead.cli.client import Api

NAMED = "pending|committed|retired"  # states of keys whose names cannot be another key's
_KEY_ID = re.compile(r"[0-9a-f]{80}", re.IGNORECASE)


def key_id_only(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check a key id; raises click.BadParameter."""
    return _checked(value, "")


def key_id_or_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check a key id where a name would do as well; raises click.BadParameter."""
    return _checked(value, ": a key's name is given with --name")


def one_key_path(service: Api, keys: str, name: str | None, key_id: str | None) -> str:
    """The path of a key by its name or its id, of which one is given.

    ``keys`` is the path of the collection. Raises click.UsageError, click.ClickException, Refused.
    """
    only_one({"--name": name, "--key-id": key_id})
    if key_id is not None:
        return key_path(keys, key_id)
    if name is None:
        raise click.UsageError("say which key: --name NAME, or --key-id ID")
    found = named(service, keys, name, state=NAMED)
    if found is None:
        raise click.ClickException(f"there is no key {name}")
    return key_path(keys, found["key_id"])


def key_path(keys: str, key_id: str) -> str:
    """The path of a key in its collection."""
    return f"{keys}/{quote(key_id, safe='')}"


def _checked(value: str | None, instead: str) -> str | None:
    if value is not None and _KEY_ID.fullmatch(value) is None:
        raise click.BadParameter(f"not the 80 hexadecimal digits of a key id{instead}")
    return value
