"""Reports about a key manager's keys: counting what was found, and writing it as signed canonical JSON. Pure.

Canonical JSON has sorted keys, no blanks and ASCII only. Its values are texts, whole numbers, lists, objects and null.
So a program that parses a report and writes it again gets the bytes that were signed (a subset of RFC 8785). The
service reads the keys and signs.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from keystead.core.keys.domains import proven_domains_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Incarnation, Key
    from keystead.core.model import Cluster, KeyManager, KeyServer, Node

FORMAT: Final = "keystead key report 1"
"""The format of a report, in its field ``format``. The signature is bound to this text."""

_MEMBERS: Final = frozenset({"report", "public_key", "signature"})

MOST_LISTED: Final = 1000
"""How many failures a report lists. It counts all of them."""

NOT_WRITTEN: Final = "not_written"
"""The reason of a copy that is missing because nothing was ever sent or asked for there."""

MAX_REPORTS: Final = 100
"""How many reports of a key manager are stored. Older ones are deleted."""


class ReportKind(StrEnum):
    """The question that a report answers.

    ``proof``: which copies are there. ``reboot_drill``: which keys can be read from the key servers alone.
    """

    PROOF = "proof"
    REBOOT_DRILL = "reboot_drill"


class Result(StrEnum):
    """The result of reading one copy.

    ``missing``: the server shows its canary, but not the copy. With the reason :data:`NOT_WRITTEN` it means that no
    copy was written yet in the server's replication domain. ``not_shown``: the server does not show its canary, so
    that nothing is concluded. ``unreachable``: no answer came. ``unsettled``: the object of the copy is not
    known yet. ``no_copy``: no copy of the key is known at all.
    """

    PROVEN = "proven"
    DIFFERENT = "different"
    MISSING = "missing"
    NOT_SHOWN = "not_shown"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNSETTLED = "unsettled"
    NO_COPY = "no_copy"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one copy. ``state`` is the KMIP State; it is empty if there is none or nobody asked for it.

    ``host`` is the secondary from which the copy was read, empty for the primary. ``reason`` is a fixed word for a
    failure.
    """

    key_server: str
    host: str
    result: Result
    state: str = ""
    reason: str = ""


@dataclass(slots=True)
class ReportFindings:
    """The counts of a report, added up key by key. ``listed`` are the first failures, at most ``most_listed``.

    ``failed`` is the number of all failures.
    """

    kind: ReportKind
    domain_of: Mapping[str, str]
    servers: Sequence[KeyServer]
    most_listed: int = MOST_LISTED
    keys: int = 0
    failed: int = 0
    by_domains: Counter[int] = field(default_factory=Counter)
    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    listed: list[tuple[str, Finding]] = field(default_factory=list)

    @property
    def unreadable(self) -> int:
        """The number of keys that were proven in no domain: no server returned their material."""
        return self.by_domains[0]

    def add(self, key: Key, found: Sequence[Finding]) -> None:
        """Count a key. ``found`` are the findings about its copies.

        In a proof each copy that was not proven is a failure. In a drill each key that was not read is one failure,
        listed with everything that was found. A key without any finding is a failure, too: ``no_copy``. Called for each
        key by the job that makes the report.
        """
        proven = [each for each in found if each.result is Result.PROVEN]
        self.keys += 1
        at = [(each.key_server, each.host) for each in proven]
        self.by_domains[len(proven_domains_at(at, self.domain_of, self.servers))] += 1
        self.results.update((each.key_server, each.result.value) for each in found)
        self.states.update((each.key_server, each.state) for each in proven if each.state)
        if self.kind is ReportKind.REBOOT_DRILL:
            self._list_failures(key, () if proven else found or _NO_COPY, 0 if proven else 1)
        else:
            failed = [each for each in found or _NO_COPY if each.result is not Result.PROVEN]
            self._list_failures(key, failed, len(failed))

    def as_json(self) -> dict[str, Any]:
        """Return the counts as a JSON object, for :meth:`resumed`: a job stores them after each page of keys."""
        return {
            "keys": self.keys,
            "failed": self.failed,
            "by_domains": [*map(list, self.by_domains.items())],
            "results": [[*of, number] for of, number in self.results.items()],
            "states": [[*of, number] for of, number in self.states.items()],
            "listed": [[key_id, *astuple(finding)] for key_id, finding in self.listed],
        }

    @classmethod
    def resumed(
        cls, kind: ReportKind, domain_of: Mapping[str, str], servers: Sequence[KeyServer], said: Mapping[str, Any]
    ) -> ReportFindings:
        """Return the findings that :meth:`as_json` wrote, of the same servers."""
        return cls(
            kind,
            domain_of,
            servers,
            keys=said["keys"],
            failed=said["failed"],
            by_domains=Counter(dict(said["by_domains"])),
            results=Counter({(server, word): number for server, word, number in said["results"]}),
            states=Counter({(server, word): number for server, word, number in said["states"]}),
            listed=[
                (key_id, Finding(server, host, Result(result), state, reason))
                for key_id, server, host, result, state, reason in said["listed"]
            ],
        )

    def _list_failures(self, key: Key, failed: Sequence[Finding], number: int) -> None:
        """Add to the failures: ``number`` to their count, and findings to the list until the list is full."""
        self.failed += number
        self.listed += [(key.key_id, each) for each in failed[: self.most_listed - len(self.listed)]]


