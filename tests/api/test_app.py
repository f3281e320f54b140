"""keystead.api.app: paths, methods, envelopes and everything that holds for every resource."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api

SVMS = "/api/svm/svms"


@pytest.mark.parametrize(
    "path",
    [
        "/api/cluster",
        "/api/cluster/",
        "/api//cluster",
        "//api/cluster//",
        "/api/v1/cluster",
        "/api/v1//cluster/",
        "/api/clus%74er",
    ],
)
async def test_every_spelling_of_a_path_is_served(api: Api, path: str) -> None:
    """Doubled and trailing slashes, /api/v1 and percent-encoding reach the resource."""
    assert (await api.admin.get(path)).status == 200


@pytest.mark.parametrize(
    "path", ["/", "", "/api", "/api/v1", "/api/v2/cluster", "/api/nosuch", "/cluster", "/api/Cluster"]
)
async def test_an_unknown_path_is_code_3(api: Api, path: str) -> None:
    """Answer 404 "API not found" for what is not there, for every method."""
    for method in ("GET", "POST", "OPTIONS"):
        error = assert_error(await api.admin(method, path), errors.API_NOT_FOUND)
        assert error["message"] == "API not found"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "PURGE", "DELETE", "POST"])
async def test_a_method_that_is_not_there_is_405(api: Api, method: str) -> None:
    """Code 3 with the Allow header."""
    for path in ("/api/cluster/nodes", f"/api/support/ems/events/{ABSENT}/1"):
        answer = await api.admin(method, path)
        assert_error(answer, errors.METHOD_NOT_SUPPORTED)
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    if method not in {"PATCH", "DELETE", "POST"}:
        answer = await api.admin(method, SVMS)
        assert_error(answer, errors.METHOD_NOT_SUPPORTED)
        assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST"


async def test_options_name_the_methods(api: Api) -> None:
    """OPTIONS answers JSON and Allow."""
    answer = await api.readonly("OPTIONS", "/api/cluster")
    assert (answer.status, answer.body) == (200, {})
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PATCH"


async def test_head_has_the_headers_of_get(api: Api) -> None:
    """HEAD answers as GET does, without the body."""
    got = await api.admin.get(SVMS)
    head = await api.admin("HEAD", SVMS)
    assert head.headers == got.headers
    assert head.content == b""
    assert (await api.admin("HEAD", f"{SVMS}/x")).content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_read_takes_no_body(api: Api, method: str) -> None:
    """A body where none belongs is refused without being read."""
    answer = await api.admin(method, SVMS, {"name": "x"})
    assert answer.status == 400
    assert api.admin.body_reads == 0
    if method != "HEAD":
        assert_error(answer, errors.BODY_NOT_ALLOWED)


async def test_a_read_is_answered_with_a_type_of_content(api: Api) -> None:
    """Some clients send Content-Type with every GET."""
    assert (
        await api.admin.get(SVMS, headers={"content-type": "application/json", "x-dot-client-app": "x"})
    ).status == 200


@pytest.mark.parametrize("accept", ["*/*", "application/hal+json", None, "text/html"])
async def test_links_come_with_hal(api: Api, accept: str | None) -> None:
    """Collections link to themselves with their query string, records and members to themselves."""
    svm = (await api.admin.post(SVMS, {"name": "vs0"})).headers["location"]
    answer = await api.admin.get(f"{SVMS}?fields=%2A&name=vs0", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/hal+json"
    assert answer.body["_links"] == {"self": {"href": f"{SVMS}?fields=%2A&name=vs0"}}
    assert answer.body["records"][0]["_links"] == {"self": {"href": svm}}
    assert answer.body["num_records"] == 1


async def test_no_links_with_plain_json(api: Api) -> None:
    """``Accept: application/json`` has none but the next page's, which is in the Link header too."""
    for name in ("a", "b"):
        await api.admin.post(SVMS, {"name": name})
    plain = {"accept": "application/json"}
    answer = await api.admin.get(SVMS, headers=plain)
    assert answer.headers["content-type"] == "application/json"
    assert b"_links" not in answer.content
    answer = await api.admin.get(f"{SVMS}?max_records=1", headers=plain)
    assert list(answer.body["_links"]) == ["next"]  # without it the rest cannot be had
    href = answer.headers["link"].removeprefix("<").partition(">")[0]
    assert (await api.admin.get(href, headers=plain)).body["num_records"] == 1
    created = await api.admin.post(f"{SVMS}?return_records=true", {"name": "c"}, headers=plain)
    assert b"_links" not in created.content


async def test_pretty_answers_are_for_people(api: Api) -> None:
    """``pretty=true`` indents any answer: a list, an empty object, an error; what it says is the same."""
    for method, path, body in (
        ("GET", SVMS, None),
        ("OPTIONS", SVMS, None),
        ("GET", "/api/cluster", None),
        ("GET", "/api/nosuch", None),
        ("POST", SVMS, {}),
        ("DELETE", f"{SVMS}/{ABSENT}", None),
    ):
        plain = await api.admin(method, f"{path}?pretty=false", body)
        pretty = await api.admin(method, f"{path}?pretty=True", body)
        assert pretty.status == plain.status
        assert pretty.content == json.dumps(pretty.body, indent=2).encode() + b"\n"
        assert plain.content.count(b"\n") == 1
    assert_error(await api.admin.get(f"{SVMS}?pretty=maybe"), errors.INVALID_FIELD_VALUE, "pretty")


