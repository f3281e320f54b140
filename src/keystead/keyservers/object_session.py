"""Operations on the objects of one key server, in the words of the service: material in, material out, facts, faults.

Nothing of a server's is believed: what Locate names is checked by its attributes, pages are counted, batches that go
wrong are asked for one by one. Whether material is the right one is the caller's to find out.
KMIP 1.4 section 4, KMIP 2.1 section 6.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from keystead.core.secret import Secret
from keystead.keyservers.forms import material_of, new_objects
from keystead.keyservers.learned import clean
from keystead.keyservers.objects_faults import fault_of, malformed, unusable
from keystead.keyservers.quirks import find_quirks
from keystead.kmip.messages.attributes import Attribute, Name, name_attribute
from keystead.kmip.payloads.get import GetResponsePayload
from keystead.kmip.ttlv.enums import QueryFunction, RevocationReasonCode, State
from keystead.kmip.ttlv.errors import OperationFailed
from keystead.kmip.ttlv.versions import V1_3
from keystead.service.ports.objects import Capabilities, Fault, KeyServerFault, ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.keys.model import KeyForm
    from keystead.keyservers.forms import NewObject
    from keystead.keyservers.lines import Line, Peer
    from keystead.kmip.client.client import Client
    from keystead.kmip.payloads.get_attributes import GetAttributesResponsePayload
    from keystead.kmip.payloads.locate import LocateResponsePayload
    from keystead.kmip.payloads.query import QueryResponsePayload
    from keystead.kmip.payloads.register import RegisterResponsePayload
    from keystead.service.ports.objects import Quirks

ITEMS_PER_MESSAGE: Final = 32
"""Objects asked for in one message."""

PAGE: Final = 10_000
"""Objects asked for in one Locate when all of them are too many: half of what a message of 1 MiB takes."""

LOCATED: Final = 1_000_000
"""Objects that a server may name; what goes on is no key server."""

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

_OF_AN_OBJECT: Final = frozenset({Fault.NOT_FOUND, Fault.DENIED, Fault.WRONG_STATE})
"""Faults that are about the object asked for. Any other that all of a batch share may be about the batch."""


class Session:
    """Implements :class:`keystead.service.ports.keys.ObjectSession`. Each message has the session's time limit."""

    def __init__(self, peer: Peer, line: Line) -> None:
        self._peer = peer
        self._line = line

    async def get_capabilities(self) -> Capabilities:
        """Ask what the server is; empty where it does not say."""

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
        """Find out with an object that is there, under this name."""
        return await find_quirks(self._line, name, unique_identifier)

    # --- writing: each of these is sent once ---

    async def register(
        self, name: str, material: Secret, form: KeyForm, *, application_information: str | None
    ) -> tuple[str, ...]:
        """Register what keeps the key. When only the first of a pair is there, the fault is ``unanswered``."""
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
        """Register and read back in one message, where it is one object and the server did well with that so far.

        What comes back counts only if the server says that it is of the object that it has just registered. Register is
        sent once, however the message fails; a server with which it fails is not sent both together for a while.
        """
        objects = new_objects(name, material, form, application_information)
        if not self._peer.combines or len(objects) > 1:
            return await self.register(name, material, form, application_information=application_information), None
        try:
            identifier, got = await self._register_and_get(objects[0])
        except BaseException as failure:  # a cancellation, too: the server may have hung
            if not (isinstance(failure, KeyServerFault) and failure.fault is Fault.UNREACHABLE):
                self._peer.send_apart()
            raise
        if not isinstance(got, GetResponsePayload) or _text(got.unique_identifier) != identifier:
            return (identifier,), None
        found = _outcome(got)
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
        if identifier is None:  # it may be there, and nobody can say where
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
        if identifier is None:  # it is there, and nobody can say where
            raise malformed()
        return identifier

    async def activate(self, unique_identifier: str) -> None:
        """Make it Active."""

        async def ask(client: Client, limit_s: float) -> None:
            await client.activate(unique_identifier, timeout=limit_s)

        await self._line.ask(ask, changes=True)

    async def revoke(self, unique_identifier: str) -> None:
        """Deactivate it."""

        async def ask(client: Client, limit_s: float) -> None:
            await client.revoke(unique_identifier, RevocationReasonCode.CESSATION_OF_OPERATION, timeout=limit_s)

        await self._line.ask(ask, changes=True)

    async def destroy(self, unique_identifier: str) -> None:
        """Destroy it."""

        async def ask(client: Client, limit_s: float) -> None:
            await client.destroy(unique_identifier, timeout=limit_s)

        await self._line.ask(ask, changes=True)

    # --- reading material ---

    async def get(self, unique_identifiers: Sequence[str]) -> Secret:
        """Return the material of one key."""
        return Secret(b"".join([await self._get(identifier) for identifier in unique_identifiers]))

    async def get_many(self, wanted: Sequence[Sequence[str]]) -> list[Secret | KeyServerFault]:
        """Return the material of several keys, each or why not. A lost connection is the fault of all that is left."""
        identifiers = [identifier for key in wanted for identifier in key]
        found: dict[str, bytes | KeyServerFault] = {}
        for start in range(0, len(identifiers), ITEMS_PER_MESSAGE):
            batch = identifiers[start : start + ITEMS_PER_MESSAGE]
            found |= await (self._get_batch(batch) if self._peer.batches and len(batch) > 1 else self._singly(batch))
        return [_joined([found[identifier] for identifier in key]) for key in wanted]

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
        return _material(answer)

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
        if _refused_as_a_whole(answers):
            self._peer.ask_singly()
            return await self._singly(identifiers)
        found = {
            identifier: _outcome(answer)
            for identifier, answer in zip(identifiers, answers, strict=True)
            if answer is not None
        }
        return found | await self._singly([identifier for identifier in identifiers if identifier not in found])

    async def _after_broken_batch(
        self, identifiers: Sequence[str], fault: KeyServerFault
    ) -> dict[str, bytes | KeyServerFault]:
        """Ask singly, on a new connection, a server that closed or said nonsense; one that is silent is not asked."""
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
        """Read Name, State and Object Type; a server that cannot pick attributes is asked for all of them."""
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
        """Return the objects with exactly this name. A list that is known to be cut short and lacks it is a fault."""
        identifiers, complete = await self._located([name_attribute(name)])
        found = tuple([identifier for identifier in identifiers if await self._is_named(identifier, name)])
        if not (found or complete):
            raise KeyServerFault(Fault.REFUSED, "locate_incomplete")
        return found

    async def locate_all(self) -> tuple[str, ...]:
        """Return all objects that this client sees and the server can be brought to name."""
        identifiers, _ = await self._located([])
        return tuple(identifiers)

    async def _is_named(self, identifier: str, name: str) -> bool:
        try:
            return name in (await self.get_attributes(identifier)).names
        except KeyServerFault as fault:
            if fault.fault is Fault.NOT_FOUND:  # destroyed meanwhile, or by then
                return False
            raise

    async def _located(self, attributes: Sequence[Attribute]) -> tuple[list[str], bool]:
        """Return the objects with these attributes, and whether those are all as far as can be known.

        All are asked for at once, as Offset Items is what servers do not have, and in pages when that is too much.
        """
        try:
            return await self._pages(attributes, None)
        except KeyServerFault as fault:
            if fault.reason not in _TOO_LARGE:
                raise
        await self._line.renew()
        return await self._pages(attributes, PAGE)

    async def _pages(self, attributes: Sequence[Attribute], size: int | None) -> tuple[list[str], bool]:
        """Ask for further pages while each brings something new: there are servers that ignore Offset Items."""
        answer = await self._locate(attributes, size, None)
        found = dict.fromkeys(map(_text, answer.unique_identifier))
        known = 0
        while known < len(found) <= LOCATED and not _all_named(answer, len(found)) and self._line.version >= V1_3:
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
"""Said by us of an answer, or by the server of what would be one."""

