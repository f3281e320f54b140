"""Answers of the test server, without a network."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.kmip.messages.attributes import (
    Attribute,
    Attributes,
    RevocationReason,
    TemplateAttribute,
    attribute,
    name_attribute,
)
from keystead.kmip.messages.headers import Authentication, Credential, Device, ProtocolVersion, RequestHeader
from keystead.kmip.messages.messages import (
    OPERATIONS,
    RequestBatchItem,
    RequestMessage,
    ResponseBatchItem,
    encode_response,
)
from keystead.kmip.messages.objects import (
    Certificate,
    EncryptionKeyInformation,
    KeyWrappingSpecification,
    raw_key,
)
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload
from keystead.kmip.messages.payloads.add_attribute import AddAttributeRequestPayload
from keystead.kmip.messages.payloads.create import CreateRequestPayload
from keystead.kmip.messages.payloads.destroy import DestroyRequestPayload
from keystead.kmip.messages.payloads.discover_versions import DiscoverVersionsRequestPayload
from keystead.kmip.messages.payloads.get import GetRequestPayload
from keystead.kmip.messages.payloads.get_attribute_list import GetAttributeListRequestPayload
from keystead.kmip.messages.payloads.get_attributes import GetAttributesRequestPayload
from keystead.kmip.messages.payloads.locate import LocateRequestPayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload
from keystead.kmip.messages.payloads.register import RegisterRequestPayload
from keystead.kmip.messages.payloads.revoke import RevokeRequestPayload
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.enums import ObjectType, Operation, ResultReason, ResultStatus, RevocationReasonCode
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_0, V1_4, V2_0, Version

AES = TemplateAttribute(
    attribute=(
        attribute("Cryptographic Algorithm", enums.CryptographicAlgorithm.AES),
        attribute("Cryptographic Length", 128),
        name_attribute("disk-1"),
    )
)
CREATE = CreateRequestPayload(ObjectType.SYMMETRIC_KEY, AES)


def ask(server: Responder, *payloads: Any, version: Version = V1_4) -> list[ResponseBatchItem]:
    """Return the items of the answer to a batch; the answer can be encoded."""
    items = tuple(
        RequestBatchItem(OPERATIONS[type(payload)], unique_batch_item_id=bytes([number]), request_payload=payload)
        for number, payload in enumerate(payloads)
    )
    header = RequestHeader(ProtocolVersion(*version), batch_count=len(items))
    response = server.respond(RequestMessage(header, items))
    encode_response(response)
    assert response.response_header.batch_count == len(response.batch_item)
    return list(response.batch_item)


def refusal(server: Responder, payload: Any, version: Version = V1_4) -> int | None:
    """Return the reason for which a request is refused."""
    (item,) = ask(server, payload, version=version)
    assert item.result_status == ResultStatus.OPERATION_FAILED
    return item.result_reason


def create(server: Responder) -> str:
    """Return the identifier of a new key."""
    return str(ask(server, CREATE)[0].response_payload.unique_identifier)


def test_a_batch_shares_the_id_placeholder() -> None:
    """Operations without an identifier mean the object that the batch made or found."""
    server = Responder()
    items = ask(server, CREATE, ActivateRequestPayload(), GetRequestPayload())
    assert [item.result_status for item in items] == [ResultStatus.SUCCESS] * 3
    found = ask(server, LocateRequestPayload(attribute=(name_attribute("disk-1"),)), GetRequestPayload())
    assert found[1].response_payload == items[2].response_payload


def test_a_batch_stops_at_the_first_failure() -> None:
    """The failed item is the last that is answered."""
    items = ask(Responder(), GetRequestPayload("none"), CREATE)
    assert [item.result_reason for item in items] == [ResultReason.ITEM_NOT_FOUND]
    assert items[0].unique_batch_item_id == b"\0"


def test_locate() -> None:
    """Objects are found by all attributes asked for, in pages; several leave the ID Placeholder empty."""
    server = Responder()
    identifiers = [create(server) for _ in range(3)]
    everything = ask(server, LocateRequestPayload(), GetRequestPayload())
    assert everything[0].response_payload.unique_identifier == tuple(identifiers)
    assert everything[1].result_reason == ResultReason.ITEM_NOT_FOUND
    page = ask(server, LocateRequestPayload(1, 1))[0]
    assert page.response_payload.unique_identifier == (identifiers[1],)
    nothing = LocateRequestPayload(attribute=(name_attribute("disk-1"), attribute("State", enums.State.ACTIVE)))
    assert ask(server, nothing)[0].response_payload.unique_identifier == ()


def test_life_cycle() -> None:
    """States change as KMIP 1.4 section 3.22 says, and only so."""
    server = Responder()
    key = create(server)
    end = RevokeRequestPayload(key, revocation_reason=RevocationReason(RevocationReasonCode.CESSATION_OF_OPERATION))
    assert refusal(server, end) == ResultReason.ILLEGAL_OPERATION
    ask(server, ActivateRequestPayload(key))
    assert refusal(server, ActivateRequestPayload(key)) == ResultReason.ILLEGAL_OPERATION
    assert refusal(server, DestroyRequestPayload(key)) == ResultReason.ILLEGAL_OPERATION
    ask(server, end)
    assert server.objects[key].state == enums.State.DEACTIVATED
    compromise = RevokeRequestPayload(key, revocation_reason=RevocationReason(RevocationReasonCode.KEY_COMPROMISE))
    ask(server, compromise)
    assert server.objects[key].state == enums.State.COMPROMISED
    ask(server, DestroyRequestPayload(key))
    assert server.objects == {}


def test_register_reads_attributes_off_the_object() -> None:
    """A key tells its algorithm and length; attributes given explicitly win; a certificate has neither."""
    server = Responder()
    key = raw_key(bytes(16), enums.CryptographicAlgorithm.AES)
    given = TemplateAttribute(attribute=(attribute("Cryptographic Length", 127),))
    ask(server, RegisterRequestPayload(ObjectType.SYMMETRIC_KEY, given, managed_object=key))
    certificate = Certificate(enums.CertificateType.X_509, b"DER")
    ask(server, RegisterRequestPayload(ObjectType.CERTIFICATE, managed_object=certificate))
    first, second = server.objects.values()
    assert first.has(attribute("Cryptographic Length", 127))
    assert not first.has(attribute("Cryptographic Length", 128))
    assert first.has(attribute("Cryptographic Algorithm", enums.CryptographicAlgorithm.AES))
    assert not any(entry.attribute_name.startswith("Crypt") for entry in second.attributes)
    assert "key_block" not in repr(first)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (CreateRequestPayload(ObjectType.SYMMETRIC_KEY), ResultReason.INVALID_FIELD),
        (RegisterRequestPayload(ObjectType.SYMMETRIC_KEY), ResultReason.MISSING_DATA),
        (GetRequestPayload(), ResultReason.ITEM_NOT_FOUND),
        (GetRequestPayload(Item(tags.UNIQUE_IDENTIFIER, ItemType.INTEGER, 1)), ResultReason.ITEM_NOT_FOUND),
        (AddAttributeRequestPayload("none"), ResultReason.ITEM_NOT_FOUND),
    ],
)
def test_requests_that_are_refused(payload: Any, reason: ResultReason) -> None:
    """Each wrong request has its Result Reason."""
    assert refusal(Responder(), payload) == reason


def test_refusals_about_an_object() -> None:
    """Wrapping, another format, and no attribute at all are refused."""
    server = Responder()
    key = create(server)
    wrapping = KeyWrappingSpecification(enums.WrappingMethod.ENCRYPT, EncryptionKeyInformation("7"))
    wrapped = GetRequestPayload(key, key_wrapping_specification=wrapping)
    assert refusal(server, wrapped) == ResultReason.FEATURE_NOT_SUPPORTED
    other = GetRequestPayload(key, enums.KeyFormatType.PKCS_8)
    assert refusal(server, other) == ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED
    assert refusal(server, AddAttributeRequestPayload(key)) == ResultReason.INVALID_FIELD
    certificate = RegisterRequestPayload(
        ObjectType.CERTIFICATE, managed_object=Certificate(enums.CertificateType.X_509, b"DER")
    )
    found = ask(server, certificate)[0].response_payload.unique_identifier
    assert refusal(server, GetRequestPayload(found, enums.KeyFormatType.RAW)) is not None


def test_scripted_refusals() -> None:
    """An operation in ``refusals`` fails with the reason given, one that nobody knows is not supported."""
    server = Responder()
    server.refusals[Operation.QUERY] = ResultReason.PERMISSION_DENIED
    assert refusal(server, QueryRequestPayload()) == ResultReason.PERMISSION_DENIED
    unknown = RequestBatchItem(0x1F, request_payload=Item(tags.REQUEST_PAYLOAD, ItemType.STRUCTURE, ()))
    answer = server.respond(RequestMessage(RequestHeader(ProtocolVersion(1, 4), batch_count=1), (unknown,)))
    assert answer.batch_item[0].result_reason == ResultReason.OPERATION_NOT_SUPPORTED


def test_versions() -> None:
    """Of the versions asked for it names its own, in its order; a 1.0 server has no such operation."""
    server = Responder([V2_0, V1_4])
    asked = DiscoverVersionsRequestPayload((ProtocolVersion(1, 4), ProtocolVersion(1, 3)))
    assert ask(server, asked)[0].response_payload.protocol_version == (ProtocolVersion(1, 4),)
    everything = ask(server, DiscoverVersionsRequestPayload())[0].response_payload
    assert everything.protocol_version == (ProtocolVersion(2, 0), ProtocolVersion(1, 4))
    old = Responder([V1_0])
    assert refusal(old, asked, V1_0) == ResultReason.OPERATION_NOT_SUPPORTED
    assert (
        Operation.DISCOVER_VERSIONS
        not in ask(old, QueryRequestPayload((enums.QueryFunction.QUERY_OPERATIONS,)), version=V1_0)[
            0
        ].response_payload.operation
    )


def test_a_version_that_it_does_not_speak() -> None:
    """The whole message is refused as invalid, in the server's own version."""
    header = RequestHeader(ProtocolVersion(2, 1), batch_count=1)
    item = RequestBatchItem(Operation.QUERY, request_payload=QueryRequestPayload())
    answer = Responder([V1_0]).respond(RequestMessage(header, (item,)))
    assert answer.response_header.protocol_version == ProtocolVersion(1, 0)
    assert answer.batch_item[0].operation is None
    assert answer.batch_item[0].result_reason == ResultReason.INVALID_MESSAGE


