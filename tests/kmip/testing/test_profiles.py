"""Kinds of key servers: what is peculiar about each is seen by a client, and everything else still works."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.messages.attributes import (
    ApplicationSpecificInformation,
    RevocationReason,
    TemplateAttribute,
    attribute,
    name_attribute,
)
from keystead.kmip.messages.headers import ProtocolVersion, RequestHeader
from keystead.kmip.messages.messages import (
    OPERATIONS,
    RequestBatchItem,
    RequestMessage,
    ResponseBatchItem,
    encode_response,
)
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData, raw_key
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload
from keystead.kmip.messages.payloads.add_attribute import AddAttributeRequestPayload
from keystead.kmip.messages.payloads.destroy import DestroyRequestPayload
from keystead.kmip.messages.payloads.get import GetRequestPayload
from keystead.kmip.messages.payloads.get_attributes import GetAttributesRequestPayload
from keystead.kmip.messages.payloads.locate import LocateRequestPayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload
from keystead.kmip.messages.payloads.register import RegisterRequestPayload
from keystead.kmip.messages.payloads.revoke import RevokeRequestPayload
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.ttlv import enums
from keystead.kmip.ttlv.enums import ObjectType, Operation, QueryFunction, ResultReason, ResultStatus, State
from keystead.kmip.ttlv.versions import V1_4, V2_0

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = SecretData(enums.SecretDataType.SEED, KeyBlock(enums.KeyFormatType.RAW, key_value=KeyValue(bytes(range(64)))))
AES = raw_key(bytes(64), enums.CryptographicAlgorithm.AES)
APPLICATION = attribute("Application Specific Information", ApplicationSpecificInformation("keystead", "1"))
MASK = attribute("Cryptographic Usage Mask", 12)
CESSATION = RevocationReason(enums.RevocationReasonCode.CESSATION_OF_OPERATION)


class Client:
    """Calls without a network, by one client of a server."""

    def __init__(self, server: Responder, common_name: str = "keystead") -> None:
        self.server = server
        self.common_name = common_name

    def send(self, *payloads: Any) -> list[ResponseBatchItem]:
        """Send a batch; the answer can be encoded."""
        items = tuple(
            RequestBatchItem(OPERATIONS[type(payload)], unique_batch_item_id=bytes([number]), request_payload=payload)
            for number, payload in enumerate(payloads)
        )
        header = RequestHeader(ProtocolVersion(*V1_4), batch_count=len(items))
        response = self.server.respond(RequestMessage(header, items), self.common_name)
        encode_response(response)
        return list(response.batch_item)

    def ask(self, payload: Any) -> Any:
        """Return the response payload, or the Result Reason."""
        (item,) = self.send(payload)
        return item.response_payload if item.result_status == ResultStatus.SUCCESS else item.result_reason

    def register(self, name: str = "a", *attributes: Any) -> Any:
        """Register a seed; its identifier, or the Result Reason."""
        template = TemplateAttribute(attribute=(name_attribute(name), *attributes))
        answer = self.ask(RegisterRequestPayload(ObjectType.SECRET_DATA, template, managed_object=SEED))
        return getattr(answer, "unique_identifier", answer)

    def locate(self, *attributes: Any, maximum_items: int | None = None, offset_items: int | None = None) -> Any:
        """Return the identifiers found, or the Result Reason."""
        answer = self.ask(LocateRequestPayload(maximum_items, offset_items, attribute=attributes))
        return getattr(answer, "unique_identifier", answer)

    def destroy(self, identifier: str) -> Any:
        """``None``, or the Result Reason."""
        answer = self.ask(DestroyRequestPayload(identifier))
        return None if getattr(answer, "unique_identifier", None) == identifier else answer

    def state(self, identifier: str) -> Any:
        """Return what the State attribute says (no value, or one), or the Result Reason."""
        answer = self.ask(GetAttributesRequestPayload(identifier, ("State",)))
        return answer if isinstance(answer, int) else [entry.attribute_value for entry in answer.all()]


def plain(client: Client) -> None:
    first, second = client.register(), client.register()
    assert client.locate(name_attribute("a")) == (first, second)
    assert client.locate(APPLICATION) == ()
    third = client.register("b", APPLICATION, MASK)
    assert client.locate(APPLICATION) == (third,)
    assert client.locate(attribute("Object Type", ObjectType.SECRET_DATA)) == (first, second, third)
    assert client.locate(maximum_items=1, offset_items=1) == (second,)
    assert client.ask(GetRequestPayload(third)).managed_object == SEED
    client.ask(ActivateRequestPayload(first))
    assert client.destroy(first) == ResultReason.ILLEGAL_OPERATION
    client.ask(RevokeRequestPayload(first, revocation_reason=CESSATION))
    assert client.destroy(first) is None
    assert client.ask(GetRequestPayload(first)) == ResultReason.ITEM_NOT_FOUND


def unique_names(client: Client) -> None:
    identifier = client.register()
    assert client.register() == ResultReason.INVALID_FIELD
    other = client.register("b")
    taken = AddAttributeRequestPayload(other, name_attribute("a"))
    assert client.ask(taken) == ResultReason.INVALID_FIELD
    assert client.locate(name_attribute("a")) == (identifier,)
    client.destroy(identifier)
    assert client.ask(taken).unique_identifier == other


def names_stay_taken(client: Client) -> None:
    client.destroy(client.register())
    assert client.locate(name_attribute("a")) == ()
    assert client.register() == ResultReason.INVALID_FIELD


def _destroyed(client: Client, located: int) -> None:
    compromised, identifier = client.register("b"), client.register()
    key_compromise = RevocationReason(enums.RevocationReasonCode.KEY_COMPROMISE)
    client.ask(RevokeRequestPayload(compromised, revocation_reason=key_compromise))
    assert client.destroy(identifier) is None
    assert client.destroy(compromised) is None
    assert client.state(identifier) == [State.DESTROYED]
    assert client.state(compromised) == [State.DESTROYED_COMPROMISED]
    for late in (GetRequestPayload, ActivateRequestPayload, DestroyRequestPayload):
        assert client.ask(late(identifier)) == ResultReason.PERMISSION_DENIED
    assert len(client.locate(name_attribute("a"))) == located
    assert isinstance(client.register(), str)


def locate_returns_everything(client: Client) -> None:
    everything = client.register("a"), client.register("b")
    assert client.locate(name_attribute("a")) == everything
    assert client.locate(name_attribute("a"), maximum_items=1) == everything[:1]


def pages_of_two(client: Client) -> None:
    everything = [client.register(), client.register(), client.register()]
    assert [*client.locate(), *client.locate(offset_items=2, maximum_items=10)] == everything
    assert len(client.locate()) == 2


def no_offset_items(client: Client) -> None:
    client.register()
    assert client.locate(offset_items=0) == ResultReason.INVALID_FIELD
    assert len(client.locate(maximum_items=5)) == 1


def offset_items_ignored(client: Client) -> None:
    identifiers = client.register(), client.register()
    assert client.locate(offset_items=1) == identifiers


def _application(client: Client, reason: ResultReason) -> None:
    assert client.register("a", APPLICATION) == reason
    assert client.locate(APPLICATION) == reason
    identifier = client.register()
    assert client.ask(AddAttributeRequestPayload(identifier, APPLICATION)) == reason
    assert client.locate() == (identifier,)


def application_dropped(client: Client) -> None:
    identifier = client.register("a", APPLICATION)
    assert client.locate(APPLICATION) == ()
    assert client.locate() == (identifier,)


def destroy_of_active_denied(client: Client) -> None:
    identifier = client.register()
    client.ask(ActivateRequestPayload(identifier))
    assert client.destroy(identifier) == ResultReason.PERMISSION_DENIED
    assert client.state(identifier) == [State.ACTIVE]


def destroy_of_active_allowed(client: Client) -> None:
    identifier = client.register()
    client.ask(ActivateRequestPayload(identifier))
    assert client.destroy(identifier) is None


def usage_mask(client: Client) -> None:
    export = attribute("Cryptographic Usage Mask", enums.CryptographicUsageMask.EXPORT)
    assert client.register("a", export) == ResultReason.INVALID_FIELD
    assert isinstance(client.register("a", MASK), str)


def usage_mask_required(client: Client) -> None:
    assert client.register() == ResultReason.INVALID_MESSAGE
    assert isinstance(client.register("a", MASK), str)


def no_batches(client: Client) -> None:
    identifier = client.register()
    items = client.send(GetRequestPayload(identifier), GetRequestPayload(identifier))
    assert [(item.operation, item.result_reason) for item in items] == [(None, ResultReason.INVALID_MESSAGE)]
    assert client.ask(GetRequestPayload(identifier)).managed_object == SEED


def symmetric_keys_only(client: Client) -> None:
    assert client.register() == ResultReason.INVALID_FIELD
    answer = client.ask(RegisterRequestPayload(ObjectType.SYMMETRIC_KEY, managed_object=AES))
    assert client.ask(GetRequestPayload(answer.unique_identifier)).managed_object == AES
    asked = QueryRequestPayload((QueryFunction.QUERY_OBJECTS,))
    assert client.ask(asked).object_type == (ObjectType.SYMMETRIC_KEY,)


def _without_states(client: Client, states: list[State]) -> None:
    identifier = client.register()
    assert client.ask(ActivateRequestPayload(identifier)) == ResultReason.OPERATION_NOT_SUPPORTED
    assert client.state(identifier) == states
    operations = client.ask(QueryRequestPayload((QueryFunction.QUERY_OPERATIONS,))).operation
    assert Operation.REVOKE not in operations
    assert client.destroy(identifier) is None


def query_denied(client: Client) -> None:
    assert client.ask(QueryRequestPayload()) == ResultReason.PERMISSION_DENIED


def no_query(client: Client) -> None:
    assert client.ask(QueryRequestPayload()) == ResultReason.OPERATION_NOT_SUPPORTED


def _ownership(client: Client, reason: ResultReason) -> None:
    identifier, other = client.register(), Client(client.server, "other")
    for payload in (GetRequestPayload, GetAttributesRequestPayload, ActivateRequestPayload, DestroyRequestPayload):
        assert other.ask(payload(identifier)) == reason
    assert other.locate() == ()
    assert client.locate() == (identifier,)
    assert Client(client.server).ask(GetRequestPayload(identifier)).managed_object == SEED


PECULIAR: dict[str, Callable[[Client], None]] = {
    "plain": plain,
    "unique names": unique_names,
    "names stay taken": names_stay_taken,
    "destroyed objects are kept": lambda client: _destroyed(client, 1),
    "destroyed objects are kept and not located": lambda client: _destroyed(client, 0),
    "locate returns everything": locate_returns_everything,
    "pages of two": pages_of_two,
    "no offset items": no_offset_items,
    "offset items ignored": offset_items_ignored,
    "application specific information is an invalid field": lambda client: _application(
        client, ResultReason.INVALID_FIELD
    ),
    "application specific information is not supported": lambda client: _application(
        client, ResultReason.FEATURE_NOT_SUPPORTED
    ),
    "application specific information is dropped": application_dropped,
    "destroy of active is permission denied": destroy_of_active_denied,
    "destroy of active is allowed": destroy_of_active_allowed,
    "usage mask encrypt and decrypt only": usage_mask,
    "usage mask required": usage_mask_required,
    "no batches": no_batches,
    "symmetric keys only": symmetric_keys_only,
    "no states": lambda client: _without_states(client, []),
    "active at once": lambda client: _without_states(client, [State.ACTIVE]),
    "query denied": query_denied,
    "no query": no_query,
    "objects belong to their certificate": lambda client: _ownership(client, ResultReason.ITEM_NOT_FOUND),
    "others' objects are permission denied": lambda client: _ownership(client, ResultReason.PERMISSION_DENIED),
}


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_peculiar(name: str) -> None:
    """A server with a profile shows the peculiarity of this profile."""
    check_peculiarity = PECULIAR[name]
    check_peculiarity(Client(Responder(profile=PROFILES[name])))


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "plain"])
def test_the_plain_server_lacks_it(name: str) -> None:
    """The check of a peculiarity fails on the plain server."""
    with pytest.raises(AssertionError):
        PECULIAR[name](Client(Responder()))


def test_a_name_in_2_x() -> None:
    """In 2.x a Name that is taken has a Result Reason of its own."""
    server = Responder(profile=PROFILES["unique names"])
    template = TemplateAttribute(attribute=(name_attribute("a"),))
    item = RequestBatchItem(
        Operation.REGISTER,
        request_payload=RegisterRequestPayload(ObjectType.SECRET_DATA, template, managed_object=SEED),
    )
    header = RequestHeader(ProtocolVersion(*V2_0), batch_count=1)
    reasons = [server.respond(RequestMessage(header, (item,))).batch_item[0].result_reason for _ in range(2)]
    assert reasons == [None, ResultReason.NON_UNIQUE_NAME_ATTRIBUTE]


def test_a_profile_changes_as_a_whole() -> None:
    """A profile is a value; a running server that is given another has it from the next request on."""
    with pytest.raises(FrozenInstanceError):
        PLAIN.unique_names = True  # type: ignore[misc]
    client = Client(Responder())
    client.register()
    client.server.profile = PROFILES["unique names"]
    assert client.register() == ResultReason.INVALID_FIELD
