"""A method of a path as a declaration: what runs, and what the API's description (description/) says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from keystead.api.hal import Answer
from keystead.api.request import Request
from keystead.api.values import Parameter

if TYPE_CHECKING:
    from keystead.api.resource import Resource
    from keystead.core.errors import ErrorKind

Run = Callable[[Request], Awaitable[Answer]]
"""Answers a request, or raises OntapError."""

Own = Mapping[str, Parameter]
"""The parameters that one operation has beside the common ones."""

Codes = tuple["ErrorKind", ...]


class Form(Enum):
    """What an operation is: how its URL's parameters, its body and its answers look."""

    LIST = auto()  # GET of a collection
    LIST_OR_RESULTS = auto()  # the same, of one whose writes may be jobs, for a job's results
    SHOW = auto()  # GET of one object
    CREATE = auto()  # POST of an object, or of ``records``: at once (Resource.bulk) or as a job
    CHANGE = auto()  # PATCH of one object of a collection
    REMOVE = auto()  # DELETE of one object
    CHANGE_MANY = auto()  # PATCH of the objects that a query or ``records`` names
    REMOVE_MANY = auto()  # DELETE of these
    SET = auto()  # PATCH of the only object of its kind
    ACT = auto()  # POST that stores nothing and answers an object
    COMMAND = auto()  # POST that answers an empty object
    JOB = auto()  # POST that begins a job


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What runs, and what is said of it.

    ``codes`` are the errors that it may answer beside those that all operations of its form have. ``tried`` is what
    a dry run answers; ``job`` says that one of its own parameters makes a job of it, ``octets`` that a client that
    accepts nothing but octets is answered some.
    """

    run: Run
    form: Form
    resource: Resource
    summary: str = ""
    own: Own = field(default_factory=dict)
    codes: Codes = ()
    tried: Resource | None = None
    job: bool = False
    octets: bool = False


Paths = dict[str, dict[str, Operation]]
