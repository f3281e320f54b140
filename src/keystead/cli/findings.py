"""What probes of key servers found, for people: one line for each server, and below it why some are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.output import print_below, print_records
from keystead.cli.reasons import advice_about, advice_without_reason
from keystead.cli.rest import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WHOSE: Final = {
    "server": "the server's certificate",
    "client": "our certificate",
    "server_ca": "the installed certificate",
}


def print_findings(records: Sequence[dict[str, Any]], form: str) -> None:
    """Print the records of a dry run. End the command with the exit status of a refusal if one is refused."""
    refused = [record for record in records if not record.get("accepted")]
    if form == "table":
        rows = [record | {"stage": _failed_stage(record)} for record in records]
        print_records(rows, ["server", "accepted", "failed_server", "stage", "code"], form)
        print_below(list(_why(refused)))
    else:
        print_records(records, (), form)
    if refused:
        click.get_current_context().exit(REFUSED)


def _why(refused: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why servers are refused: stage and reason, how far the probe came, what to do, and both chains."""
    advised: set[str] = set()
    for record in refused:
        stage, reason = _failed_stage(record), record.get("reason", "")
        facts = {"stage": stage, "reason": reason, "rule": record.get("rule")}
        named = ", ".join(f"{name} {word}" for name, word in facts.items() if word)
        yield f"{record.get('failed_server', record['server'])}: {named}"
        if record.get("stages"):
            yield f"  {', '.join(map(_outcome, record['stages']))}"
        advice = advice_about(reason) if reason else advice_without_reason(stage)
        if advice and advice not in advised:
            advised.add(advice)
            yield f"    {advice}"
        yield from _certificates(record)


def _certificates(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the certificate at fault, and what both sides showed, as far as the record has them."""
    if "at_fault" in record:
        yield f"  at fault: {at_fault_in_words(record)}"
    for title, name in (("the server showed", "certificates"), ("we showed", "client_certificates")):
        if record.get(name):
            yield f"  {title}:"
            yield from (f"    {_in_words(certificate)}" for certificate in record[name])


def at_fault_in_words(record: Mapping[str, Any]) -> str:
    """Return whose certificate is at fault, and which."""
    certificate = record["at_fault"]
    return f"{_WHOSE[certificate['whose']]} {_in_words(certificate)}"


def _in_words(certificate: Mapping[str, Any]) -> str:
    """Return what tells a certificate from others, and when it is valid."""
    valid = f"valid {certificate.get('start_time', '')[:10]} to {certificate['expiry_time'][:10]}"
    number = certificate["serial_number"]
    return f"{certificate['subject']}, issued by {certificate['issuer']}, {valid}, serial number {number}"


def _failed_stage(record: Mapping[str, Any]) -> str:
    """Return the stage that failed, or an empty text if none did. Accounts of SVMs are told only this stage."""
    failed = (str(stage["stage"]) for stage in record.get("stages", ()) if stage["state"] == "failed")
    return next(failed, str(record.get("stage", "")))


def _outcome(stage: Mapping[str, Any]) -> str:
    """Return what happened in a stage, with its time if it was run."""
    elapsed = "" if stage["state"] == "skipped" else f" {stage['elapsed_ms']:.1f} ms"
    return f"{stage['stage']} {stage['state']}{elapsed}"
