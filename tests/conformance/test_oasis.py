"""The OASIS test cases: golden bytes of 1.0 to 1.4, and the XML cases of 2.0 and 2.1.

They are read from the folder that KEYSTEAD_KMIP_VECTORS names. Without it these tests are skipped; with ``--long`` that
is a failure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.kmip.messages.messages import PAYLOADS, decode_request, decode_response, encode_request, encode_response
from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.schema import Structure
from keystead.kmip.ttlv.ttlv import Item
from tests.conformance import oasis
from tests.kmip import feeding

if TYPE_CHECKING:
    from pathlib import Path

LEFT_OUT = {
    "PKCS11-M-1-20.xml": "PKCS#11 functions are written by name, and their numbers are not KMIP's",
    "PKCS11-M-1-21.xml": "as PKCS11-M-1-20.xml",
    "TC-DLOGIN-2-20.xml": "a Result Reason, NotAuthorized, that the specification does not have",
}
"""XML cases that cannot be read, with the reason."""

RAW_OBJECTS = {tags.PRIVATE_KEY, tags.PUBLIC_KEY, tags.SPLIT_KEY, tags.PGP_KEY, tags.TEMPLATE}
"""Managed Objects that the typed layer keeps raw: out of this library's scope so far."""

GOLDEN_MESSAGES = {"v1.0": 830, "v1.1": 928, "v1.2": 766, "v1.3": 746, "v1.4": 1732}
XML_MESSAGES = {"v2.0": 1766, "v2.1": 1150}


@pytest.fixture(scope="session")
def vectors(pytestconfig: pytest.Config) -> Path:
    """The folder of the vectors."""
    root = oasis.folder()
    if root is None:
        if pytestconfig.getoption("--long"):
            pytest.fail("KEYSTEAD_KMIP_VECTORS is not set")
        pytest.skip("KEYSTEAD_KMIP_VECTORS names no folder of OASIS test cases")
    return root


@pytest.fixture(scope="session")
def golden(vectors: Path) -> list[oasis.Golden]:
    """All golden messages."""
    return list(oasis.golden(vectors))


def typed(data: bytes) -> Any:
    """A message through the typed layer."""
    return decode_request(data) if data[2] == 0x78 else decode_response(data)


def encoded(message: Any) -> bytes:
    """A typed message's bytes."""
    return encode_request(message) if message.TAG == tags.REQUEST_MESSAGE else encode_response(message)


def raw_places(value: Any, path: str = "") -> list[str]:
    """Where a typed message of a known operation holds raw items."""
    if isinstance(value, Item):
        return [path]
    if isinstance(value, tuple):
        return [place for entry in value for place in raw_places(entry, path)]
    if isinstance(value, Structure):
        name = type(value).__name__
        return [place for key, entry in vars(value).items() for place in raw_places(entry, f"{name}.{key}")]
    return []


def test_golden_trees(golden: list[oasis.Golden]) -> None:
    """Every golden message decodes as an item tree and encodes to the same bytes."""
    assert Counter(message.case.partition("/")[0] for message in golden) == GOLDEN_MESSAGES
    for message in golden:
        assert ttlv.encode(ttlv.decode(message.data)) == message.data, message.case


def test_golden_messages(golden: list[oasis.Golden]) -> None:
    """Every golden message goes through the typed layer byte for byte, whatever its operations are."""
    for message in golden:
        assert encoded(typed(message.data)) == message.data, message.case


def test_golden_requests_however_they_come(golden: list[oasis.Golden]) -> None:
    """Every fifth golden request goes through a server's connection whole, in pieces and byte by byte."""
    requests = [message for message in golden if message.role == "req"][::5]
    for message in requests:
        assert feeding.request(message.data) == typed(message.data), message.case


