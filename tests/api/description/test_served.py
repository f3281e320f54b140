"""keystead.api.description.served and page: the description is readable without login, and runs its own script only."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import shlex
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from keystead import __version__
from keystead.api.description.openapi import document
from keystead.api.description.page import curl_line, page
from keystead.core import errors
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api

PAGES = ("/docs/api", "/docs/api/openapi.json")
ANONYMOUS = {"authorization": None}
BROWSER = ANONYMOUS | {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
_VOID = {"meta", "wbr", "input"}
_OPTIONAL = {"th"}  # HTML closes them by itself


class Reader(HTMLParser):
    """What the page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.identifiers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        if tag not in _VOID | _OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _OPTIONAL:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def read() -> Reader:
    reader = Reader()
    reader.feed(page())
    return reader


@pytest.mark.parametrize("path", PAGES)
async def test_it_is_read_without_login_and_is_the_same_for_everyone(api: Api, path: str) -> None:
    """Neither the account nor anything in the URL or the headers changes a byte."""
    plain = await api.admin.get(path, headers=ANONYMOUS)
    assert plain.status == 200
    for url, sent in ((f"{path}?<script>=1", ANONYMOUS), (f"{path}/", {"host": "<b>"}), (path, {"accept": "text/x"})):
        answer = await api.admin.get(url, headers=sent)
        assert (answer.status, answer.content) == (200, plain.content)


async def test_the_document_is_the_document(api: Api) -> None:
    """Return the document that is served at /docs/api/openapi.json."""
    answer = await api.admin.get(PAGES[1], headers=ANONYMOUS)
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == document()


def digest_of(element: str, content: bytes) -> str:
    """Return the source that allows the text of the page's only element of this name. Source: CSP level 3, 2.3.1."""
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", content.decode(), re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


async def test_the_description_may_run_its_own_script_and_load_nothing(api: Api) -> None:
    """Its policy allows its script and its style sheet by their digests, and nothing else; no frame may hold it."""
    answer = await api.admin.get("/docs/api", headers=BROWSER)
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; script-src {digest_of('script', answer.content)};"
        f" style-src {digest_of('style', answer.content)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )


async def test_the_start_page_may_load_and_run_nothing(api: Api) -> None:
    """Its policy allows its own style sheet by digest, and nothing else; no frame may hold it."""
    answer = await api.admin.get("/", headers=BROWSER)
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src {digest_of('style', answer.content)}; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


@pytest.mark.parametrize("path", ["/docs/api", "/"])
async def test_a_page_is_what_it_says_and_stays_out_of_frames(api: Api, path: str) -> None:
    answer = await api.admin.get(path, headers=BROWSER)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", PAGES)
async def test_it_is_kept_by_caches_until_it_changes(api: Api, path: str) -> None:
    """With its tag a second GET is 304 without a body; another tag, or none, brings it whole."""
    first = await api.admin.get(path, headers=ANONYMOUS)
    assert "max-age" in first.headers["cache-control"]
    again = await api.admin.get(path, headers=ANONYMOUS | {"if-none-match": first.headers["etag"]})
    assert (again.status, again.content) == (304, b"")
    other = await api.admin.get(path, headers=ANONYMOUS | {"if-none-match": '"x"'})
    assert (other.status, other.content) == (200, first.content)