def test_a_user_must_be_known() -> None:
    """A device credential does not count as a user."""
    device = Credential(enums.CredentialType.DEVICE, Device("serial"))
    header = RequestHeader(ProtocolVersion(1, 4), authentication=Authentication((device,)), batch_count=1)
    item = RequestBatchItem(Operation.QUERY, request_payload=QueryRequestPayload())
    answer = Responder(users={"Fred": "hunter2"}).respond(RequestMessage(header, (item,)))
    assert answer.batch_item[0].result_reason == ResultReason.AUTHENTICATION_NOT_SUCCESSFUL


def test_custom_attributes_stay_out_of_2_x() -> None:
    """A custom attribute set in 1.x is shown in 1.x; in 2.x those that have a tag are."""
    server = Responder(clock=lambda: 5.0)
    key = create(server)
    custom = Attribute("x-ID", attribute_value=Item(tags.ATTRIBUTE_VALUE, ItemType.TEXT_STRING, "a"))
    ask(server, AddAttributeRequestPayload(key, custom))
    assert custom in ask(server, GetAttributesRequestPayload(key))[0].response_payload.all()
    assert "x-ID" in ask(server, GetAttributeListRequestPayload(key))[0].response_payload.names()
    newer = ask(server, GetAttributesRequestPayload(key), version=V2_0)[0].response_payload.all()
    assert attribute("Initial Date", 5) in newer
    assert custom not in newer
    assert "x-ID" not in ask(server, GetAttributeListRequestPayload(key), version=V2_0)[0].response_payload.names()
    added = AddAttributeRequestPayload(key, new_attribute=Attributes((attribute("Comment", "a"),)))
    ask(server, added, version=V2_0)
    assert server.objects[key].has(attribute("Comment", "a"))


