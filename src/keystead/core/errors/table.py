"""The type of a row in the error table, and the exception that carries a row. The rows are in the other files here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.model import Svm


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table. ``text`` may contain ``{name}`` fields that :class:`OntapError` fills in."""

    code: int
    status: int
    text: str
    cause: str


TABLE: list[ErrorKind] = []
"""Every row, in the order of the files of this package."""


def row(code: int, status: int, text: str, cause: str) -> ErrorKind:
    """Add a row to the table: ONTAP's code, the HTTP status, the text, and the cause here. Return it."""
    kind = ErrorKind(code, status, text, cause)
    TABLE.append(kind)
    return kind


class OntapError(Exception):
    """An error answer: a row of the table, the field at fault and machine-readable arguments.

    ``values`` fill the fields of the text. They must not contain secrets or anything that a key server sent.
    """

    def __init__(
        self,
        kind: ErrorKind,
        *,
        target: str | None = None,
        arguments: Iterable[tuple[str, str]] = (),
        retry_after: int | None = None,
        **values: object,
    ) -> None:
        self.kind = kind
        self.target = target
        self.arguments = tuple(arguments)
        self.retry_after = retry_after
        self.svm: Svm | None = None  # the SVM that the call is about, for the audit record, once it is known
        self.recorded = False  # whether its audit record is written
        self.message = kind.text.format(**values) if values else kind.text
        super().__init__(f"{kind.code}: {self.message}")
