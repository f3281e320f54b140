"""How much one GET may ask for, and that the most it may ask for neither fails nor keeps others waiting."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from keystead.api import collecting, turns
from keystead.api.app import create_app
from keystead.api.declared import Form
from keystead.api.query import QUERY_LIMIT
from keystead.api.resources import PATHS
from keystead.api.resources.certificates import CERTIFICATES
from keystead.app.initialise import initialise
from keystead.app.wiring import running
from keystead.core import errors
from keystead.core.certificates import subjects as certificates_subjects
from keystead.core.model import KeyManager, Svm
from keystead.core.query.filter import COMPARISON_LIMIT, WORD_LIMIT
from keystead.settings import Settings
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from keystead.api.resource import Field, Resource
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

MANAGERS = "/api/security/key-managers"
LISTED = "/api/security/certificates"
UUID = "11111111-1111-4111-8111-111111111111"
COLLECTIONS = {
    path: operations["GET"].resource
    for path, operations in sorted(PATHS.items())
    if "GET" in operations and operations["GET"].form in {Form.LIST, Form.LIST_OR_RESULTS}
}
OPERANDS = (
    "x",
    UUID,
    "1",
    "true",
    "2026-01-01T00:00:00Z",
    "a.example",
    "10.0.0.1",
    "a@b.example",
    "a:b",
    "XTS-AES-256",
    "0" * 80,
)
OF_CLUSTER_ONLY = str(errors.NO_CLUSTER_KEY_MANAGER.code)  # authentication keys, in an SVM's key manager
SHAPES = ("{0}", "!{0}", "<{0}", "{0}..{0}", "*{0}*", "!null")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Return a node's, on a database of each engine in turn."""
    made = Settings(data=tmp_path / "home", database=database_url)
    initialise(made, f"{PASSWORD}\n".encode(), terminal=False)
    return made


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[AsgiClient]:
    """Yield a client of a service that holds a few records."""

    def fill(tx: Transaction) -> None:
        svm = Svm(UUID, "vs0")
        tx.add_svm(svm)
        tx.add_key_manager(KeyManager(UUID, svm, enabled=True, client_certificate="", server_ca_certificates=(UUID,)))
        tx.add_key_servers([samples.key_server(position, manager=UUID) for position in range(3)])

    async with running(settings) as open_:
        await open_.store.write(fill)
        yield AsgiClient(create_app(open_.services), "admin", PASSWORD)


def operand(declared: Field) -> str:
    """Return a text that is a value of the field's type."""
    words: tuple[str, ...] = (*OPERANDS, *re.findall(r"\w+", declared.type.text))
    return next(filter(partial(_parses, declared), words))


def _parses(declared: Field, word: str) -> bool:
    try:
        declared.type.parse(word)
    except ValueError:
        return False
    return True


