"""What a small key server answers: requests in, responses out, objects in memory.

For tests (see :mod:`keystead.kmip.testing.server`): it keeps keys in clear and checks nothing but what a client can
notice. No I/O; the clock is an argument. Messages and batches are here, the operations in
:mod:`keystead.kmip.server.operations`, and what kind of server it plays is a
:class:`~keystead.kmip.testing.profiles.Profile`. KMIP 1.4 sections 4, 6 and 7.
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
    """A key server's mind. ``versions`` are those it speaks; without 1.1 or later it has no Discover Versions.

    ``users`` (user name to password), when given, must be met by every request. Responders with one ``store`` are the
    members of a cluster (:func:`cluster`). All that is public may be changed at any time:

    * ``profile``: what kind of server it is;
    * ``refusals``: operation to the Result Reason with which it fails now, as after a change of the client's role;
    * ``capacity``: with so many objects Create and Register fail with ``capacity_reason``;
    * ``lying``: Get answers other bytes of the same length. Bytes that go bad or get lost: ``store``.
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
        """Return the answer to a request, whatever it is. ``client`` is the common name in its certificate.

        A failure of one item stops the batch unless the request's Batch Error Continuation Option is Continue.
        """
        header = request.request_header
        version = header.protocol_version.version
        if version not in self.versions:
            return self._message(max(self.versions), [_failed(ResultReason.INVALID_MESSAGE)])
        refusal = self._refusal(request)
        items = self._items(request, version, client) if refusal is None else [_failed(refusal)]
        return self._message(version, items, header.client_correlation_value)

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def vendor(self) -> str:
        """The Vendor Identification."""
        return self._vendor

    def _refusal(self, request: RequestMessage) -> ResultReason | None:
        """Why the message as a whole is refused."""
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

    What one member is told is known to the others ``delay`` seconds later, or with ``None`` when the link is told to
    ``deliver``; ``delay`` may be changed on the link.
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
    """The failure of one item; without it, of the whole message, which then names no operation."""
    return ResponseBatchItem(
        item.operation if item else None,
        item.unique_batch_item_id if item else None,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=reason,
        result_message=reason.name.replace("_", " ").capitalize(),
    )
