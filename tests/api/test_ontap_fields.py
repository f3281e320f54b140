"""keystead.api.ontap_fields: every field name of the official client's schemas may be asked for and filtered by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from marshmallow import fields
from netapp_ontap import resources

from keystead.api.query import read_get
from keystead.api.resources import RESOURCES
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import Read
from scripts import generate_ontap_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.api.resource import Resource
    from keystead.core.errors import ErrorKind
    from tests.api.conftest import Api

pytestmark = pytest.mark.filterwarnings("ignore:.*Number:marshmallow.warnings.ChangedInMarshmallow4Warning")
"""The client's schemas are written for an older marshmallow."""

SERVED = [resource for resource in RESOURCES if resource.ontap]
SVMS = "/api/svm/svms"
DEPTH = 4  # schemas of resources contain one another without end


def named_by_the_client(schema: Any, prefix: str = "", depth: int = DEPTH) -> Iterator[str]:
    """Yield the dotted names of a schema, parents too, down to some depth."""
    for attribute, field in schema.fields.items():
        element = field
        while isinstance(element, fields.List):
            element = element.inner
        name = f"{prefix}{field.data_key or attribute}"
        yield name
        if isinstance(element, fields.Nested) and depth > 1:
            yield f"{name}.*"
            yield from named_by_the_client(element.schema, f"{name}.", depth - 1)


def refused(resource: Resource, **parameters: str) -> tuple[ErrorKind, str | None]:
    """Return the kind and the target of a refused GET of a list."""
    with pytest.raises(OntapError) as raised:
        read_get(resource, parameters, single=False)
    return raised.value.kind, raised.value.target


def test_the_table_is_current() -> None:
    """It is what the generator makes of the installed client."""
    assert generate_ontap_fields.TARGET.read_text() == generate_ontap_fields.written()


def test_each_of_ontaps_resources_has_its_type() -> None:
    assert {resource.ontap for resource in SERVED} == set(generate_ontap_fields.SERVED)


@pytest.mark.parametrize("resource", SERVED, ids=lambda resource: resource.name)
def test_every_name_of_the_client_may_be_asked_for(resource: Resource) -> None:
    """Of one object and of a list; only what is never shown is refused, as secrets are."""
    never = {name for name, declared in resource.fields.items() if declared.read is Read.NEVER}
    names = set(named_by_the_client(getattr(resources, resource.ontap)._schema())) - never
    assert len(names) >= 3
    for name in sorted(names):
        chosen = resource.catalogue.select(name, single=False)
        assert all(resource.fields[each].read is not Read.NEVER for each in chosen)


def test_a_parent_with_a_star_means_its_members() -> None:
    """``svm.*`` is ``svm``, of our own fields as of ONTAP's others."""
    for resource in SERVED:
        for name in ("svm", "owner", "external", "connectivity", "volume_encryption"):
            if name in resource.tree.members:
                starred = resource.catalogue.select(f"{name}.*", single=True)
                assert starred == resource.catalogue.select(name, single=True)


@pytest.mark.parametrize(
    "name", ["nonsense", "nonsense.*", "name.*", "dns.nonsense", "dns.nonsense.*", ".*", "dns.*.*"]
)
def test_what_is_unknown_to_both_is_refused(name: str) -> None:
    """262197 for ``fields``, 262179 for a filter."""
    svms = next(resource for resource in SERVED if resource.name == "svm")
    assert refused(svms, fields=name) == (errors.INVALID_FIELDS_VALUE, "fields")
    assert refused(svms, **{name: "x"}) == (errors.UNEXPECTED_ARGUMENT, name)
    read_get(svms, {"fields": name, "x": "y", "ignore_unknown_fields": "true"}, single=False)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("null", True),
        ("!null", False),
        ("true", False),
        ("!true", True),
        ("true|null", True),
        ("1..5", False),
        ("*", False),
        ("!*x*", True),
        ("", False),
        (">5|<3", False),
    ],
)
async def test_a_filter_on_a_field_without_values(api: Api, text: str, *, matches: bool) -> None:
    """It matches as null does: ``null`` and negated alternatives match every record, all others match none."""
    await api.admin.post(SVMS, {"name": "vs0"})
    found = await api.admin.get(f"{SVMS}?dns.domains={quote(text)}")
    assert (found.status, found.body["num_records"]) == (200, int(matches))


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["dns.domains", "nonsense"])
async def test_a_write_by_query_refuses_it(api: Api, method: str, name: str) -> None:
    """Also with ``ignore_unknown_fields``: without this condition it would change too much."""
    await api.admin.post(SVMS, {"name": "vs0"})
    body = {"name": "vs1"} if method == "PATCH" else None
    url = f"{SVMS}?name=*&{name}=!true&ignore_unknown_fields=true"
    refusal = await api.admin(method, url, body)
    assert (refusal.status, refusal.body["error"]["target"]) == (400, name)
    assert [svm["name"] for svm in (await api.admin.get(SVMS)).body["records"]] == ["vs0"]