_BATCH_BREAKS: Final = frozenset({"connection_closed", "malformed_answer", "answer_too_large"})
"""How a server may take a batch that it does not like."""


def _all_named(answer: LocateResponsePayload, count: int) -> bool:
    """Whether so many objects are all that there are. A server that does not say so is asked again."""
    return answer.located_items is not None and answer.located_items <= count


def _text(identifier: object) -> str | None:
    """A Unique Identifier; None for one of another type (KMIP 2.x), which we never ask for."""
    return identifier if isinstance(identifier, str) else None


def _texts(identifiers: Iterable[str | None]) -> list[str]:
    texts = [identifier for identifier in identifiers if identifier is not None]
    if not all(identifier is not None for identifier in identifiers):
        raise unusable("identifier")
    return texts


def _material(answer: GetResponsePayload) -> bytes:
    material = material_of(answer.managed_object)
    if material is None:
        raise unusable("material")
    return material


def _outcome(answer: GetResponsePayload | OperationFailed) -> bytes | KeyServerFault:
    if isinstance(answer, OperationFailed):
        return fault_of(answer)
    try:
        return _material(answer)
    except KeyServerFault as fault:
        return fault


def _joined(parts: Sequence[bytes | KeyServerFault]) -> Secret | KeyServerFault:
    failed = next((part for part in parts if isinstance(part, KeyServerFault)), None)
    return failed or Secret(b"".join(cast("Sequence[bytes]", parts)))


def _refused_as_a_whole(answers: Sequence[GetResponsePayload | OperationFailed | None]) -> bool:
    """Whether all failed alike, for a reason that is not the objects'."""
    failures = [answer for answer in answers if isinstance(answer, OperationFailed)]
    alike = len({(failure.status, failure.reason) for failure in failures}) == 1
    return len(failures) == len(answers) and alike and fault_of(failures[0]).fault not in _OF_AN_OBJECT
