"""keystead.api.description.openapi: the document says what is served; its examples are what happens."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import schemathesis
from schemathesis.core.result import Ok

from keystead.api.checking import check_body
from keystead.api.declared import Form
from keystead.api.description.examples import CERTIFICATE, EXAMPLES, PRIVATE_KEY
from keystead.api.description.openapi import document, template
from keystead.api.description.schema_rows import resolved
from keystead.api.description.schemas import settable, shown
from keystead.api.resource import Field
from keystead.api.resources import PATHS
from keystead.api.resources.auth_keys import AUTH_KEYS
from keystead.api.resources.volume_keys import VOLUME_KEYS
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.creating import TAG_LIMIT
from keystead.core.query.query import Read
from tests.peers.documented import described as answers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.api.declared import Operation
    from keystead.api.description.examples import Example
    from keystead.api.resource import Resource
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

OPERATIONS = [(path, method, each) for path, methods in PATHS.items() for method, each in methods.items()]
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def references(value: Any) -> Iterator[str]:
    """Every reference in a piece of the document."""
    if isinstance(value, dict):
        yield from (found for name, item in value.items() if name == "$ref" for found in [item])
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def described(path: str, method: str) -> dict[str, Any]:
    said: dict[str, Any] = document()["paths"][template(path)][method.lower()]
    return said


def parameters(said: dict[str, Any]) -> dict[str, Any]:
    """Return an operation's parameters by name."""
    components = document()["components"]["parameters"]
    found = [components[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in said["parameters"]]
    return {each["name"]: each for each in found}


def test_the_document_is_openapi_3_1() -> None:
    """It is valid by the specification's own schema, and every operation can be read."""
    schema = schemathesis.openapi.from_dict(document())
    schema.validate()
    assert all(isinstance(operation, Ok) for operation in schema.get_all_operations())


def test_every_reference_leads_somewhere_and_every_name_is_one() -> None:
    """No reference dangles, and no two operations have the same identifier."""
    for reference in references(document()):
        found: Any = document()
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    names = [
        said["operationId"] for item in document()["paths"].values() for m, said in item.items() if m != "parameters"
    ]
    assert len(names) == len(set(names))


def test_every_path_and_method_is_described_and_no_other() -> None:
    """Serve what is described: HEAD wherever there is GET, OPTIONS everywhere."""
    served = {
        template(path): {*(m.lower() for m in methods), "options"} | ({"head"} if "GET" in methods else set())
        for path, methods in PATHS.items()
    }
    assert {path: set(item) - {"parameters"} for path, item in document()["paths"].items()} == served


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_names_its_own_parameters_and_errors(path: str, method: str, operation: Operation) -> None:
    """Every declared parameter and code stands in its description, every value of the path is declared."""
    said = described(path, method)
    assert set(operation.own) <= set(parameters(said))
    codes = {
        (int(code), int(status))
        for status, answer in said["responses"].items()
        for code in re.findall(r'"(\d+)"', json.dumps(resolved(document(), answer)))
    }
    assert {(kind.code, kind.status) for kind in operation.codes} <= codes
    values = {each["name"] for each in document()["paths"][template(path)].get("parameters", ())}
    assert values == set(re.findall(r"{(\w+)}", template(path)))


def test_every_field_is_described_where_it_is_shown_set_and_filtered() -> None:
    """The schemas hold what the declarations say, a secret nowhere but in bodies."""
    for path, method, operation in OPERATIONS:
        resource = operation.resource
        for name, field in resource.fields.items():
            assert (place(shown(resource), name) is not None) == (field.read is not Read.NEVER)
            for write in ("POST", "PATCH"):
                assert (place(settable(resource, write), name) is not None) == field.settable(write)
            if operation.form in {Form.LIST, Form.LIST_OR_RESULTS}:
                assert (name in parameters(described(path, method))) == (field.read is not Read.NEVER)


def place(schema: dict[str, Any], name: str) -> Any:
    """Return the schema of a dotted name, None when there is none."""
    found: Any = schema
    for part in name.split("."):
        found = found.get("items", found).get("properties", {}).get(part)
        if found is None:
            return None
    return found


def test_the_schema_of_a_type_is_the_type() -> None:
    """A value of each field's schema is accepted by its type, one beside the schema's range or words is not."""
    for _, _, operation in OPERATIONS:
        for field in operation.resource.fields.values():
            schema = field.type.schema
            for word in schema.get("enum", ()):
                assert field.type.parse(word) == word
            for edge, beyond in (("minimum", -1), ("maximum", 1)):
                if edge in schema:
                    assert field.type.parse(schema[edge]) == schema[edge]
                    with pytest.raises(ValueError, match="range"):
                        field.type.parse(schema[edge] + beyond)


@pytest.mark.parametrize("resource", [AUTH_KEYS, VOLUME_KEYS])
def test_a_tags_limit_is_told(resource: Resource) -> None:
    """Though what is too long has a code that does not say so."""
    assert place(settable(resource, "POST"), "key_tag")["maxLength"] == TAG_LIMIT


def test_the_client_of_these_tests_knows_the_description() -> None:
    """Hold answers against the codes of each operation, and against nothing for what is not described."""
    for path, method, operation in OPERATIONS:
        found = answers_of(re.sub(r"{[\w:]+}", "x", path), method)
        assert found is not None
        assert {(str(kind.status), str(kind.code)) for kind in operation.codes} <= {
            (status, code) for status, codes in found.items() for code in codes
        }
    assert answers_of("/api/cluster", "DELETE") is None
    assert answers_of("/metrics", "GET") is None
    assert errors.KEY_SERVER_LIMIT.code not in map(int, (answers_of("/api/cluster", "PATCH") or {})["400"])


# --- the examples ---


class Story:
    """The examples' names, and what stands for them in a real service."""

    def __init__(self, pki: Pki, ports: list[int]) -> None:
        self.known = {f"ks{number}.example.com:5696": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
        self.known |= {quote(name, safe=""): quote(real, safe="") for name, real in self.known.items()}
        self.pki = pki

    def told(self, text: str) -> str:
        """Return a text of an example as it is sent."""
        for name, real in self.known.items():
            text = text.replace(name, real)
        return text

    def body(self, example: Example) -> Any:
        """Return the body as it is sent, with certificates."""
        if not isinstance(example.body, dict):
            return example.body
        body = json.loads(self.told(json.dumps(example.body)))
        if body.get("public_certificate") == CERTIFICATE:
            client = body["type"] == "client"
            body["public_certificate"] = self.pki.client.certificate_pem if client else self.pki.server_ca.pem
        if body.get("private_key") == PRIVATE_KEY:
            body["private_key"] = self.pki.client.key_pem
        return body

    def compare(self, said: Any, real: Any, at: str = "") -> None:
        """Assert that an answer is the example's; identifiers are learned when they are first seen."""
        if isinstance(said, dict):
            assert list(said) == list(real), at
            for name, item in said.items():
                self.compare(item, real[name], f"{at}.{name}")
        elif isinstance(said, list):
            assert len(said) == len(real), at
            for index, item in enumerate(said):
                self.compare(item, real[index], f"{at}[{index}]")
        elif isinstance(said, str) and "\n...\n" in said:
            begin, end = said.split("\n...\n")
            assert real.startswith(begin), at
            assert real.endswith(end), at
        elif isinstance(said, str):
            for name, uuid in zip(UUIDS.findall(said), UUIDS.findall(real), strict=True):
                assert self.known.setdefault(name, uuid) == uuid, at
            assert self.told(said) == real, at
        else:
            assert said == real, at


async def test_the_examples_are_what_happens(api: Api, pki: Pki, sound_ports: list[int]) -> None:
    """Each example is called in turn on a real service with real key servers: status, Location and body are its own."""
    story = Story(pki, sound_ports)
    for example in EXAMPLES:
        answer = await api.admin(example.method, story.told(example.url), story.body(example))
        assert answer.status == example.status, (example.name, answer.content)
        story.compare(example.location, answer.headers.get("location", ""), f"{example.name}: location")
        story.compare(example.answer, answer.body, example.name)


def test_the_examples_stand_in_the_document() -> None:
    """Each with its operation: its body, and its answer under its status."""
    for example in EXAMPLES:
        said = described(example.path, example.method)
        content = said["responses"][str(example.status)]["content"]
        assert all(each["examples"][example.name]["value"] == example.answer for each in content.values())
        if example.body is not None:
            assert said["requestBody"]["content"]["application/json"]["examples"][example.name]["value"] == example.body


def test_what_the_schema_of_a_body_lacks_is_refused() -> None:
    """Each field or group of a resource that a POST or PATCH has no place for, though it is known."""
    for _, method, operation in OPERATIONS:
        properties = settable(operation.resource, method)["properties"] if method in {"POST", "PATCH"} else {}
        for name, node in operation.resource.tree.members.items():
            if not properties or name in properties:
                continue
            declared = node.declared
            value: Any = "x" if isinstance(declared, Field) else [{}] if node.many else {}
            with pytest.raises(OntapError) as refused:
                check_body(operation.resource, {name: value}, method)
            refusal = declared.refusal if isinstance(declared, Field) else None
            assert refused.value.kind is (refusal or errors.FIELD_NOT_SETTABLE)