async def test_arguments_of_errors_can_be_left_out(api: Api) -> None:
    """X-Dot-Error-Arguments says whether an error holds ``arguments``; unless it is false, it does."""
    await api.admin.post(SVMS, {"name": "vs0"})
    for header, expected in (("true", True), (None, True), ("false", False), ("False", False)):
        answer = await api.admin.post(SVMS, {"name": "vs0"}, headers={"x-dot-error-arguments": header})
        assert ("arguments" in answer.body["error"]) is expected
    assert (await api.admin.get(SVMS, headers={"x-dot-anything": "\xff"})).status == 200


async def test_headers_of_every_answer(api: Api) -> None:
    """Nothing is stored or sniffed, in answers and errors alike."""
    for answer in (await api.admin.get(SVMS), await api.admin.get("/api/nosuch")):
        assert answer.headers["cache-control"] == "no-cache,no-store,must-revalidate"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content.startswith(b"{")
        assert int(answer.headers["content-length"]) == len(answer.content)


async def test_pages_are_followed_to_the_end(api: Api) -> None:
    """Each page links to the next with all parameters; together they are the list, in a stable order."""
    names = {f"vs{number}" for number in range(7)}
    for name in names:
        await api.admin.post(SVMS, {"name": name})
    url = f"{SVMS}?max_records=3&fields=name"
    seen: list[str] = []
    sizes: list[int] = []
    while url:
        page = (await api.admin.get(url)).body
        sizes.append(page["num_records"])
        seen += [record["name"] for record in page["records"]]
        url = page["_links"].get("next", {}).get("href", "")
        assert not url or (url.startswith("/api/") and "fields=name" in url and "max_records=3" in url)
    assert sizes == [3, 3, 1]
    assert set(seen) == names
    assert len(seen) == len(names)


async def test_without_records_only_the_number_comes(api: Api) -> None:
    """``return_records=False`` answers num_records alone."""
    await api.admin.post(SVMS, {"name": "vs0"})
    answer = (await api.admin.get(f"{SVMS}?return_records=False")).body
    assert answer == {"num_records": 1, "_links": {"self": {"href": f"{SVMS}?return_records=False"}}}


async def test_an_empty_collection_is_no_error(api: Api) -> None:
    """Nothing found is ``records: []`` and ``num_records: 0``."""
    for path in (SVMS, f"{SVMS}?name=nosuch", "/api/security/certificates", "/api/security/key-managers?scope=svm"):
        answer = (await api.admin.get(path)).body
        assert (answer["records"], answer["num_records"]) == ([], 0)


@pytest.mark.parametrize(
    "path",
    [
        f"{SVMS}/x",
        "/api/security/certificates/x",
        "/api/security/key-managers/x",
        "/api/security/key-managers/x/key-servers",
        "/api/security/key-managers/x/key-servers/a",
        "/api/cluster/nodes/x",
    ],
)
async def test_a_malformed_uuid_is_code_2(api: Api, path: str) -> None:
    """ONTAP's live text, status 404, target uuid."""
    error = assert_error(await api.admin.get(f"{path}?nosuch=1"), errors.INVALID_PATH_VALUE, "uuid")
    assert error["message"] == '"x" is an invalid value for field "uuid" (<UUID>)'


@pytest.mark.parametrize(
    "text", ["a" * 5000, "%00", "%0a%1b[31m", "%ff%fe", "{uuid}", "43e0c191-dc5c-11e8-9b2c-005056bb017"]
)
async def test_a_hostile_path_is_an_error_like_another(api: Api, text: str) -> None:
    """Refuse whatever stands in a path, in a read or a write."""
    assert_error(await api.admin.get(f"{SVMS}/{text}"), errors.INVALID_PATH_VALUE, "uuid")
    path = f"/api/security/certificates/{text}"
    assert_error(await api.admin.delete(path), errors.INVALID_PATH_VALUE, "uuid")
    (refused,) = await api.audit()
    assert refused.path.isprintable()


async def test_a_uuid_in_capitals_is_the_same(api: Api) -> None:
    """Uuids are compared without case."""
    location = (await api.admin.post(SVMS, {"name": "vs0"})).headers["location"]
    head, _, uuid = location.rpartition("/")
    assert (await api.admin.get(f"{head}/{uuid.upper()}")).body["uuid"] == uuid


async def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    """ONTAP's code for the fault, nothing changed, and a type of content is not needed."""
    assert_error(await api.admin.post(SVMS, b'{"name":'), errors.INVALID_JSON)
    assert_error(await api.admin.post(SVMS, b'{"name":"a","name":"b"}'), errors.FIELD_TWICE, "name")
    assert_error(await api.admin.post(SVMS, b'{"name":"\\ud800"}'), errors.JSON_OUT_OF_RANGE, "name")
    assert_error(await api.admin.post(SVMS), errors.MISSING_VALUE, "name")
    too_large = await api.admin.post(SVMS, b"x" * 65537)
    assert_error(too_large, errors.BODY_TOO_LARGE)
    assert too_large.headers["connection"] == "close"
    assert (await api.admin.get(SVMS)).body["num_records"] == 0
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await api.admin.post(SVMS, {"name": "vs0"}, headers=form)).status == 201
    assert (await api.admin.post(SVMS, chunks=[b'{"na', b'me":"vs1"}'])).status == 201
