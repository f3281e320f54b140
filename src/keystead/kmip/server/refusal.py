"""A refusal: what the server side answers when an operation fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.kmip.ttlv.enums import (
        ResultReason,
    )


class Refusal(Exception):  # noqa: N818 - becomes a Result Reason, never an error of Python
    """A request is answered with Operation Failed and this reason."""

    def __init__(self, reason: ResultReason) -> None:
        super().__init__(reason.name)
        self.reason = reason