def alternatives(name: str, shapes: list[str]) -> str:
    """Return a filter of as many alternatives as can be, and fit into a URL."""
    filled = shapes * COMPARISON_LIMIT
    room = QUERY_LIMIT - len(f"{name}=&order_by=svm.name")
    return f"{name}=" + "|".join(filled[: min(COMPARISON_LIMIT, room // (max(map(len, shapes)) + 1))])


def filters(resource: Resource) -> Iterator[str]:
    """Queries of as many comparisons as can be: on each field, on all at once, by words."""
    asked = {name: operand(item) for name, item in resource.fields.items() if item.get is not None}
    for name, value in asked.items():
        for shape in SHAPES:
            yield alternatives(name, [shape.format(value)])
        yield alternatives(name, [shape.format(value) for shape in SHAPES])
        yield f"query_fields={name}&query=" + "+".join(map(str, range(WORD_LIMIT)))
    each = COMPARISON_LIMIT // len(asked)
    yield "&".join(f"{name}=" + "|".join(["!null"] * each) for name in asked)
    yield f"query_fields={','.join(asked)}&query=" + "+".join(map(str, range(min(each, WORD_LIMIT))))
    yield f"query_fields={','.join(asked)}&query=" + "|".join(map(str, range(each)))


@pytest.mark.long
@pytest.mark.parametrize("path", COLLECTIONS)
async def test_the_most_that_can_be_asked_for_is_answered(client: AsgiClient, path: str) -> None:
    """On every collection and both engines, also ordered by the owner's name."""
    resource = COLLECTIONS[path]
    assert resource is not None
    url = path.replace("{name}", "admin").replace("{owner}", UUID)
    url = re.sub(r"\{[^}]*\}", UUID, url)
    orders = ["", "&order_by=svm.name"] if "svm.name" in resource.fields and path == LISTED else [""]
    for query in filters(resource):
        for order in orders:
            answer = await client.get(f"{url}?{query}{order}")
            of_cluster_only = answer.status == 400 and answer.body["error"]["code"] == OF_CLUSTER_ONLY
            assert answer.status in {200, 404} or of_cluster_only, (query[:80], answer.content)
            if answer.status != 200:
                assert "{" in path


MANY = "|".join(["x"] * (COMPARISON_LIMIT + 1))
HALF = "|".join(["x"] * (COMPARISON_LIMIT // 2 + 1))


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (f"policy={MANY}", "policy"),
        (f"svm.name={HALF}&policy={HALF}", "policy"),
        (f"query=x&query_fields=policy&policy={'|'.join(['x'] * COMPARISON_LIMIT)}", "policy"),
        (f"query={MANY}&query_fields=policy", "query"),
        (f"query={HALF}&query_fields=policy,svm.name", "query"),
        (f"query=a+{HALF}&query_fields=policy,svm.name", "query"),
    ],
)
async def test_more_is_refused(api: Api, query: str, target: str) -> None:
    """262185 says how much can be: alternatives, filters, words and the fields that they are looked for in together."""
    error = assert_error(await api.readonly.get(f"{MANAGERS}?{query}"), errors.INVALID_VALUE, target)
    assert error["message"].endswith(f"Reason: more than {COMPARISON_LIMIT} comparisons in all")
    if "query" not in query:
        assert_error(await api.admin.delete(f"{MANAGERS}?{query}"), errors.INVALID_VALUE, target)


async def test_a_query_has_a_number_of_words(api: Api) -> None:
    """One more than can be is 262185."""
    asked = f"{MANAGERS}?query_fields=policy&query="
    assert (await api.readonly.get(asked + "+".join(["x"] * WORD_LIMIT))).status == 200
    error = assert_error(
        await api.readonly.get(asked + "+".join(["x"] * (WORD_LIMIT + 1))), errors.INVALID_VALUE, "query"
    )
    assert error["message"].endswith(f"more than {WORD_LIMIT} words")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/api/support/ems/events", "start.key"),
        ("/api/security/audit/messages", "start.key"),
        ("/api/security/roles", "start.place"),
    ],
)
async def test_a_place_that_no_link_writes_is_refused(api: Api, path: str, place: str) -> None:
    """262197, not an empty list."""
    assert_error(await api.readonly.get(f"{path}?{place}=zzz"), errors.INVALID_FIELD_VALUE, place)


async def test_a_value_is_taken_once_for_all_that_is_asked_of_it(
    api: Api, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many alternatives are compared with it."""
    await api.certificates(pki)
    taken: list[str] = []

    def counted(public_certificate: str) -> Any:
        taken.append(public_certificate)
        return certificates_subjects.NO_NAMES

    monkeypatch.setattr(certificates_subjects, "alternatives_in", counted)
    asked = "|".join(f"h{number}.example" for number in range(COMPARISON_LIMIT))
    answer = await api.readonly.get(f"{LISTED}?subject_alternatives.dns={asked}")
    assert answer.body["num_records"] == 0
    assert len(taken) == len((await api.readonly.get(LISTED)).body["records"]) == 2
    assert CERTIFICATES.fields["subject_alternatives.dns"].column is None


@pytest.fixture
async def listed(api: Api, pki: Pki) -> int:
    """Return how many certificates there are."""

    def fill(tx: Transaction) -> None:
        for number in range(40):
            uuid = f"{number:08}{UUID[8:]}"
            tx.add_certificate(samples.certificate(uuid, name=uuid, public_certificate=pki.server_ca.pem))

    await api.store.write(fill)
    return 40


@pytest.mark.parametrize(
    ("query", "loops"),
    [
        ("subject_alternatives.dns=*x*", 1),
        ("return_records=false", 1),
        ("fields=**", 3),
        ("fields=**&pretty=true", 3),
        ("name=nosuch", 0),
    ],
)
async def test_others_get_their_turn_between_records(
    api: Api, listed: int, monkeypatch: pytest.MonkeyPatch, query: str, loops: int
) -> None:
    """When they are compared, rendered and written as JSON: here every record is a turn's worth of work."""
    await api.readonly.get(LISTED)
    monkeypatch.setattr(turns, "_TURN_S", -1)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float) -> None:
        pauses.append(delay)
        await sleep(delay)

    monkeypatch.setattr(asyncio, "sleep", noted)
    answer = await api.readonly.get(f"{LISTED}?{query}")
    assert answer.status == 200
    assert pauses.count(0) == listed * loops


async def test_a_pause_lets_others_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when the turn is over."""
    seen: list[int] = []
    monkeypatch.setattr(turns, "_TURN_S", 1000)
    long = turns.Turns()
    monkeypatch.setattr(turns, "_TURN_S", -1)
    over = turns.Turns()
    asyncio.get_running_loop().call_soon(seen.append, 1)
    await long.pause()
    assert not seen
    await over.pause()
    assert seen == [1]


async def test_the_time_is_over_within_a_step_too(api: Api, listed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer holds what was found until then, and goes on where it ended; every answer gets on."""
    monkeypatch.setattr(collecting, "_LEAST_S", 0)
    url, answers, records = f"{LISTED}?subject_alternatives.dns=null&return_timeout=0", 0, []
    while url:
        answer = (await api.readonly.get(url)).body
        records += [record["uuid"] for record in answer["records"]]
        url = answer["_links"].get("next", {}).get("href", "")
        answers += 1
    assert len(records) == len(set(records)) == listed
    assert answers >= listed
