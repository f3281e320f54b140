"""The answers of a small key server: requests in, responses out, objects in memory.

It is for tests (see :mod:`keystead.kmip.testing.server`). It keeps keys in clear, and checks only what a client can
notice. No I/O; the clock is an argument. Messages and batches are here; the operations are in
:mod:`keystead.kmip.server.operations`. The kind of server is a :class:`~keystead.kmip.server.profile.Profile`. KMIP 1.4
sections 4, 6 and 7.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from keystead.kmip.messages.headers import ProtocolVersion, ResponseHeader, UsernameAndPassword
from keystead.kmip.messages.messages import RequestBatchItem, RequestMessage, ResponseBatchItem, ResponseMessage
from keystead.kmip.server.operations import Batch
from keystead.kmip.server.profile import PLAIN, Profile
from keystead.kmip.server.refusal import Refusal
from keystead.kmip.server.storage import Replication, Store, Stored
from keystead.kmip.ttlv.enums import BatchErrorContinuationOption, Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.versions import V1_4, VERSIONS, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Responder:
    """The logic of a key server. ``versions`` are its versions; without 1.1 or later it has no Discover Versions.

    If ``users`` (user name to password) is given, every request must have one of these credentials. Responders with the
    same ``store`` are members of one cluster (:func:`cluster`). All public attributes may be changed at any time:

    - ``profile``: the kind of server.
    - ``refusals``: operation to the Result Reason with which it fails now, as after a change of the client's role.
    - ``capacity``: with so many objects, Create and Register fail with ``capacity_reason``.
    - ``lying``: Get returns other bytes of the same length. To corrupt or lose objects, use ``store``.
    """

    def __init__(
        self,
        versions: Iterable[Version] = VERSIONS,
        *,
        users: Mapping[str, str] | None = None,
        vendor: str = "Keystead test key server",
        clock: Callable[[], float] = time.time,
        profile: Profile = PLAIN,
        store: Store | None = None,
    ) -> None:
        self.versions = tuple(versions)
        self.users = users
        self.profile = profile
        self.store = store or Store()
        self.refusals: dict[Operation, ResultReason] = {}
        self.capacity: int | None = None
        self.capacity_reason = ResultReason.GENERAL_FAILURE
        self.lying = False
        self._vendor = vendor
        self._clock = clock

    @property
    def objects(self) -> dict[str, Stored]:
        """The objects by Unique Identifier."""
        return self.store.objects

    def respond(self, request: RequestMessage, client: str | None = None) -> ResponseMessage:
        """Return the answer to any request. ``client`` is the common name in the client's certificate.

        A failed item stops the batch unless the request's Batch Error Continuation Option is Continue.
        """
        header = request.request_header
        version = header.protocol_version.version
        if version not in self.versions:
            return self._message(max(self.versions), [_failed(ResultReason.INVALID_MESSAGE)])
        refusal = self._refusal(request)
        items = self._items(request, version, client) if refusal is None else [_failed(refusal)]
        return self._message(version, items, header.client_correlation_value)

    def now(self) -> int:
        """Return the seconds since 1970."""
        return int(self._clock())

    def vendor(self) -> str:
        """Return the Vendor Identification."""
        return self._vendor

    def _refusal(self, request: RequestMessage) -> ResultReason | None:
        """Return the reason why the whole message is refused, or None."""
        if self.users is not None and not self._known_user(request):
            return ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
        several = len(request.batch_item) > 1
        if several and len(request.batch_item) > (self.profile.maximum_batch or len(request.batch_item)):
            return ResultReason.INVALID_MESSAGE
        option = request.request_header.batch_error_continuation_option
        if several and option == BatchErrorContinuationOption.UNDO:
            return ResultReason.FEATURE_NOT_SUPPORTED
        return None

    def _items(self, request: RequestMessage, version: Version, client: str | None) -> list[ResponseBatchItem]:
        option = request.request_header.batch_error_continuation_option
        batch = Batch(self, version, client)
        items: list[ResponseBatchItem] = []
        for item in request.batch_item:
            items.append(_answer(batch, item))
            failed = items[-1].result_status != ResultStatus.SUCCESS
            if failed and option != BatchErrorContinuationOption.CONTINUE:
                break
        return items

    def _known_user(self, request: RequestMessage) -> bool:
        authentication = request.request_header.authentication
        values = [entry.credential_value for entry in authentication.credential] if authentication else []
        return any(
            isinstance(value, UsernameAndPassword) and (self.users or {}).get(value.username) == value.password
            for value in values
        )

    def _message(
        self, version: Version, items: list[ResponseBatchItem], correlation: str | None = None
    ) -> ResponseMessage:
        header = ResponseHeader(
            ProtocolVersion(*version),
            self.now(),
            client_correlation_value=correlation if version >= V1_4 else None,
            batch_count=len(items),
        )
        return ResponseMessage(header, tuple(items))


def cluster(
    count: int, *, delay: float | None = 0, profile: Profile = PLAIN, clock: Callable[[], float] = time.monotonic
) -> tuple[list[Responder], Replication]:
    """Return ``count`` members of one cluster, and the link between them.

    Changes on one member reach the others ``delay`` seconds later. With ``None`` they wait until ``deliver`` of the
    link is called. ``delay`` may be changed on the link.
    """
    link = Replication(delay, clock=clock)
    return [Responder(profile=profile, store=link.store()) for _ in range(count)], link


def _answer(batch: Batch, item: RequestBatchItem) -> ResponseBatchItem:
    try:
        payload = batch.perform(item.operation, item.request_payload)
    except Refusal as refusal:
        return _failed(refusal.reason, item)
    return ResponseBatchItem(
        item.operation, item.unique_batch_item_id, result_status=ResultStatus.SUCCESS, response_payload=payload
    )


def _failed(reason: ResultReason, item: RequestBatchItem | None = None) -> ResponseBatchItem:
    """Return the failure of one item. Without ``item``, it is the failure of the whole message, without operation."""
    return ResponseBatchItem(
        item.operation if item else None,
        item.unique_batch_item_id if item else None,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=reason,
        result_message=reason.name.replace("_", " ").capitalize(),
    )
