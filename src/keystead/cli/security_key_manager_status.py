"""``keystead security key-manager external show-status`` and ``probe``: which key servers are bad, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from keystead.cli.commands import Command
from keystead.cli.findings import print_findings
from keystead.cli.key_managers import own_key_manager_path
from keystead.cli.output import print_below, print_records
from keystead.cli.reasons import advice_about, advice_without_reason
from keystead.cli.rest import (
    api,
    api_command,
    check_svm,
    names,
    of_svm,
    one_svm,
    owner,
    owner_in_words,
    progress,
    svm_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_WORST_FIRST: Final = ("not_responding", "unknown", "available")
_HIDDEN: Final = ("keys", "canary_not_seen")
"""The stage and reason of a server that answers and does not show our keys."""

_NOT_LOOKED_AT: Final = "The node has not looked at the server yet, or gives no sign of life."


class Watched(NamedTuple):
    """A key server, and what each node says about it: the API's ``node_states``."""

    vserver: str
    server: str
    states: Sequence[Mapping[str, Any]]

    @property
    def worst(self) -> Mapping[str, Any]:
        """The words of the node that sees the server in the worst state."""
        return min(self.states, key=lambda state: _WORST_FIRST.index(state["state"]))

    @property
    def hidden_from(self) -> list[Mapping[str, Any]]:
        """The words of the nodes to which the server does not show our keys."""
        return [state for state in self.states if state.get("keys_visible") is False]


@click.command("show-status", cls=Command)
@api_command
@one_svm
def show_status(vserver: str | None, **flags: Any) -> None:
    """Show the state of each key server and since when, and below it what is wrong with bad ones and what to do.

    The state is the worst one that a node reports. The column "cert" has the days until the first certificate of the
    server's chain ends. The column "keys" says whether the server shows our keys. These two, and the reasons, are for
    accounts of the cluster.

    Example: keystead security key-manager external show-status
    """
    query = {"fields": "svm,external.servers.server,external.servers.connectivity"}
    with api(flags) as service:
        records = service.records("/security/key-managers", **query, **of_svm(vserver))
        if vserver and not records:
            check_svm(service, vserver)
            raise click.ClickException(f"SVM {vserver} has no key manager")
    watched = [
        Watched(svm_name(record), server["server"], server["connectivity"]["node_states"])
        for record in records
        for server in record.get("external", {}).get("servers", ())
        if "connectivity" in server
    ]
    if flags["output"] == "json":
        print_records([record for each in watched for record in _records(each)], (), "json")
    else:
        print_status(watched, ["server"] if vserver else ["vserver", "server"])


@click.command(cls=Command)
@api_command
@owner
@click.option(
    "--key-servers",
    callback=names,
    metavar="HOST[:PORT],...",
    help="Probe only these primary key servers; without it, all.",
)
def probe(vserver: str | None, key_servers: tuple[str, ...], **flags: Any) -> None:
    """Probe stored key servers now, with the stored certificates, and store nothing. Exit status 1 if one is refused.

    Example: keystead security key-manager external probe --vserver vs0 --key-servers ks1
    """
    with api(flags) as service, progress("probing the key servers"):
        path = f"{own_key_manager_path(service, vserver)}/probe"
        records = service.create(path, {"servers": list(key_servers)})
    if not records:
        raise click.ClickException(f"{owner_in_words(vserver)} has no key servers")
    print_findings(records, flags["output"])


def print_status(watched: Sequence[Watched], identity: Sequence[str]) -> None:
    """Print one line per key server, which the columns ``identity`` name, and below them what is wrong."""
    now = datetime.now(UTC)
    print_records([_row(each, now) for each in watched], [*identity, "state", "since", "cert", "keys"], "table")
    print_below(list(_faults(watched, identity)))


def _records(watched: Watched) -> Iterator[dict[str, Any]]:
    """Yield one record per node, with all that the node says."""
    for state in watched.states:
        yield {"vserver": watched.vserver, "server": watched.server, **state, "node": state["node"]["name"]}


def _row(watched: Watched, now: datetime) -> dict[str, Any]:
    """Return the cells of a server's line."""
    ends = [each["expiry_time"] for state in watched.states for each in state.get("certificates", ())]
    shows = {state["keys_visible"] for state in watched.states if "keys_visible" in state}
    return {
        "vserver": watched.vserver,
        "server": watched.server,
        "state": watched.worst["state"],
        "since": _in_utc(watched.worst.get("since")),
        "cert": f"{min((datetime.fromisoformat(end) - now).days for end in ends)}d" if ends else "",
        "keys": "no" if False in shows else "yes" if shows else "",
    }


def _faults(watched: Iterable[Watched], identity: Sequence[str]) -> Iterator[str]:
    """Yield the lines about what is wrong: server, stage and reason, which nodes say so, and once what to do."""
    advised: set[str] = set()
    for each in watched:
        for stage, reason, states in _wrong(each):
            facts = [f"{name} {word}" for name, word in (("stage", stage), ("reason", reason)) if word]
            yield f"{' '.join(getattr(each, name) for name in identity)}: {', '.join(facts) or states[0]['state']}"
            yield from _who_says_so(states, len(each.states))
            advice = _advice(stage, reason)
            if advice and advice not in advised:
                advised.add(advice)
                yield f"    {advice}"


def _wrong(watched: Watched) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """Yield what is wrong with a server: the stage and the reason, empty if not known, and what the nodes say of it."""
    worst = _fault(watched.worst)
    if watched.worst["state"] != "available":
        yield *worst[1:], [state for state in watched.states if _fault(state) == worst]
    if watched.hidden_from:
        yield *_HIDDEN, watched.hidden_from


def _fault(state: Mapping[str, Any]) -> tuple[str, str, str]:
    return state["state"], state.get("stage", ""), state.get("reason", "")


def _who_says_so(states: Sequence[Mapping[str, Any]], nodes: int) -> Iterator[str]:
    """Yield a line that says when the server was last available, and which of several nodes report the fault."""
    last = max((state["last_available"] for state in states if "last_available" in state), default=None)
    facts = [f"last available {_in_utc(last)}"] if last else []
    if nodes > 1:
        named = ", ".join(state["node"]["name"] for state in states)
        facts.append(f"reported by {len(states)} of {nodes} nodes: {named}")
    if facts:
        yield f"  {', '.join(facts)}"


def _advice(stage: str, reason: str) -> str:
    """Return what to do about a fault, in words."""
    if reason:
        return advice_about(reason)
    return advice_without_reason(stage) or _NOT_LOOKED_AT


def _in_utc(time: str | None) -> str:
    """Return a time of the API in UTC, to the minute; empty for none."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%MZ}" if time else ""
