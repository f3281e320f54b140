"""Reports: counts, lists, and that the parsed content is the signed content."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys import report as module
from keystead.core.keys.model import Incarnation, Key, KeyState, KeyType
from keystead.core.keys.report import (
    About,
    Finding,
    ReportFindings,
    ReportKind,
    Result,
    canonical,
    parse,
    report,
    written,
)
from tests.core.factories import CLUSTER, NODE, key_manager, server

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVERS = (server("a.example:5696"), server("b.example:5696"), server("c.example:5696"))
A, B, C = (each.uuid for each in SERVERS)
DOMAIN_OF = {A: A, B: A, C: C}


def key(number: int) -> Key:
    """Return a key whose id is its number."""
    state, type_ = KeyState.COMMITTED, KeyType.VEK
    return Key(f"uuid-{number}", f"{number:080}", "km", None, f"name {number}", "", type_, state, 64, NOON)


def finding(place: str, result: Result = Result.PROVEN, state: str = "") -> Finding:
    """Return the finding at a server, or at a secondary: ``server/host``."""
    of, _, host = place.partition("/")
    return Finding(of, host, result, state, "" if result is Result.PROVEN else "reason")


def about(**changes: Any) -> About:
    """Return the heading of a report on a key manager with three servers, two of them in one domain."""
    values: dict[str, Any] = {
        "uuid": "report-1",
        "cluster": CLUSTER,
        "node": NODE,
        "key_manager": key_manager(),
        "incarnation": Incarnation("inc", 2, NOON, "restored", "here", destroys=False),
        "servers": SERVERS,
        "began": NOON,
        "ended": NOON,
    }
    return About(**(values | changes))


def found(kind: ReportKind, *keys: Sequence[Finding]) -> ReportFindings:
    """Count keys, numbered from 0."""
    made = ReportFindings(kind, DOMAIN_OF, SERVERS)
    for number, each in enumerate(keys):
        made.add(key(number), each)
    return made


MIXED: tuple[list[Finding], ...] = (
    [finding(A, state="Active"), finding(B, state="Active"), finding(f"{C}/c2", Result.MISSING)],
    [finding(A, state="Pre-Active"), finding(C)],
    [finding(A, Result.DIFFERENT), finding(C, Result.UNREACHABLE)],
    [],
)


def test_a_proof_counts_copies_and_domains_and_lists_what_is_not_proven() -> None:
    """Two servers of one domain count once; a key without any copy is listed as such."""
    made = report(about(), found(ReportKind.PROOF, *MIXED))
    assert made["keys"] == {"total": 4, "unreadable": 2, "by_domains": {"0": 2, "1": 1, "2": 1}}
    assert [each["results"] for each in made["servers"]] == [
        {"proven": 2, "different": 1},
        {"proven": 1},
        {"missing": 1, "proven": 1, "unreachable": 1},
    ]
    assert [(each["server"], each["uuid"]) for each in made["servers"]] == [
        (str(each.address), each.uuid) for each in SERVERS
    ]
    assert [each["states"] for each in made["servers"]] == [{"Active": 1, "Pre-Active": 1}, {"Active": 1}, {}]
    assert [each["replication_domain"] for each in made["servers"]] == [
        "a.example:5696",
        "a.example:5696",
        "c.example:5696",
    ]
    listed = [tuple(each.values()) for each in made["failures"]["listed"]]
    assert {tuple(each) for each in made["failures"]["listed"]} == {("key_id", "server", "result", "reason")}
    assert made["failures"]["total"] == 4
    assert listed == [
        (f"{0:080}", "c2", "missing", "reason"),
        (f"{2:080}", "a.example:5696", "different", "reason"),
        (f"{2:080}", "c.example:5696", "unreachable", "reason"),
        (f"{3:080}", "", "no_copy", ""),
    ]


@pytest.mark.parametrize("kind", ReportKind)
def test_counts_that_a_job_stored_go_on(kind: ReportKind) -> None:
    """After each key the counts can be written as JSON, and another process counts on."""
    whole, resumed = found(kind), found(kind)
    for number, each in enumerate(MIXED):
        whole.add(key(number), each)
        resumed.add(key(number), each)
        resumed = ReportFindings.resumed(kind, DOMAIN_OF, SERVERS, json.loads(json.dumps(resumed.as_json())))
    assert resumed == whole


def test_a_proof_counts_what_a_shared_secondary_has_as_lost_with_either() -> None:
    """A copy on a shared secondary adds no domain to a copy on one of its primaries, but one to a copy elsewhere."""
    shared = [replace(each, secondary_key_servers=("x",)) for each in SERVERS[1:]]
    made = ReportFindings(ReportKind.PROOF, {each: each for each in DOMAIN_OF}, [SERVERS[0], *shared])
    made.add(key(1), [finding(f"{B}/x"), finding(f"{C}/x")])
    made.add(key(2), [finding(B), finding(f"{B}/x"), finding(f"{C}/x")])
    made.add(key(3), [finding(A), finding(f"{B}/x"), finding(f"{C}/x")])
    assert made.by_domains == {1: 2, 2: 1}


def test_a_drill_lists_the_keys_that_were_not_read_with_what_was_found_on_the_way() -> None:
    """A key that some server returned is not a failure, though other servers failed; those results are counted."""
    made = report(about(), found(ReportKind.REBOOT_DRILL, *MIXED))
    assert made["keys"] == {"total": 4, "unreadable": 2}
    assert made["failures"]["total"] == 2
    assert [int(each["key_id"]) for each in made["failures"]["listed"]] == [2, 2, 3]
    assert made["servers"][2]["results"]["missing"] == 1


def test_failures_are_listed_up_to_a_limit() -> None:
    """All failures are counted, and the first ones are listed up to the limit."""
    made = ReportFindings(ReportKind.PROOF, DOMAIN_OF, SERVERS, most_listed=3)
    for number in range(5):
        made.add(key(number), [finding(A, Result.MISSING), finding(C, Result.REFUSED)])
    assert (made.failed, len(made.listed), made.unreadable) == (10, 3, 5)


def test_a_report_says_what_it_is_about() -> None:
    """A report names the cluster, node, incarnation and the key manager of an SVM or of the cluster."""
    made = report(about(), found(ReportKind.PROOF))
    assert made["format"] == module.FORMAT
    assert made["kind"] == "proof"
    assert (made["began"], made["ended"]) == ("2026-03-01T12:00:00+00:00",) * 2
    assert made["cluster"] == {"uuid": "c", "name": "keystead"}
    assert made["node"] == {"uuid": "n", "name": "keystead-01"}
    assert made["incarnation"] == {"uuid": "inc", "number": 2}
    assert made["key_manager"]["scope"] == "svm"
    assert made["key_manager"]["svm"]["name"] == "vs0"
    clusters = report(about(key_manager=key_manager(None)), found(ReportKind.PROOF))
    assert clusters["key_manager"] == {"uuid": "km", "scope": "cluster", "svm": None}


def test_what_is_parsed_is_what_was_signed() -> None:
    """The signed bytes do not depend on the order of names, on blanks, or on the escaping of characters."""
    made = report(about(), found(ReportKind.PROOF, *MIXED)) | {"text": "gr\u00fc\u00dfe \U0001f511"}
    text = written(made, "PEM", b"\x00\xff")
    assert text.endswith("}\n")
    file = json.loads(text)
    assert file["public_key"] == "PEM"
    for form in (text, json.dumps(file), json.dumps(dict(reversed(file.items())), ensure_ascii=False, indent=1)):
        parsed = parse(form)
        assert (parsed.message, parsed.signature) == (canonical(made), b"\x00\xff")
        assert parsed.report == made
    assert canonical(made).isascii()


def test_the_bytes_that_are_signed() -> None:
    """They are JSON with sorted names, without blanks, in ASCII; the file is the same with blanks, for people."""
    made = {"kind": "proof", "format": module.FORMAT, "keys": [1, "\u00fc"]}
    assert canonical(made) == b'{"format":"' + module.FORMAT.encode() + b'","keys":[1,"\\u00fc"],"kind":"proof"}'
    assert written({"format": "f"}, "PEM", b"\x00\xff") == (
        '{\n  "public_key": "PEM",\n  "report": {\n    "format": "f"\n  },\n  "signature": "AP8="\n}\n'
    )


WRITTEN = written({"format": module.FORMAT}, "PEM", b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{}",
        "\ufeff" + WRITTEN,
        '{"report": {}}',
        WRITTEN.replace('"signature": ""', '"signature": "?"'),
        WRITTEN.replace('"signature": ""', '"signature": 7'),
        WRITTEN.replace('"signature": ""', '"signature": "\u00fc"'),
        WRITTEN.replace('"signature": ""', '"signature": "", "report": {}'),
        WRITTEN.replace('"signature": ""', '"signature": "", "note": "all is well"'),
        WRITTEN.replace(f'"{module.FORMAT}"', f'"{module.FORMAT}", "x": 1.5'),
        WRITTEN.replace(f'"{module.FORMAT}"', f'"{module.FORMAT}", "x": NaN'),
        "[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(text: str) -> None:
    """Malformed reports are refused with one text, also ones with floats or repeated names, which are ambiguous."""
    with pytest.raises(ValueError, match="no signed report"):
        parse(text)


@pytest.mark.parametrize("inner", [[], {}, {"format": "keystead key report 2"}, "text", None])
def test_another_format_is_refused(inner: object) -> None:
    """A signed file with another format is refused."""
    with pytest.raises(ValueError, match="'keystead key report 1'"):
        parse(json.dumps({"report": inner, "signature": ""}))
