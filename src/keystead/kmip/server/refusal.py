"""A refusal: the server's answer to a failed operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.kmip.ttlv.enums import (
        ResultReason,
    )


class Refusal(Exception):  # noqa: N818 - becomes a Result Reason, never a Python error
    """The request must be answered with Operation Failed and this reason."""

    def __init__(self, reason: ResultReason) -> None:
        super().__init__(reason.name)
        self.reason = reason
