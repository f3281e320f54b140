"""Learn what a key server answers to questions that servers answer differently.

The questions are about names in Locate, Offset Items and batches. They need one object that is on the server. They
change nothing. KMIP 1.4 sections 4.9 and 6.13 to 6.15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import name_attribute
from keystead.kmip.messages.payloads.get import GetResponsePayload
from keystead.kmip.ttlv.versions import V1_3
from keystead.service.ports.objects import KeyServerFault, Quirks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.keyservers.lines import Line
    from keystead.kmip.client.client import Client
    from keystead.kmip.messages.attributes import Attribute
    from keystead.kmip.messages.payloads.locate import LocateResponsePayload
    from keystead.kmip.ttlv.errors import OperationFailed


async def find_quirks(line: Line, name: str, unique_identifier: str) -> Quirks:
    """Learn the quirks of the server, with the object of this name. Raises KeyServerFault when there is no answer."""
    return Quirks(
        locate_by_name=await _finds_by_name(line, name, unique_identifier),
        locate_offset=await _obeys_offset_items(line),
        batches=await _answers_batches(line, unique_identifier),
    )


async def _finds_by_name(line: Line, name: str, unique_identifier: str) -> bool:
    """Return True if Locate finds the object by its name, and does not find it by a name that it does not have."""
    found = await _located(line, [name_attribute(name)])
    others = await _located(line, [name_attribute(f"{name}-0")])
    return found is not None and others is not None and unique_identifier in found and unique_identifier not in others


async def _obeys_offset_items(line: Line) -> bool:
    """Return True if the server obeys Offset Items: Locate with offset 1 must answer differently from Locate."""
    if line.version < V1_3:
        return False
    first = await _located(line, maximum=1)
    second = await _located(line, maximum=1, offset=1)
    return first is not None and second is not None and first != second


async def _located(
    line: Line, attributes: Sequence[Attribute] = (), maximum: int | None = None, offset: int | None = None
) -> tuple[object, ...] | None:
    """Return the identifiers that Locate answers with. Return None if the server refuses the question."""

    async def ask(client: Client, limit_s: float) -> LocateResponsePayload:
        return await client.locate(attributes, maximum_items=maximum, offset_items=offset, timeout=limit_s)

    try:
        return tuple((await line.ask(ask)).unique_identifier)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return None


async def _answers_batches(line: Line, unique_identifier: str) -> bool:
    """Return True if the server answers two Gets in one message.

    This question comes last because a server may close the connection or hang.
    """

    async def ask(client: Client, limit_s: float) -> list[GetResponsePayload | OperationFailed | None]:
        return await client.get_many([unique_identifier] * 2, timeout=limit_s)

    try:
        answers = await line.ask(ask)
    except KeyServerFault:
        return False
    return all(isinstance(answer, GetResponsePayload) for answer in answers)
