"""``/support/ems/filters``: which events go to a destination, and the rules of each filter.

Source: ONTAP REST API reference, support_ems_filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource, always
from keystead.api.values import BOOLEAN, TEXT, integer, one_of
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.forwarding.filters import ANY, MOST_RULES, REST, SEVERITIES, Filter, Rule
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page

COLLECTION: Final = "/api/support/ems/filters"
_INDEX: Final = integer(1, MOST_RULES + 1)
_RULES: Final = f"{COLLECTION}/{{name}}/rules"


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule of a filter, and its place there, from 1."""

    of: str
    index: int
    rule: Rule


def filter_link(name: str) -> str:
    """Return the path of a filter."""
    return f"{COLLECTION}/{segment(name)}"


def _rule_link(view: RuleView) -> str:
    return f"{filter_link(view.of)}/rules/{view.index}"


def _rules(of: Filter) -> tuple[RuleView, ...]:
    """Return the rules as they are shown: with the last one, which excludes the rest."""
    return tuple(RuleView(of.name, index, rule) for index, rule in enumerate((*of.rules, REST), 1))


def _rule_fields(group: str, read: Read = Read.NORMAL) -> tuple[Field | Group, ...]:
    """Return the fields of a rule. ``group`` goes before their names."""
    return (
        Field(
            name=f"{group}index",
            type=_INDEX,
            help="The rule's place, from 1: the first rule that matches decides. Without it, a new rule is the last.",
            get=attrgetter("index"),
            read=read,
            post=True,
            patch=bool(group),
        ),
        Field(
            name=f"{group}type",
            type=one_of("include", "exclude"),
            help="What the rule does with events that it matches.",
            get=attrgetter("rule.type"),
            post=True,
            patch=True,
            required=True,
        ),
        Field(
            name=f"{group}message_criteria.name_pattern",
            type=TEXT,
            help="The name of an event, with wildcards; all if none is given.",
            get=attrgetter("rule.name_pattern"),
            post=True,
            patch=True,
        ),
        Field(
            name=f"{group}message_criteria.severities",
            type=TEXT,
            help=f"Some of {', '.join(f'``{each}``' for each in SEVERITIES)}, with commas between them; all if none is"
            " given.",
            get=attrgetter("rule.severities"),
            post=True,
            patch=True,
        ),
        Field(
            name=f"{group}message_criteria.snmp_trap_types",
            type=one_of(ANY),
            help="Always ``*``: no event is an SNMP trap.",
            get=always(ANY),
            post=True,
            patch=True,
        ),
        Group(
            name=f"{group}parameter_criteria",
            help="What the parameters of events must be: anything.",
            get=always((None,)),
            many=True,
        ),
        *(
            Field(
                name=f"{group}parameter_criteria.{name}",
                type=one_of(ANY),
                help="Always ``*``: rules do not look at parameters.",
                get=always(ANY),
                post=True,
                patch=True,
                since="9.13",
            )
            for name in ("name_pattern", "value_pattern")
        ),
    )


FILTERS = Resource(
    name="ems_filter",
    ontap="EmsFilter",
    help="A filter of events. What no rule includes is excluded; a last rule shows this, and is not written.",
    declared=(
        Field(
            name="name",
            type=TEXT,
            help="Unique name: 2 to 64 letters, digits and ``_ -``.",
            get=attrgetter("name"),
            read=Read.KEY,
            post=True,
            required=True,
        ),
        Group(name="rules", help="The rules, in order.", get=_rules, many=True, link=_rule_link),
        *_rule_fields("rules."),
        Field(
            name="system_defined",
            type=BOOLEAN,
            help="Whether the filter is ONTAP's, and cannot be changed.",
            get=attrgetter("system_defined"),
            since="9.10",
        ),
    ),
    link=lambda found: filter_link(found.name),
    key="name",
    order=("name", TEXT, attrgetter("name")),
)

RULES = Resource(
    name="ems_filter_rule",
    ontap="EmsFilterRule",
    help="A rule of a filter of events.",
    declared=_rule_fields("", Read.KEY),
    link=_rule_link,
    key="index",
    order=("index", _INDEX, attrgetter("index")),
)


async def _page(request: Request, page: Page) -> tuple[Filter, ...]:
    return await request.services.event_filters.page(request.call, page)


async def _show(request: Request, _: Wanted) -> Filter:
    return await request.services.event_filters.get(request.call, request.path_text("name"))


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> Filter:
    return await request.services.event_filters.create(request.call, values)


async def _patch(request: Request, name: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.event_filters.set_rules(request.call, name, values)


async def _delete(request: Request, name: str, _: WriteQuery) -> None:
    await request.services.event_filters.delete(request.call, name)


async def _rule_page(request: Request, page: Page) -> tuple[RuleView, ...]:
    views = _rules(await request.services.event_filters.get(request.call, request.path_text("name")))
    (after,) = page.after or (0,)
    following = [view for view in views if view.index > after]
    return tuple(following[page.offset : page.offset + page.limit])


async def _rule(request: Request, _: Wanted) -> RuleView:
    views = _rules(await request.services.event_filters.get(request.call, request.path_text("name")))
    for view in views:
        if view.index == request.key(RULES):
            return view
    raise OntapError(errors.ENTRY_NOT_FOUND, target="index")


async def _add(request: Request, values: dict[str, Any], _: WriteQuery) -> RuleView:
    changed, index = await request.services.event_filters.add_rule(request.call, request.path_text("name"), values)
    return _rules(changed)[index - 1]


async def _change(request: Request, index: int, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.event_filters.change_rule(request.call, request.path_text("name"), index, values)


async def _remove(request: Request, index: int, _: WriteQuery) -> None:
    await request.services.event_filters.change_rule(request.call, request.path_text("name"), index, None)


_WRITING = (*OF_THE_CLUSTER, errors.INVALID_VALUE, errors.EMS_RULE_EMPTY, errors.EMS_SYSTEM_FILTER)
_ALL_FILTERS = Collection(
    resource=FILTERS,
    page=_page,
    show=_show,
    create=_create,
    patch=_patch,
    delete=_delete,
    codes={
        "GET": OF_THE_CLUSTER,
        "POST": (*_WRITING, errors.DUPLICATE_ENTRY, errors.EMS_NAME_INVALID),
        "PATCH": _WRITING,
        "DELETE": (*OF_THE_CLUSTER, errors.EMS_SYSTEM_FILTER, errors.IN_USE),
    },
)
_ALL_RULES = Collection(
    resource=RULES,
    page=_rule_page,
    show=_rule,
    create=_add,
    patch=_change,
    delete=_remove,
    codes={
        "GET": OF_THE_CLUSTER,
        "POST": (*_WRITING, errors.EMS_RULE_INDEX),
        "PATCH": (*_WRITING, errors.EMS_RULE_INDEX),
        "DELETE": (*OF_THE_CLUSTER, errors.EMS_SYSTEM_FILTER, errors.EMS_RULE_INDEX),
    },
)
PATHS: Paths = _ALL_FILTERS.paths(COLLECTION) | _ALL_RULES.paths(_RULES)