def test_batch_error_continuation() -> None:
    """With Continue every item is answered; Undo is refused for a batch, and means nothing to a single request."""
    server = Responder()
    key = create(server)

    def reasons(option: enums.BatchErrorContinuationOption, *identifiers: str) -> list[int | None]:
        items = tuple(
            RequestBatchItem(Operation.GET, None, identifier.encode(), request_payload=GetRequestPayload(identifier))
            for identifier in identifiers
        )
        header = RequestHeader(ProtocolVersion(1, 4), batch_error_continuation_option=option, batch_count=len(items))
        return [item.result_reason for item in server.respond(RequestMessage(header, items)).batch_item]

    missing = ResultReason.ITEM_NOT_FOUND
    option = enums.BatchErrorContinuationOption
    assert reasons(option.CONTINUE, "1", key, "2") == [missing, None, missing]
    assert reasons(option.STOP, key, "1", "2") == [None, missing]
    assert reasons(option.UNDO, key, key) == [ResultReason.FEATURE_NOT_SUPPORTED]
    assert reasons(option.UNDO, key) == [None]


def test_client_correlation_value() -> None:
    """The Client Correlation Value is returned in the answer."""
    header = RequestHeader(ProtocolVersion(1, 4), client_correlation_value="17", batch_count=0)
    assert Responder().respond(RequestMessage(header)).response_header.client_correlation_value == "17"


