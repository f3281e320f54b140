"""The operations on objects of one key server, as the service's ObjectSession port defines them.

Answers of a server are not trusted. The attributes of located objects are checked, pages are counted, and the objects
of a failed batch are asked for one by one. The caller compares material with the digest. KMIP 1.4 section 4, KMIP 2.1
section 6.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.certificates.shown import clean
from keystead.core.secret import Secret
from keystead.keyservers.forms import new_objects
from keystead.keyservers.learned import public_key_digest
from keystead.keyservers.material import joined, material_in, outcome, refused_as_a_whole
from keystead.keyservers.objects_faults import malformed, unusable
from keystead.keyservers.quirks import find_quirks
from keystead.kmip.messages.attributes import Attribute, Name, name_attribute
from keystead.kmip.messages.payloads.get import GetResponsePayload
from keystead.kmip.ttlv.enums import QueryFunction, RevocationReasonCode, State
from keystead.kmip.ttlv.errors import OperationFailed
from keystead.kmip.ttlv.versions import V1_3
from keystead.service.ports.objects import Capabilities, Fault, KeyServerFault, ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from keystead.core.keys.model import KeyForm
    from keystead.keyservers.forms import NewObject
    from keystead.keyservers.lines import Line, Peer
    from keystead.kmip.client.client import Client
    from keystead.kmip.messages.payloads.get_attributes import GetAttributesResponsePayload
    from keystead.kmip.messages.payloads.locate import LocateResponsePayload
    from keystead.kmip.messages.payloads.query import QueryResponsePayload
    from keystead.kmip.messages.payloads.register import RegisterResponsePayload
    from keystead.service.ports.objects import Quirks

ITEMS_PER_MESSAGE: Final = 32
"""The most objects that one message asks for."""

PAGE: Final = 10_000
"""The objects that one Locate asks for after a too large answer. They fill half of a message of 1 MiB."""

LOCATED: Final = 1_000_000
"""The most objects that a server may name. If a server names more, the search stops."""

_ABOUT: Final = (
    QueryFunction.QUERY_OPERATIONS,
    QueryFunction.QUERY_OBJECTS,
    QueryFunction.QUERY_SERVER_INFORMATION,
)
_FACTS: Final = ("Name", "State", "Object Type")
_STATES: Final[Mapping[int, str]] = {
    State.PRE_ACTIVE: "Pre-Active",
    State.ACTIVE: "Active",
    State.DEACTIVATED: "Deactivated",
    State.COMPROMISED: "Compromised",
    State.DESTROYED: "Destroyed",
    State.DESTROYED_COMPROMISED: "Destroyed Compromised",
}


class Session:
    """An :class:`keystead.service.ports.objects.ObjectSession`. Each message has the session's time limit.

    One Locate asks for ``page`` objects after a too large answer. A server may name at most ``located`` objects.
    """

    def __init__(self, peer: Peer, line: Line, *, page: int = PAGE, located: int = LOCATED) -> None:
        self._peer = peer
        self._line = line
        self._page = page
        self._most_located = located

    @property
    def public_key(self) -> str:
        """The SHA-256 of the server's public key, in hexadecimal. Empty if its certificate cannot be read."""
        return public_key_digest(self._line.chain)

    async def once_per_connection(self, what: str, look: Callable[[], Awaitable[bool]]) -> bool:
        """Return True if ``look`` returned True on the connection in use, now or in an earlier session."""
        return await self._line.once(what, look)

    async def get_capabilities(self) -> Capabilities:
        """Ask the server for its capabilities. They are empty if it refuses Query. Raises KeyServerFault."""

        async def ask(client: Client, limit_s: float) -> QueryResponsePayload:
            return await client.query(_ABOUT, timeout=limit_s)

        version = ".".join(map(str, self._line.version))
        try:
            answer = await self._line.ask(ask)
        except KeyServerFault as fault:
            if fault.fault in {Fault.UNREACHABLE, Fault.UNANSWERED}:
                raise
            return Capabilities((), (), version, "")
        vendor = clean(answer.vendor_identification or "")
        return Capabilities(tuple(map(int, answer.operation)), tuple(map(int, answer.object_type)), version, vendor)

    async def find_quirks(self, name: str, unique_identifier: str) -> Quirks:
        """Learn the quirks of the server, with an object that is there under this name."""
        return await find_quirks(self._line, name, unique_identifier)

    # --- writing: each of these is sent once ---

    async def register(
        self, name: str, material: Secret, form: KeyForm, *, application_information: str | None
    ) -> tuple[str, ...]:
        """Register the key. If only the first object of a pair was registered, the fault is ``unanswered``."""
        identifiers: list[str] = []
        for new in new_objects(name, material, form, application_information):
            try:
                identifiers.append(await self._register(new))
            except KeyServerFault as fault:
                if not (identifiers or fault.fault.sent):
                    raise
                await self._line.close(keep=False)
                raise KeyServerFault(Fault.UNANSWERED, fault.reason) from fault
        return tuple(identifiers)

    async def register_and_get(
        self, name: str, material: Secret, form: KeyForm, *, application_information: str | None
    ) -> tuple[tuple[str, ...], Secret | None]:
        """Register the key and read it back in one message. The material is None if it was not read back.

        Use one message only for a single object, and if such a message did not fail lately; otherwise only register.
        The material counts only if the server says that it belongs to the object just registered. Register is sent
        once, whatever happens. After a failure, the server gets Register and Get in separate messages for a while.
        """
        objects = new_objects(name, material, form, application_information)
        if not self._peer.combines or len(objects) > 1:
            return await self.register(name, material, form, application_information=application_information), None
        try:
            identifier, got = await self._register_and_get(objects[0])
        except BaseException as failure:  # also a cancellation, because the server may hang
            if not (isinstance(failure, KeyServerFault) and failure.fault is Fault.UNREACHABLE):
                self._peer.send_apart()
            raise
        if not isinstance(got, GetResponsePayload) or _text(got.unique_identifier) != identifier:
            return (identifier,), None
        found = outcome(got)
        return (identifier,), Secret(found) if isinstance(found, bytes) else None

    async def _register_and_get(self, new: NewObject) -> tuple[str, GetResponsePayload | OperationFailed | None]:
        async def ask(
            client: Client, limit_s: float
        ) -> tuple[RegisterResponsePayload | None, GetResponsePayload | OperationFailed | None]:
            registered, got = await client.register_and_get(
                new.managed_object, new.attributes, object_type=new.object_type, timeout=limit_s
            )
            if isinstance(registered, OperationFailed):
                raise registered
            return registered, got

        registered, got = await self._line.ask(ask, changes=True)
        identifier = None if registered is None else _text(registered.unique_identifier)
        if identifier is None:  # the object may exist, but its identifier is unknown
            await self._line.close(keep=False)
            raise malformed()
        return identifier, got

    async def _register(self, new: NewObject) -> str:
        async def ask(client: Client, limit_s: float) -> str | None:
            answer = await client.register(
                new.managed_object, new.attributes, object_type=new.object_type, timeout=limit_s
            )
            return _text(answer.unique_identifier)

        identifier = await self._line.ask(ask, changes=True)
        if identifier is None:  # the object exists, but its identifier is unknown
            raise malformed()
        return identifier

    async def activate(self, unique_identifier: str) -> None:
        """Make the object Active."""

        async def ask(client: Client, limit_s: float) -> None:
            await client.activate(unique_identifier, timeout=limit_s)

        await self._line.ask(ask, changes=True)

    async def revoke(self, unique_identifier: str) -> None:
        """Deactivate the object."""

        async def ask(client: Client, limit_s: float) -> None:
            await client.revoke(unique_identifier, RevocationReasonCode.CESSATION_OF_OPERATION, timeout=limit_s)

        await self._line.ask(ask, changes=True)

    async def destroy(self, unique_identifier: str) -> None:
        """Destroy the object."""

        async def ask(client: Client, limit_s: float) -> None:
            await client.destroy(unique_identifier, timeout=limit_s)

        await self._line.ask(ask, changes=True)

    # --- reading material ---

    async def get(self, unique_identifiers: Sequence[str]) -> Secret:
        """Return the material of one key."""
        return Secret(b"".join([await self._get(identifier) for identifier in unique_identifiers]))

    async def get_many(self, wanted: Sequence[Sequence[str]]) -> list[Secret | KeyServerFault]:
        """Return the material of several keys, or the fault of each. A lost connection is the fault of all the rest."""
        identifiers = [identifier for key in wanted for identifier in key]
        found: dict[str, bytes | KeyServerFault] = {}
        for start in range(0, len(identifiers), ITEMS_PER_MESSAGE):
            batch = identifiers[start : start + ITEMS_PER_MESSAGE]
            found |= await (self._get_batch(batch) if self._peer.batches and len(batch) > 1 else self._singly(batch))
        return [joined([found[identifier] for identifier in key]) for key in wanted]

    async def _get(self, identifier: str) -> bytes:
        took_s = 0.0

        async def ask(client: Client, limit_s: float) -> GetResponsePayload:
            nonlocal took_s
            began = self._peer.clock()
            answer = await client.get(identifier, timeout=limit_s)
            took_s = self._peer.clock() - began
            return answer

        answer = await self._line.ask(ask)
        self._peer.latencies.add(took_s)
        return material_in(answer)

    async def _singly(self, identifiers: Iterable[str]) -> dict[str, bytes | KeyServerFault]:
        found: dict[str, bytes | KeyServerFault] = {}
        for identifier in identifiers:
            try:
                found[identifier] = await self._get(identifier)
            except KeyServerFault as fault:
                found[identifier] = fault
        return found

    async def _get_batch(self, identifiers: Sequence[str]) -> dict[str, bytes | KeyServerFault]:
        async def ask(client: Client, limit_s: float) -> list[GetResponsePayload | OperationFailed | None]:
            return await client.get_many(identifiers, timeout=limit_s)

        try:
            answers = await self._line.ask(ask)
        except KeyServerFault as fault:
            return await self._after_broken_batch(identifiers, fault)
        if refused_as_a_whole(answers):
            self._peer.ask_singly()
            return await self._singly(identifiers)
        found = {
            identifier: outcome(answer)
            for identifier, answer in zip(identifiers, answers, strict=True)
            if answer is not None
        }
        return found | await self._singly([identifier for identifier in identifiers if identifier not in found])

    async def _after_broken_batch(
        self, identifiers: Sequence[str], fault: KeyServerFault
    ) -> dict[str, bytes | KeyServerFault]:
        """Ask for each object alone on a new connection. If the server was silent, do not ask it again."""
        if not fault.fault.sent or fault.reason not in _BATCH_BREAKS:
            return dict.fromkeys(identifiers, fault)
        self._peer.ask_singly()
        try:
            await self._line.renew()
        except KeyServerFault as gone:
            return dict.fromkeys(identifiers, gone)
        return await self._singly(identifiers)

    # --- facts ---

    async def get_attributes(self, unique_identifier: str) -> ObjectAttributes:
        """Read Name, State and Object Type. If the server cannot select attributes, ask for all attributes."""
        try:
            return await self._facts(unique_identifier, _FACTS)
        except KeyServerFault as fault:
            if fault.fault not in {Fault.REFUSED, Fault.NOT_SUPPORTED}:
                raise
        return await self._facts(unique_identifier, ())

    async def _facts(self, unique_identifier: str, names: Sequence[str]) -> ObjectAttributes:
        async def ask(client: Client, limit_s: float) -> GetAttributesResponsePayload:
            return await client.get_attributes(unique_identifier, names, timeout=limit_s)

        answer = await self._line.ask(ask)
        known = [entry for entry in answer.all() if isinstance(entry, Attribute)]
        values = {entry.attribute_name: entry.attribute_value for entry in known}
        state, object_type = values.get("State"), values.get("Object Type")
        return ObjectAttributes(
            names=tuple(entry.attribute_value.name_value for entry in known if isinstance(entry.attribute_value, Name)),
            state=_STATES.get(state, "") if isinstance(state, int) else "",
            object_type=int(object_type) if isinstance(object_type, int) else None,
        )

    # --- finding ---

    async def locate(self, name: str) -> tuple[str, ...]:
        """Return the objects with exactly this name. Raise KeyServerFault if none is in an incomplete list."""
        identifiers, complete = await self._located([name_attribute(name)])
        found = tuple([identifier for identifier in identifiers if await self._is_named(identifier, name)])
        if not (found or complete):
            raise KeyServerFault(Fault.REFUSED, "locate_incomplete")
        return found

    async def locate_all(self) -> tuple[str, ...]:
        """Return all objects that the server names for this client."""
        identifiers, _ = await self._located([])
        return tuple(identifiers)

    async def _is_named(self, identifier: str, name: str) -> bool:
        try:
            return name in (await self.get_attributes(identifier)).names
        except KeyServerFault as fault:
            if fault.fault is Fault.NOT_FOUND:  # destroyed since Locate named it
                return False
            raise

    async def _located(self, attributes: Sequence[Attribute]) -> tuple[list[str], bool]:
        """Return the objects with these attributes, and whether the list is complete as far as can be known.

        Ask for all at once, because many servers lack Offset Items. Ask in pages only if the answer is too large.
        """
        try:
            return await self._pages(attributes, None)
        except KeyServerFault as fault:
            if fault.reason not in _TOO_LARGE:
                raise
        await self._line.renew()
        return await self._pages(attributes, self._page)

    async def _pages(self, attributes: Sequence[Attribute], size: int | None) -> tuple[list[str], bool]:
        """Ask for further pages while each page names new objects, because some servers ignore Offset Items."""
        answer = await self._locate(attributes, size, None)
        found = dict.fromkeys(map(_text, answer.unique_identifier))
        known = 0
        while (
            known < len(found) <= self._most_located
            and not _all_named(answer, len(found))
            and self._line.version >= V1_3
        ):
            known = len(found)
            try:
                answer = await self._locate(attributes, size, known)
            except KeyServerFault as fault:
                if fault.fault in {Fault.UNREACHABLE, Fault.UNANSWERED}:
                    raise
                break
            found |= dict.fromkeys(map(_text, answer.unique_identifier))
        unlimited = size is None and answer.located_items is None
        return _texts(found), unlimited or not found or _all_named(answer, len(found))

    async def _locate(
        self, attributes: Sequence[Attribute], size: int | None, offset: int | None
    ) -> LocateResponsePayload:
        async def ask(client: Client, limit_s: float) -> LocateResponsePayload:
            return await client.locate(attributes, maximum_items=size, offset_items=offset, timeout=limit_s)

        return await self._line.ask(ask)


_TOO_LARGE: Final = frozenset({"answer_too_large", "response_too_large"})
"""Reasons of an answer that is too large: the first is ours, the second is the server's."""

_BATCH_BREAKS: Final = frozenset({"connection_closed", "malformed_answer", "answer_too_large"})
"""Reasons with which a server may fail on a batch that it does not support."""


def _all_named(answer: LocateResponsePayload, count: int) -> bool:
    """Return True if the server says that it has no more than ``count`` objects. False if it does not say."""
    return answer.located_items is not None and answer.located_items <= count


def _text(identifier: object) -> str | None:
    """Return a Unique Identifier, or None if it is of another type (KMIP 2.x), which we never ask for."""
    return identifier if isinstance(identifier, str) else None


def _texts(identifiers: Iterable[str | None]) -> list[str]:
    texts = [identifier for identifier in identifiers if identifier is not None]
    if not all(identifier is not None for identifier in identifiers):
        raise unusable("identifier")
    return texts
