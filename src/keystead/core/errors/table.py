"""What a row of the error table is, and the exception that carries one. The rows are in the files beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.model import Svm


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table. ``text`` may hold ``{name}`` fields that :class:`OntapError` fills in."""

    code: int
    status: int
    text: str
    cause: str


TABLE: list[ErrorKind] = []
"""Every row, in the order of the files of this package."""


def row(code: int, status: int, text: str, cause: str) -> ErrorKind:
    """Add a row: ONTAP's code, the HTTP status, the text, and what causes it here."""
    kind = ErrorKind(code, status, text, cause)
    TABLE.append(kind)
    return kind


class OntapError(Exception):
    """An answer other than success: a row of the table, the field at fault and machine-readable arguments.

    ``values`` fill the text's fields; they must not hold secrets or anything that a key server sent.
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
        self.svm: Svm | None = None  # whom the call is about, for the audit record, once it is known
        self.recorded = False  # whether its audit record is written
        self.message = kind.text.format(**values) if values else kind.text
        super().__init__(f"{kind.code}: {self.message}")
