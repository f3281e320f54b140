"""Rows of certificates, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.service.ports.store import StoreConflict
from tests.store import samples
from tests.store.samples import OTHER_SVM, SVM

if TYPE_CHECKING:
    from keystead.store import SqlStore


async def test_a_certificate_is_renamed(filled: SqlStore) -> None:
    """A rename changes the name only; a name is unique per SVM, and among the cluster's certificates."""
    first = samples.certificate("one", SVM, name="first")
    await filled.write(lambda tx: tx.add_certificate(first))
    for uuid, svm in (("two", SVM), ("three", OTHER_SVM), ("four", None)):
        await filled.write(lambda tx, uuid=uuid, svm=svm: tx.add_certificate(samples.certificate(uuid, svm, name=uuid)))  # type: ignore[misc]
    for uuid in ("three", "four"):
        await filled.write(lambda tx, uuid=uuid: tx.rename_certificate(uuid, "first"))  # type: ignore[misc]
    with pytest.raises(StoreConflict):
        await filled.write(lambda tx: tx.rename_certificate("two", "first"))
    assert await filled.read(lambda tx: tx.certificate("one")) == first
    await filled.write(lambda tx: tx.rename_certificate("one", "other"))
    assert await filled.read(lambda tx: tx.certificate("one")) == replace(first, name="other")
