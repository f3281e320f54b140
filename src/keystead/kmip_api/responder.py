"""Answers to KMIP messages: who asks, then each item of the batch, then the response (KMIP 1.4 sections 6, 7 and 11).

Whatever fails becomes a Result Reason that the request's version has, and a message. What a use case refuses without a
word of KMIP's is a General Failure.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core import errors
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.core.errors import OntapError
from keystead.core.secret import Secret
from keystead.kmip.messages.headers import ProtocolVersion, ResponseHeader, UsernameAndPassword
from keystead.kmip.messages.messages import RequestMessage, ResponseBatchItem, ResponseMessage, encode_response
from keystead.kmip.ttlv.enums import BatchErrorContinuationOption, Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.versions import V1_4, V2_0, VERSIONS, Version
from keystead.kmip_api.operations import Batch
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.kmip.messages.messages import RequestBatchItem
    from keystead.service.applications.callers import ApplicationCaller, ApplicationCallers
    from keystead.service.applications.objects import ApplicationObjects
    from keystead.service.ports.process import Clock

log = structlog.get_logger(__name__)

OPERATION_S: Final = 8.0
"""Most seconds of one operation. Clients give up after 10."""

MOST_ITEMS: Final = 256
"""Most items of a batch."""

SMALL: Final = 512
"""Most bytes of the answer to an operation that changes something."""

_READS: Final = frozenset(
    {
        *(Operation.DISCOVER_VERSIONS, Operation.QUERY, Operation.LOCATE, Operation.GET),
        *(Operation.GET_ATTRIBUTES, Operation.GET_ATTRIBUTE_LIST),
    }
)

_IN_ONE: Final = {
    RefusalReason.ATTRIBUTE_READ_ONLY: ResultReason.PERMISSION_DENIED,
    RefusalReason.ATTRIBUTE_SINGLE_VALUED: ResultReason.ILLEGAL_OPERATION,
    RefusalReason.NON_UNIQUE_NAME_ATTRIBUTE: ResultReason.INVALID_FIELD,
    RefusalReason.OBJECT_DESTROYED: ResultReason.PERMISSION_DENIED,
}
"""The reasons in 1.x for those that came with 2.0."""

_MANDATORY: Final = 1
"""Asynchronous Indicator in 2.x: the client wants no answer at once."""


class Responder:
    """The answers of the KMIP service. One per process."""

    def __init__(self, callers: ApplicationCallers, objects: ApplicationObjects, clock: Clock) -> None:
        self._callers = callers
        self._objects = objects
        self._clock = clock

    async def respond(self, request: RequestMessage, chain: Sequence[str], location: str) -> ResponseMessage:
        """Return the answer to a request of a client that showed this certificate chain (PEM) in TLS."""
        version = request.request_header.protocol_version.version
        if version not in VERSIONS:
            refusal = ObjectRefusal(RefusalReason.INVALID_MESSAGE, "This protocol version is not served.")
            return self._message(request, max(VERSIONS), [_failed(refusal, max(VERSIONS))])
        try:
            _check(request)
            caller = await self._identified(request, chain, location)
        except ObjectRefusal as refusal:
            log.info("KMIP message refused", client=location, reason=refusal.reason.value, why=refusal.message)
            return self._message(request, version, [_failed(refusal, version)])
        except StoreError as failure:
            return self._message(request, version, [_failed(_unavailable(failure), version)])
        return await self._answers(request, caller, version)

    async def _identified(self, request: RequestMessage, chain: Sequence[str], location: str) -> ApplicationCaller:
        authentication = request.request_header.authentication
        values = [each.credential_value for each in authentication.credential] if authentication else []
        logins = [
            (each.username, Secret((each.password or "").encode()))
            for each in values
            if isinstance(each, UsernameAndPassword) and each.username  # PyKMIP sends empty ones
        ]
        return await self._callers.identify(chain, location, logins[0] if logins else None)

    async def _answers(self, request: RequestMessage, caller: ApplicationCaller, version: Version) -> ResponseMessage:
        """Do the items in order. A failed one ends the batch unless the request says Continue."""
        batch = Batch(self._objects, caller, version, int(self._clock.now().timestamp()))
        items: list[ResponseBatchItem] = []
        for number, item in enumerate(request.batch_item, 1):
            answer = await _answer(batch, item, version)
            if self._is_too_large(request, self._message(request, version, [*items, answer]), number):
                too_large = ObjectRefusal(RefusalReason.RESPONSE_TOO_LARGE, "The answer is larger than is allowed.")
                answer = _failed(too_large, version, item)
            items.append(answer)
            if answer.result_status != ResultStatus.SUCCESS:
                log.info("KMIP operation refused", account=caller.call.caller.account, why=answer.result_message)
                option = request.request_header.batch_error_continuation_option
                if option != BatchErrorContinuationOption.CONTINUE:
                    break
        return self._message(request, version, items)

    def _is_too_large(self, request: RequestMessage, answers: ResponseMessage, done: int) -> bool:
        """Return True if the answers so far leave too little room for those that follow."""
        most = request.request_header.maximum_response_size
        if most is None or request.batch_item[done - 1].operation not in _READS:
            return False
        return len(encode_response(answers)) > most - _needed(request, done)

    def _message(
        self, request: RequestMessage, version: Version, items: Sequence[ResponseBatchItem]
    ) -> ResponseMessage:
        correlation = request.request_header.client_correlation_value
        header = ResponseHeader(
            ProtocolVersion(*version),
            int(self._clock.now().timestamp()),
            client_correlation_value=correlation if version >= V1_4 else None,
            batch_count=len(items),
        )
        return ResponseMessage(header, tuple(items))


def _check(request: RequestMessage) -> None:
    """Raise ObjectRefusal for a message that cannot be answered as a whole. Nothing is changed then."""
    header, items = request.request_header, request.batch_item
    if header.batch_count != len(items) or not items:
        raise ObjectRefusal(RefusalReason.INVALID_MESSAGE, "Batch Count is not the number of batch items.")
    if len(items) > MOST_ITEMS:
        raise ObjectRefusal(RefusalReason.INVALID_MESSAGE, f"A batch has at most {MOST_ITEMS} items.")
    if len(items) > 1 and header.batch_error_continuation_option == BatchErrorContinuationOption.UNDO:
        raise ObjectRefusal(RefusalReason.FEATURE_NOT_SUPPORTED, "A batch cannot be undone here.")
    indicator = header.asynchronous_indicator
    if indicator is not None and indicator.value in {True, _MANDATORY}:
        raise ObjectRefusal(RefusalReason.FEATURE_NOT_SUPPORTED, "Operations are not asynchronous here.")
    most = header.maximum_response_size
    if most is not None and most < _needed(request, 0):
        raise ObjectRefusal(RefusalReason.RESPONSE_TOO_LARGE, "Maximum Response Size is too small for any answer.")


def _needed(request: RequestMessage, done: int) -> int:
    """Return how many bytes the answers need that follow the first ``done`` items, at least."""
    left = request.batch_item[done:]
    return sum(SMALL for each in left if each.operation not in _READS)


async def _answer(batch: Batch, item: RequestBatchItem, version: Version) -> ResponseBatchItem:
    try:
        async with asyncio.timeout(OPERATION_S):
            payload = await batch.perform(item.operation, item.request_payload)
    except ObjectRefusal as refusal:
        return _failed(refusal, version, item)
    except OntapError as error:
        return _failed(_of_service(error), version, item)
    except StoreError as failure:
        return _failed(_unavailable(failure), version, item)
    except TimeoutError:
        late = ObjectRefusal(RefusalReason.GENERAL_FAILURE, f"This took longer than {OPERATION_S:g} s. Try again.")
        return _failed(late, version, item)
    return ResponseBatchItem(
        item.operation, item.unique_batch_item_id, result_status=ResultStatus.SUCCESS, response_payload=payload
    )


def _of_service(error: OntapError) -> ObjectRefusal:
    """Return the refusal for an error of a use case. Its arguments are for administrators, so they are left out."""
    if error.kind is errors.ENTRY_NOT_FOUND:
        return ObjectRefusal(RefusalReason.ITEM_NOT_FOUND, "This application has no such object.")
    if error.kind is errors.INVALID_VALUE:
        return ObjectRefusal(RefusalReason.INVALID_FIELD, error.message)
    return ObjectRefusal(RefusalReason.GENERAL_FAILURE, error.message)


def _unavailable(failure: StoreError) -> ObjectRefusal:
    log.warning("KMIP operation failed", why=str(failure))
    return ObjectRefusal(RefusalReason.GENERAL_FAILURE, "The database of Keystead cannot be used now. Try again.")


def _failed(refusal: ObjectRefusal, version: Version, item: RequestBatchItem | None = None) -> ResponseBatchItem:
    """Return the failure of one item. Without ``item``, it is the failure of the whole message, without operation."""
    reason = _IN_ONE.get(refusal.reason) if version < V2_0 else None
    return ResponseBatchItem(
        item.operation if item else None,
        item.unique_batch_item_id if item else None,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=reason or ResultReason[refusal.reason.name],
        result_message=refusal.message,
    )
