"""Decoding whole messages into typed objects, against PyKMIP decoding the same bytes in the same run."""

from __future__ import annotations

import gc
import time
import uuid
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.row import Row
from keystead.kmip.messages.headers import ProtocolVersion, ResponseHeader
from keystead.kmip.messages.messages import ResponseBatchItem, ResponseMessage, decode_response, encode_response
from keystead.kmip.messages.objects import raw_key
from keystead.kmip.messages.payloads.get import GetResponsePayload
from keystead.kmip.messages.payloads.locate import LocateResponsePayload
from keystead.kmip.ttlv.enums import CryptographicAlgorithm, ObjectType, Operation, ResultStatus

if TYPE_CHECKING:
    from collections.abc import Callable

PYKMIP = "PyKMIP 0.11.0"
ROUNDS = 7
SECONDS = 0.04


def get_answer(count: int = 1) -> bytes:
    """Return the answer to ``count`` Gets of AES-256 keys in one batch, KMIP 1.4."""
    return _answer(Operation.GET, [_key(number) for number in range(count)])


def locate_answer(count: int) -> bytes:
    """Return the answer to a Locate that found ``count`` objects, KMIP 1.4."""
    found = LocateResponsePayload(unique_identifier=tuple(_identifier(number) for number in range(count)))
    return _answer(Operation.LOCATE, [found])


def compare(data: bytes, budget: float) -> Row:
    """How many times faster than PyKMIP's we decode a response; the two take turns, medians of thread CPU time."""
    theirs = _pykmip_decoder()
    decode_response(data)  # the first call builds the tables
    theirs(data)
    ratios = [_seconds(theirs, data) / _seconds(decode_response, data) for _ in range(ROUNDS)]
    return Row(median(ratios), "x", budget, "higher", PYKMIP)


ROWS: dict[str, Callable[[], Row]] = {
    "decode_get_response": lambda: compare(get_answer(), 10),
    "decode_locate_1000": lambda: compare(locate_answer(1000), 60),
    "decode_batch_10_gets": lambda: compare(get_answer(10), 11),
}


def _identifier(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def _key(number: int) -> GetResponsePayload:
    key = raw_key(bytes(range(32)), CryptographicAlgorithm.AES)
    return GetResponsePayload(ObjectType.SYMMETRIC_KEY, _identifier(number), key)


def _answer(operation: Operation, payloads: list[Any]) -> bytes:
    batch = len(payloads) > 1
    items = tuple(
        ResponseBatchItem(
            operation,
            bytes([number]) * 8 if batch else None,
            result_status=ResultStatus.SUCCESS,
            response_payload=payload,
        )
        for number, payload in enumerate(payloads)
    )
    header = ResponseHeader(ProtocolVersion(1, 4), time_stamp=1_700_000_000, batch_count=len(items))
    return encode_response(ResponseMessage(header, items))


def _pykmip_decoder() -> Callable[[bytes], Any]:
    from kmip.core.messages.messages import ResponseMessage as Theirs
    from kmip.core.utils import BytearrayStream

    def decode(data: bytes) -> Any:
        message = Theirs()
        message.read(BytearrayStream(data))
        return message

    return decode


def _seconds(decode: Callable[[bytes], Any], data: bytes) -> float:
    """CPU seconds of one call, over as many calls as fill a fixed time."""
    gc.collect()
    calls = 1
    while True:
        start = time.thread_time()
        for _ in range(calls):
            decode(data)
        spent = time.thread_time() - start
        if spent >= SECONDS:
            return spent / calls
        calls *= 2


if __name__ == "__main__":
    for name, measure in ROWS.items():
        row = measure()
        print(f"{name}: {row.value:.1f} {row.unit} (budget {row.budget})")