def test_known_operations_are_typed(golden: list[oasis.Golden]) -> None:
    """In messages of known operations nothing is left raw or unknown but what is named here."""
    places: Counter[str] = Counter()
    for message in golden:
        places.update(raw_places(typed(message.data)))
    assert set(places) <= {
        "Attribute.attribute_value",  # custom attributes, and structures that the table keeps raw
        "GetResponsePayload.managed_object",  # RAW_OBJECTS
        "RegisterRequestPayload.managed_object",  # RAW_OBJECTS
        "KeyValue.key_material",  # transparent keys
        "QueryResponsePayload.extension_information",
        "QueryResponsePayload.profile_information",
        "QueryResponsePayload.rng_parameters",
        "QueryResponsePayload.capability_information",
        "QueryResponsePayload.validation_information",
        "QueryResponsePayload.server_information",
        "RequestBatchItem.message_extension",
        "RequestBatchItem.request_payload",  # operations without payload classes
        "RequestHeader.asynchronous_indicator",  # a Boolean in 1.x, an Enumeration in 2.x
        "ResponseBatchItem.response_payload",
    }
    raw = [item for message in golden for item in raw_payloads(typed(message.data))]
    assert not {operation for operation, _ in raw} & set(PAYLOADS)
    objects = {item.tag for message in golden for item in raw_objects(typed(message.data))}
    assert objects <= RAW_OBJECTS


def raw_payloads(message: Any) -> list[tuple[int, Item]]:
    """(operation, payload) of the batch items whose payload stayed raw."""
    name = "request_payload" if message.TAG == tags.REQUEST_MESSAGE else "response_payload"
    return [
        (item.operation, getattr(item, name)) for item in message.batch_item if isinstance(getattr(item, name), Item)
    ]


def raw_objects(message: Any) -> list[Item]:
    """The Managed Objects that stayed raw."""
    name = "request_payload" if message.TAG == tags.REQUEST_MESSAGE else "response_payload"
    objects = [getattr(getattr(item, name), "managed_object", None) for item in message.batch_item]
    return [found for found in objects if isinstance(found, Item)]


@pytest.mark.parametrize("version", XML_MESSAGES)
def test_xml_cases(vectors: Path, version: str) -> None:
    """Every message of the XML cases survives as an item tree and goes through the typed layer byte for byte."""
    count = 0
    for path in oasis.xml_files(vectors, version):
        if path.name in LEFT_OUT:
            with pytest.raises(KeyError):
                list(oasis.xml_messages(path))
            continue
        for tree in oasis.xml_messages(path):
            data = ttlv.encode(tree)
            assert ttlv.decode(data) == tree, path.name
            assert encoded(typed(data)) == data, path.name
            count += 1
    assert count == XML_MESSAGES[version]


def test_benchmark_messages(vectors: Path) -> None:
    """The seven messages that PyKMIP wrote go through both layers byte for byte."""
    lines = (vectors / "ttlv" / "messages.tsv").read_text().splitlines()
    assert len(lines) == 7
    for line in lines:
        data = bytes.fromhex(line.split("\t")[1])
        assert ttlv.encode(ttlv.decode(data)) == data
        assert encoded(typed(data)) == data


def mutated(data: bytes, draw: st.DataObject) -> bytes:
    """A message with bytes changed, cut out, doubled or lengths blown up."""
    wire = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(wire) - 1))
        change = draw.draw(st.sampled_from(["byte", "cut", "double", "length"]))
        if change == "byte":
            wire[at] = draw.draw(st.integers(0, 255))
        elif change == "cut":
            del wire[at : at + draw.draw(st.integers(1, 16))]
        elif change == "double":
            wire[at:at] = wire[at : at + 16]
        else:
            wire[at // 8 * 8 + 4 : at // 8 * 8 + 8] = draw.draw(st.binary(min_size=4, max_size=4))
        wire = wire or bytearray(b"B")
    return bytes(wire)


def check_mutations(golden: list[oasis.Golden], draw: st.DataObject) -> None:
    """A mutated message is read, and then encodes, or raises one of the two errors."""
    data = mutated(draw.draw(st.sampled_from(golden)).data, draw)
    try:
        message = typed(data) if len(data) > 2 else decode_response(data)
    except (TTLVError, RemoteProtocolError):
        return
    assert typed(encoded(message)) == message


@given(draw=st.data())
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_mutated_messages(golden: list[oasis.Golden], draw: st.DataObject) -> None:
    """Some hundred mutations of golden messages."""
    check_mutations(golden, draw)


@pytest.mark.long
@given(draw=st.data())
@settings(max_examples=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_many_mutated_messages(golden: list[oasis.Golden], draw: st.DataObject) -> None:
    """Many more of them."""
    check_mutations(golden, draw)
