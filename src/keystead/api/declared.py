"""A method of a path as a declaration: the function that runs, and its description for description/."""

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
"""A function that answers a request or raises OntapError."""

Own = Mapping[str, Parameter]
"""The parameters of one operation besides the common ones."""

Codes = tuple["ErrorKind", ...]


class Form(Enum):
    """The form of an operation: the shape of its URL parameters, its body and its answers."""

    LIST = auto()  # GET of a collection
    LIST_OR_RESULTS = auto()  # GET of a collection with writes that may be jobs; shows a job's results, too
    SHOW = auto()  # GET of one object
    CREATE = auto()  # POST of an object, or of ``records``: at once (Resource.bulk) or as a job
    CHANGE = auto()  # PATCH of one object of a collection
    REMOVE = auto()  # DELETE of one object
    CHANGE_MANY = auto()  # PATCH of the objects that a query or ``records`` selects
    REMOVE_MANY = auto()  # DELETE of the objects that a query or ``records`` selects
    SET = auto()  # PATCH of the only object of its kind
    ACT = auto()  # POST that stores nothing and answers an object
    TRY = auto()  # POST that stores nothing and answers the records of ``tried``
    STEER = auto()  # PATCH of one object without a body, which a parameter of the URL tells what to do
    COMMAND = auto()  # POST that answers an empty object
    JOB = auto()  # POST that begins a job


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The function that runs, and its description.

    ``codes`` are the errors that the operation may answer besides the errors of its form. ``tried`` is the resource
    that a dry run answers. ``job`` is True if one of the operation's own parameters turns the call into a job.
    ``octets`` is True if a client that accepts only octets gets octets.
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