def test_locate_counts_and_sets_the_id_placeholder() -> None:
    """From 1.3 on the number found is told; one page of one object is what later items mean."""
    server = Responder()
    for _ in range(2):
        create(server)
    found, key = ask(server, LocateRequestPayload(1), GetRequestPayload())
    assert found.response_payload.located_items == 2
    assert key.result_status == ResultStatus.SUCCESS
    (older,) = ask(server, LocateRequestPayload(1), version=V1_0)
    assert older.response_payload.located_items is None


def test_a_full_server() -> None:
    """A full server refuses new objects with the configured reason, and keeps its objects."""
    server = Responder()
    server.capacity = 1
    key = create(server)
    assert refusal(server, CREATE) == ResultReason.GENERAL_FAILURE
    server.capacity_reason = ResultReason.PERMISSION_DENIED
    assert refusal(server, CREATE) == ResultReason.PERMISSION_DENIED
    ask(server, DestroyRequestPayload(key))
    assert create(server)


def test_a_lying_server() -> None:
    """While the server lies, Get returns other bytes of the same length."""
    server = Responder()
    key = create(server)

    def material() -> bytes:
        found = ask(server, GetRequestPayload(key))[0].response_payload.managed_object
        return bytes(found.key_block.key_value.key_material)

    truth = material()
    server.lying = True
    assert material() != truth
    assert len(material()) == len(truth)
    server.lying = False
    assert material() == truth


def test_dates_of_the_life_cycle() -> None:
    """Each state's date is set; an Activation Date that has come makes a new object Active at once."""
    now = 5.0
    server = Responder(clock=lambda: now, profile=PROFILES["destroyed objects are kept"])
    active = TemplateAttribute(attribute=(attribute("Activation Date", 5),))
    later = TemplateAttribute(attribute=(attribute("Activation Date", 6),))
    key = raw_key(bytes(16), enums.CryptographicAlgorithm.AES)
    states = []
    for template in (later, active):
        ask(server, RegisterRequestPayload(ObjectType.SYMMETRIC_KEY, template, managed_object=key))
        states.append(list(server.objects.values())[-1].state)
    assert states == [enums.State.PRE_ACTIVE, enums.State.ACTIVE]
    identifier = list(server.objects)[-1]
    end = RevocationReason(RevocationReasonCode.CESSATION_OF_OPERATION)
    now = 7.0
    ask(server, RevokeRequestPayload(identifier, revocation_reason=end))
    now = 8.0
    ask(server, DestroyRequestPayload(identifier))
    stored = server.objects[identifier]
    dates = [stored.values(name) for name in ("Activation Date", "Deactivation Date", "Destroy Date")]
    assert dates == [[5], [7], [8]]