_NO_COPY = (Finding("", "", Result.NO_COPY),)


@dataclass(frozen=True, slots=True)
class About:
    """The subject of a report, who made it, and when."""

    uuid: str
    cluster: Cluster
    node: Node
    key_manager: KeyManager
    incarnation: Incarnation
    servers: Sequence[KeyServer]
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class KeyReport:
    """A report as it is stored. ``document`` is the signed text; it is empty in lists, which show the rest."""

    uuid: str
    key_manager: str
    kind: ReportKind
    time: datetime
    keys: int
    unreadable: int
    failed: int
    document: str = field(default="", repr=False)


def report(about: About, findings: ReportFindings) -> dict[str, Any]:
    """Return the report as a JSON object. It is not signed or stored yet.

    Called at the end of a verification or a reboot drill.
    """
    svm = about.key_manager.svm
    addresses = {server.uuid: str(server.address) for server in about.servers}
    keys: dict[str, Any] = {"total": findings.keys, "unreadable": findings.unreadable}
    if findings.kind is ReportKind.PROOF:
        keys["by_domains"] = {str(domains): number for domains, number in findings.by_domains.items()}
    return {
        "format": FORMAT,
        "kind": findings.kind.value,
        "uuid": about.uuid,
        "began": about.began.isoformat(),
        "ended": about.ended.isoformat(),
        "cluster": {"uuid": about.cluster.uuid, "name": about.cluster.name},
        "node": {"uuid": about.node.uuid, "name": about.node.name},
        "incarnation": {"uuid": about.incarnation.uuid, "number": about.incarnation.number},
        "key_manager": {
            "uuid": about.key_manager.uuid,
            "scope": "svm" if svm else "cluster",
            "svm": {"uuid": svm.uuid, "name": svm.name} if svm else None,
        },
        "keys": keys,
        "servers": [
            {
                "server": addresses[server.uuid],
                "uuid": server.uuid,
                "replication_domain": addresses[findings.domain_of[server.uuid]],
                "results": _counted(findings.results, server.uuid),
                "states": _counted(findings.states, server.uuid),
            }
            for server in about.servers
        ],
        "failures": {
            "total": findings.failed,
            "listed": [
                {
                    "key_id": key_id,
                    "server": each.host or addresses.get(each.key_server, ""),
                    "result": each.result.value,
                    "reason": each.reason,
                }
                for key_id, each in findings.listed
            ],
        },
    }


def _counted(counts: Counter[tuple[str, str]], server: str) -> dict[str, int]:
    """Return the counts of one server (uuid), by result or by State."""
    return {word: number for (of, word), number in counts.items() if of == server}


# --- the signed bytes, and the file ---


def canonical(report: Mapping[str, Any]) -> bytes:
    """Return the bytes of a report that are signed: canonical JSON.

    Called to sign a report, and to check the signature of a report's file.
    """
    return json.dumps(report, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def written(report: Mapping[str, Any], public: str, signature: bytes) -> str:
    """Return the text of the file of a signed report. It is stored in the database, as the report's document.

    ``public`` is only a hint: a reader must check the signature with a copy of the public key from another place.
    """
    signed = {"report": report, "public_key": public, "signature": base64.b64encode(signature).decode()}
    return json.dumps(signed, sort_keys=True, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class SignedReport:
    """The parts of a report's file."""

    report: Mapping[str, Any]
    signature: bytes

    @property
    def message(self) -> bytes:
        """The bytes that the signature covers."""
        return canonical(self.report)


def parse(text: str) -> SignedReport:
    """Return the parts of a report's file. Raises ValueError if it is not such a file, or has other members.

    Trust the parts only after the signature was checked. Called when a user checks a file offline.
    """
    try:
        file = json.loads(text, parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_with_unique_names)
        if not file.keys() <= _MEMBERS:  # so that an unsigned member is not taken for a part of the report
            raise ValueError("another member")
        report, signature = file["report"], base64.b64decode(file["signature"], validate=True)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, binascii.Error):
        raise ValueError("this is no signed report") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise ValueError(f"this is no {FORMAT!r}")
    return SignedReport(report, signature)


def _with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict. Raise ValueError if a name is there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(text: str) -> None:
    """Raise ValueError for a number that is not whole, because canonical JSON has none."""
    raise ValueError(text)