@pytest.mark.parametrize("path", PAGES)
async def test_it_is_packed_for_who_takes_that(api: Api, path: str) -> None:
    """A tenth of the bytes, the same content, another tag."""
    plain = await api.admin.get(path, headers=ANONYMOUS)
    packed = await api.admin.get(path, headers=ANONYMOUS | {"accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 5
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("path", PAGES)
async def test_it_is_only_read(api: Api, path: str) -> None:
    """HEAD has the headers of GET, OPTIONS names the methods, the rest is 405, a body is refused."""
    whole = await api.admin.get(path, headers=ANONYMOUS)
    head = await api.admin("HEAD", path, headers=ANONYMOUS)
    assert (head.status, head.content, head.headers) == (200, b"", whole.headers)
    options = await api.admin("OPTIONS", path, headers=ANONYMOUS)
    assert (options.status, options.content) == (200, b"")
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    refused = await api.admin.post(path, headers=ANONYMOUS)
    assert_error(refused, errors.METHOD_NOT_SUPPORTED)
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    assert_error(await api.admin.get(path, body={}, headers=ANONYMOUS), errors.BODY_NOT_ALLOWED)


def test_the_page_is_well_formed_and_has_nothing_from_elsewhere(read: Reader) -> None:
    """Every element is closed; no image, no handler, no script from a file; links stay here."""
    assert read.open == []
    assert not read.tags & {"img", "link", "iframe", "object", "form", "base"}
    for _, name, value in read.attributes:
        assert not name.startswith("on")
        assert name not in {"src", "style"}
        assert name != "href" or value.startswith(("#", "/docs/api"))


def test_every_link_of_the_page_leads_somewhere(read: Reader) -> None:
    """Anchors exist, and each once."""
    assert len(read.identifiers) == len(set(read.identifiers))
    anchors = {value[1:] for _, name, value in read.attributes if name == "href" and value.startswith("#")}
    assert anchors <= set(read.identifiers)


def test_the_page_holds_every_operation_and_every_code(read: Reader) -> None:
    """GET, POST, PATCH and DELETE of each path, and each row of the error table."""
    said = [
        operation["operationId"]
        for item in document()["paths"].values()
        for method, operation in item.items()
        if method in {"get", "post", "patch", "delete"}
    ]
    assert {*said, *(f"e{kind.status}-{kind.code}" for kind in errors.TABLE)} <= set(read.identifiers)


def test_what_needs_the_script_is_hidden_until_it_runs(read: Reader) -> None:
    """The search, and one button for each operation."""
    hidden = [tag for tag, name, _ in read.attributes if name == "hidden"]
    buttons = [value for tag, name, value in read.attributes if (tag, name) == ("button", "data-curl")]
    assert hidden == ["div"] + ["p"] * len(buttons)
    operations = [value for tag, name, value in read.attributes if (tag, name) == ("details", "class")]
    assert len(buttons) == len(operations) > 100


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("get", "/api/security/key-managers/{uuid}", []),
        ("post", "/api/svm/svms", ["--header", "Content-Type: application/json", "--data", '{"name": "vs0"}']),
    ],
)
def test_an_operation_as_curl(method: str, path: str, words: list[str]) -> None:
    """A shell splits the line into what was meant. It names the account, and no password."""
    line = curl_line(path, method, document()["paths"][path][method])
    start = ["curl", "--user", "admin", "--request", method.upper()]
    assert shlex.split(line) == [*start, *words, "{origin}" + path]


async def test_a_browser_at_the_root_is_told_where_to_go(api: Api) -> None:
    """Without login and without the version; every link of the page leads to an answer."""
    answer = await api.admin.get("/", headers=BROWSER)
    assert answer.status == 200
    assert __version__ not in answer.content.decode()
    start = Reader()
    start.feed(answer.content.decode())
    assert start.open == []
    assert not start.tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    links = {value for _, name, value in start.attributes if name == "href"}
    assert links == {*PAGES, "/healthz", "/readyz", "/readyz/reads"}
    for link in links:
        assert (await api.admin.get(link, headers=ANONYMOUS)).status == 200
    head = await api.admin("HEAD", "/", headers=BROWSER)
    assert (head.status, head.content, head.headers) == (200, b"", answer.headers)
    assert answer.headers["vary"] == "accept, accept-encoding"
    again = await api.admin.get("/", headers=BROWSER | {"if-none-match": answer.headers["etag"]})
    assert (again.status, again.headers["vary"]) == (304, answer.headers["vary"])


@pytest.mark.parametrize(
    ("method", "path", "accept", "body"),
    [
        ("GET", "/", "application/json", None),
        ("GET", "/", "*/*", None),
        ("GET", "/", None, None),
        ("POST", "/", "text/html", None),
        ("OPTIONS", "/", "text/html", None),
        ("GET", "/", "text/html", {}),
        ("GET", "/api", "text/html", None),
        ("GET", "/index.html", "text/html", None),
    ],
)
async def test_everything_else_at_the_root_needs_a_login(
    api: Api, method: str, path: str, accept: str | None, body: object
) -> None:
    """In ONTAP's form, as everywhere."""
    answer = await api.admin(method, path, body, headers=ANONYMOUS | {"accept": accept})
    assert_error(answer, errors.AUTHENTICATION_FAILED)
