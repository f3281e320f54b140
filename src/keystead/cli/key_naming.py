"""How commands identify a key: by its name, or by its id of 80 hexadecimal digits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.completing import beginning
from keystead.cli.key_managers import keys_path
from keystead.cli.rest import named, only_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.cli.client import Api

NAMED = "pending|committed|retired"  # in these states no other key can have the same name
_KEY_ID = re.compile(r"[0-9a-f]{80}", re.IGNORECASE)


def keys(service: Api, parameters: Mapping[str, Any], begun: str) -> list[str]:
    """Return the names of volume keys that begin so, for completion."""
    path = keys_path(service, parameters.get("vserver"), parameters.get("manager"), "volume-keys")
    return beginning(service, path, begun, state=NAMED)


def key_id_only(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check a key id. Raise click.BadParameter for an invalid one."""
    return _checked(value, "")


def key_id_or_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check a key id. Raise click.BadParameter, which mentions --name, for an invalid one."""
    return _checked(value, ": a key's name is given with --name")


def one_key_path(service: Api, keys: str, name: str | None, key_id: str | None) -> str:
    """Return the path of a key by its name or its id; exactly one of them must be given.

    ``keys`` is the path of the collection. Raise click.UsageError, click.ClickException or Refused.
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
    """Return the path of a key in its collection."""
    return f"{keys}/{quote(key_id, safe='')}"


def _checked(value: str | None, instead: str) -> str | None:
    if value is not None and _KEY_ID.fullmatch(value) is None:
        raise click.BadParameter(f"not the 80 hexadecimal digits of a key id{instead}")
    return value
