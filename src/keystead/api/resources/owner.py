"""``scope`` and ``svm``: the owner of an object, declared once for every resource with an owner."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.resource import Field, Group
from keystead.api.resources.svms import svm_link
from keystead.api.values import TEXT, UUID, one_of, text
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.core.model import Svm


def svm_shown(svm_of: Callable[[Any], Svm | None], help_: str) -> tuple[Field | Group, ...]:
    """Return the fields of ``svm`` for a read-only object."""
    return (
        Group(name="svm", help=help_, get=svm_of, link=svm_link),
        Field(name="svm.uuid", type=UUID, help="The SVM's identifier.", get=attrgetter("uuid"), column="svm_uuid"),
        Field(name="svm.name", type=TEXT, help="The SVM's name.", get=attrgetter("name"), column="svm_name"),
    )


def scope_field(svm_of: Callable[[Any], Svm | None], *, post: bool = False, patch: bool = False) -> Field:
    """Return the field ``scope``: whether the owner is an SVM or the cluster."""
    return Field(
        name="scope",
        type=one_of("cluster", "svm"),
        help="``svm`` if the owner is an SVM, else ``cluster``.",
        get=lambda view: "cluster" if svm_of(view) is None else "svm",
        post=post,
        patch=patch,
        column="scope",
    )


def owner_fields(
    svm_of: Callable[[Any], Svm | None], *, key: bool = False, scope_post: bool = False, patch: bool = False
) -> tuple[Field | Group, ...]:
    """Return the fields of an owner. ``key`` shows ``svm.name`` always; ``scope_post`` accepts ``scope`` in POST.

    With ``patch`` a PATCH may repeat them, and the resource checks that they agree.
    """
    return (
        scope_field(svm_of, post=scope_post, patch=patch),
        Group(name="svm", help="The SVM; absent for scope ``cluster``.", get=svm_of, link=svm_link),
        Field(
            name="svm.uuid",
            type=UUID,
            help="The SVM's identifier.",
            get=attrgetter("uuid"),
            post=True,
            patch=patch,
            column="svm_uuid",
        ),
        Field(
            name="svm.name",
            type=text(255),
            help="The SVM's name.",
            get=attrgetter("name"),
            read=Read.KEY if key else Read.NORMAL,
            post=True,
            patch=patch,
            column="svm_name",
        ),
    )
