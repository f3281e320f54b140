"""What a node withdraws on all other nodes, and the message that tells them.

A withdrawal never grants anything: who gets it stops using what it remembers, until it has read the database again.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Node

MOST: Final = 1000
"""Most withdrawals of one message."""


class Thing(StrEnum):
    """What can be withdrawn: a key (by its key id), an account (by name) or a CA of accounts (by uuid)."""

    KEY = "key"
    ACCOUNT = "account"
    CERTIFICATE = "certificate"


class Withdrawn(NamedTuple):
    """One thing that other nodes must not use by what they remember of it."""

    thing: Thing
    id: str


class Push(NamedTuple):
    """A message from a node (uuid) to the process that has the public key ``recipient``.

    ``number`` differs for each message of a sending process, and grows.
    """

    sender: str
    recipient: str
    number: int
    withdrawn: tuple[Withdrawn, ...]


def encoded(push: Push) -> bytes:
    """Return a message as JSON, to be signed and sent."""
    return json.dumps(push._asdict()).encode()


def decoded(message: bytes) -> Push:
    """Return what :func:`encoded` was given. Raises ValueError for anything else."""
    found = _object(message, Push._fields)
    sender, recipient, number, withdrawn = (found[name] for name in Push._fields)
    if not isinstance(sender, str) or not isinstance(recipient, str) or type(number) is not int:
        raise ValueError("a member has another type")
    if not isinstance(withdrawn, list) or len(withdrawn) > MOST:
        raise ValueError("the withdrawals are no list, or too many")
    return Push(sender, recipient, number, tuple(map(_withdrawn, withdrawn)))


def enveloped(message: str, signature: str) -> bytes:
    """Return a message with its signature, both text, as the body of a request."""
    return json.dumps({"message": message, "signature": signature}).encode()


def opened(body: bytes) -> tuple[str, str]:
    """Return the message and the signature of a body. Raises ValueError."""
    found = _object(body, ("message", "signature"))
    if not all(isinstance(each, str) for each in found.values()):
        raise ValueError("a member is no text")
    return found["message"], found["signature"]


def unconfirmed(node: Node, what: Withdrawn, why: str) -> str:
    """Return the sentence about a node that did not confirm a withdrawal. ``why`` says what failed."""
    happened, may = _WORDS[what.thing]
    return (
        f"Node {node.name} did not confirm that {happened.format(what.id)} ({why})."
        f" While it does not reach the database, it may {may} {_until(node.reads_until)}."
    )


_WORDS: Final = {
    Thing.KEY: ("key {} is retired", "serve the key"),
    Thing.ACCOUNT: ("account {} has changed", "let the account read keys"),
    Thing.CERTIFICATE: ("certificate {} is deleted", "accept logins by it"),
}
"""What happened to a thing, and what a node that does not know it may do."""


def _until(time: datetime | None) -> str:
    return f"until {time:%Y-%m-%dT%H:%M:%SZ}" if time else "for a time that is not known here"


def _object(text: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON object with exactly these members. Raises ValueError."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict) or set(found) != set(names):
        raise ValueError("it is no object with the members that are expected")
    return found


def _withdrawn(found: Any) -> Withdrawn:
    """Return one withdrawal of a message. Raises ValueError."""
    if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], str):
        raise ValueError("a withdrawal is no pair of a thing and its id")
    return Withdrawn(Thing(found[0]), found[1])
