"""``keystead init --join``: makes the data directory of a new node, which another node has invited.

The new node makes a key for this one exchange. It gets the root key and the database's URL, sealed to this key, and
tries both before it writes anything. The schema is never changed. The root key is written last of all that was given:

- without a root key in the directory, nothing has joined: the command can run again, with a new invitation;
- with it, the directory has all that ``keystead init`` needs to make the rest.

This module must not print: its caller shows the fingerprint.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from keystead.app import tls
from keystead.app.conditions import NODE_FILE
from keystead.app.initialise import add_node, certificate_of, egress_line, locked, write_new
from keystead.app.join_messages import LIVES_S, LONGEST, Answer, Grant, Hello, Invited, MalformedError, Refusal
from keystead.app.listener import parse_listen
from keystead.app.opening import CannotStart, opened
from keystead.sealing import Keyring
from keystead.sealing.joining import NewNodeKey, Parties, Side, fingerprint, hash_of, is_proof, proof
from keystead.sealing.sources import unfinished, write_root_key
from keystead.service.announcing import cluster_name
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.settings import FILE_NAME, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.core.secret import Secret
    from keystead.settings import Settings

CONNECT_S: Final = 10.0
LATE_S: Final = 30.0
"""Seconds after the end of an invitation within which the inviter says so."""

_OURS: Final = (FILE_NAME, tls.CERTIFICATE_FILE, tls.KEY_FILE)
_EMPTY: Final = {"lost+found", NODE_FILE, *_OURS, *(f".{name}.new" for name in (NODE_FILE, *_OURS))}
"""Names that an empty data directory may hold: settings, a certificate, and the uuid of a node whose machine is lost.

Also what a killed command has left.
"""

AGAIN: Final = "have a new invitation made"
REFUSALS: Final = {
    Refusal.USED: f"the token was used before: if not by you, find out by whom, and {AGAIN}",
    Refusal.EXPIRED: f"the invitation has expired: {AGAIN}",
    Refusal.BY_OPERATOR: "the operator of the inviting node refused this node",
    Refusal.FAILED: f"the inviting node could not go on, its command says why: {AGAIN}",
}


def join(settings: Settings, url: str, token: Secret, show: Callable[[str], None]) -> list[str]:
    """Make a data directory by an invitation. Return the lines to show.

    ``show`` gets the fingerprint that the inviting node's operator must see. Raises CannotStart, SettingsError.
    """
    invited, host = Invited.parse(url), parse_listen(settings.listen)[0]
    try:
        token_hash = hash_of(token)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    try:
        _check_is_empty(settings)
        grant = _asked(invited, token_hash, show)
        joined = settings if settings.database else replace(settings, database=grant.database)
        keyring = asyncio.run(_keyring(joined, grant.root_key))
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(settings.data):
            _check_is_empty(settings)
            _write(settings, grant)
            certificate = certificate_of(settings.data, host)
            return [*certificate, *asyncio.run(_added(joined, keyring)), egress_line(settings)]
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or settings.data}: {error.strerror}") from None


def _check_is_empty(settings: Settings) -> None:
    """Raise CannotStart if there is a root key, or anything in the data directory that a new node does not bring."""
    if settings.root_key_file.exists():
        raise CannotStart(
            f"there is a root key, {settings.root_key_file}: `keystead init` without --join joins with it"
        )
    leftover = unfinished(settings.root_key_file).name
    found = {each.name for each in settings.data.iterdir()} if settings.data.exists() else set()
    if others := sorted(found - _EMPTY - {leftover}):
        raise CannotStart(f"{settings.data} is not empty, it has {others[0]}: a new node needs a directory of its own")


# --- the exchange ---


def _asked(invited: Invited, token_hash: Secret, show: Callable[[str], None]) -> Grant:
    """Ask the inviting node for what a new node needs. Raises CannotStart, SealError."""
    key = NewNodeKey()
    parties = Parties(key.public, invited.certificate)
    hello = Hello(key.public, proof(token_hash, Side.NEW_NODE, parties))
    try:
        answer = Answer.decoded(_exchanged(invited, hello, lambda: show(fingerprint(key.public))))
        if answer.refusal:
            raise CannotStart(_why(answer.refusal, answer.tries_left))
        if not is_proof(answer.proof, token_hash, Side.INVITER, parties, answer.sealed):
            raise CannotStart("the answer is from somebody who does not know the token: nothing was taken from it")
        return Grant.decoded(key.open(answer.sealed, parties))
    except MalformedError:
        raise CannotStart(f"{invited.place} does not answer as a node that invites") from None


def _exchanged(invited: Invited, hello: Hello, on_sent: Callable[[], None]) -> bytes:
    """Send a message and return the answer. Raises CannotStart."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # because the URL has the fingerprint
    with closing(http.client.HTTPSConnection(invited.host, invited.port, timeout=CONNECT_S, context=context)) as to:
        try:
            to.connect()
        except OSError as error:
            raise CannotStart(
                f"{invited.place} does not answer ({error.strerror or type(error).__name__}): an invitation ends after"
                " 15 minutes, when it is used, and with its command"
            ) from None
        found = sha256(to.sock.getpeercert(binary_form=True) or b"").digest()
        if found != invited.certificate:
            raise CannotStart(
                f"{invited.place} shows another certificate than the URL says, with SHA-256 {found.hex()}: somebody may"
                " stand in between. Nothing was sent"
            )
        to.sock.settimeout(LIVES_S + LATE_S)
        try:
            to.request("POST", invited.path_of(invited.certificate), hello.encoded())
            on_sent()
            return to.getresponse().read(LONGEST)
        except (OSError, http.client.HTTPException):
            raise CannotStart(f"{invited.place} is gone before it answered: {AGAIN}") from None


def _why(refusal: Refusal, tries_left: int) -> str:
    if refusal is not Refusal.WRONG_TOKEN:
        return REFUSALS[refusal]
    left = {0: f"the invitation has ended with this try, {AGAIN}", 1: "one try is left"}
    return f"the token is wrong: {left.get(tries_left, f'{tries_left} tries are left')}"


# --- the data directory ---


async def _keyring(settings: Settings, root_key: Secret) -> Keyring:
    """Open the data keys of the database with the root key. Raises CannotStart if either is of no use here."""
    try:
        store = opened(settings)
        try:
            return Keyring.open(root_key, await store.read(lambda tx: tx.data_keys()))
        finally:
            await store.close()
    except (CannotStart, SealError, StoreError) as error:
        raise CannotStart(f"nothing was written, because the database cannot be used from here: {error}") from None


def _write(settings: Settings, grant: Grant) -> None:
    """Write what was given, the root key last."""
    data = settings.data
    if not settings.database:
        line = f"database = {json.dumps(grant.database, ensure_ascii=False)}\n".encode()
        file = data / FILE_NAME
        write_new(file, line + (file.read_bytes() if file.exists() else b""), 0o600)
    if grant.certificate and not (data / tls.CERTIFICATE_FILE).exists():
        write_new(data / tls.KEY_FILE, grant.key.reveal(), 0o400)
        write_new(data / tls.CERTIFICATE_FILE, grant.certificate.encode(), 0o444)
    write_root_key(settings.root_key_file, grant.root_key)


async def _added(settings: Settings, keyring: Keyring) -> list[str]:
    """Add the node to the cluster. Return the line to show."""
    store = opened(settings)
    try:
        node = await store.write(lambda tx: add_node(tx, settings.data, keyring))
        cluster = await store.read(cluster_name)
        return [f"node {node.name} has joined the cluster {cluster}: `keystead serve --data {settings.data}` starts it"]
    finally:
        await store.close()
