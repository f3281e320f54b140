"""``keystead kmip probe``: the staged diagnosis of one key server, without a service.

It probes in the same way as adding a server does, under the same egress rules (``KEYSTEAD_EGRESS_ALLOW``,
``KEYSTEAD_EGRESS_ONLY``). The operator gives certificates as files. A password is never an option.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.commands import Group
from keystead.cli.login import hidden, kmip_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress

LIMIT_S: Final = 40.0  # the limit for a time-out of -1, as when a server is added
REFUSED: Final = 1
MARKS: Final = {"passed": ("\N{CHECK MARK}", "green"), "failed": ("\N{BALLOT X}", "bold red"), "skipped": ("-", "dim")}

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _server_name(_: click.Context, __: click.Parameter, value: str) -> str:
    from keystead.core.server_address import server_name

    try:
        return server_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group(cls=Group)
def kmip() -> None:
    """Diagnose KMIP key servers."""


@kmip.command()
@click.argument("server", metavar="HOST[:PORT]")
@click.option(
    "--client-cert",
    type=_FILE,
    required=True,
    help="Client certificate (PEM); its intermediates may follow in the file.",
)
@click.option(
    "--client-key",
    type=_FILE,
    required=True,
    help="Private key of the client certificate (PEM). The command asks for its passphrase, if any.",
)
@click.option(
    "--server-ca", type=_FILE, required=True, multiple=True, help="CA certificates of the key server (PEM); repeatable."
)
@click.option(
    "--timeout",
    type=click.IntRange(-1, 60),
    default=25,
    show_default=True,
    help="Limit in seconds; 0 means 1, -1 means 40.",
)
@click.option(
    "--username", default="", help="KMIP username. Its password comes from KEYSTEAD_KMIP_PASSWORD or a prompt."
)
@click.option(
    "--password-file", type=_FILE, help="Read the KMIP password from this file (one trailing newline is ignored)."
)
@click.option(
    "--tls-server-name",
    default="",
    callback=_server_name,
    metavar="NAME",
    help="Expect this name in the server's certificate, and send it as SNI, instead of the host.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def probe(ctx: click.Context, /, server: str, **flags: Any) -> None:
    """Probe a key server over mutual TLS and KMIP, stage by stage. The default port is 5696.

    Exit status: 0 accepted, 1 refused, 2 usage.

    Example: keystead kmip probe ks1 --client-cert client.pem --client-key client.key --server-ca ca.pem
    """
    from keystead.core.probing import ProbeTarget

    address = _address(server)
    identity = _identity(flags["client_cert"], flags["client_key"], flags["server_ca"])
    password = _password(flags["username"], flags["password_file"])
    limit_s = {0: 1.0, -1: LIMIT_S}.get(flags["timeout"], float(flags["timeout"]))
    name = flags["tls_server_name"]
    result = _probe(ProbeTarget(address, limit_s, flags["username"], password, server_name=name), identity)
    if flags["output"] == "json":
        click.echo(json.dumps(result.record(), indent=2))
    else:
        _show(result)
    ctx.exit(0 if result.accepted else REFUSED)


def _probe(target: ProbeTarget, identity: TlsIdentity) -> ProbeResult:
    import asyncio

    from keystead.keyservers.egress import EgressRules
    from keystead.keyservers.gateway import Gateway
    from keystead.settings import SettingsError, load

    try:
        settings = load({})
        rules = EgressRules.parse(settings.egress_allow, settings.egress_only)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except ValueError as error:
        raise click.UsageError(f"KEYSTEAD_EGRESS_ALLOW, KEYSTEAD_EGRESS_ONLY: {error}") from None
    (result,) = asyncio.run(Gateway(rules).probe_all([target], identity, target.timeout_s))
    return result


def _address(text: str) -> ServerAddress:
    from keystead.core.server_address import ServerAddress

    try:
        return ServerAddress.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="HOST[:PORT]") from None


def _identity(certificate: Path, key: Path, server_cas: Sequence[Path]) -> TlsIdentity:
    from keystead.core.probing import TlsIdentity

    leaf, *intermediates = _certificates(certificate, "--client-cert")
    cas = [each for path in server_cas for each in _certificates(path, "--server-ca")]
    return TlsIdentity(leaf, _private_key(key), tuple(intermediates), tuple(cas))


def _certificates(path: Path, option: str) -> list[str]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        raise click.BadParameter(f"{path} holds no certificate in PEM", param_hint=option) from None
    return [certificate.public_bytes(Encoding.PEM).decode() for certificate in found]


def _private_key(path: Path) -> Secret:
    """Return the private key. Ask on the terminal for the passphrase of an encrypted key."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    from keystead.core.secret import Secret

    content = path.read_bytes()
    try:
        try:
            key = load_pem_private_key(content, None)
        except TypeError:  # it is encrypted
            with hidden("passphrase", f"{path} is encrypted: give a key that is not, or use a terminal"):
                passphrase: str = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
            key = load_pem_private_key(content, passphrase.encode())
    except ValueError:
        raise click.BadParameter(
            f"{path} holds no private key in PEM, or the passphrase is wrong", param_hint="--client-key"
        ) from None
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _password(username: str, file: Path | None) -> Secret | None:
    from keystead.core.secret import Secret

    given = kmip_password(username, file)
    return None if given is None else Secret(given)


# --- output for people ---


def _show(result: ProbeResult) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from keystead.cli.findings import at_fault_in_words
    from keystead.core.errors.probe_reasons import ADVICE

    console = Console(highlight=False, soft_wrap=True)
    stages = Table.grid(padding=(0, 2))
    for stage in result.stages:
        mark, style = MARKS[stage.state]
        elapsed = "" if stage.state == "skipped" else f"{stage.elapsed_ms:.1f} ms"
        stages.add_row(
            Text(f"  {mark} {stage.stage}", style),
            Text(elapsed, "dim", justify="right"),
            Text(_cause(result) if stage.state == "failed" else "", style),
        )
    console.print(Text(f"Key server {result.server}", "bold"))
    console.print(stages)
    console.print()
    _show_learned(console, result.learned)
    if result.error is None:
        console.print(Text("Accepted", "bold green"))
        return
    console.print(Text(f"Refused: {result.error.code} {result.error.text}", "bold red"))
    if result.at_fault is not None:
        console.print(Text(f"At fault: {at_fault_in_words(result.record())}"))
    console.print(Text(ADVICE[result.reason or ""]))


def _cause(result: ProbeResult) -> str:
    return f"{result.reason}, rule {result.rule}" if result.rule else result.reason or ""


def _show_learned(console: Console, learned: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    if not learned:
        return
    table = Table.grid(padding=(0, 2))
    for name, value in _flattened(learned):
        table.add_row(Text("  " + name.replace("_", " "), "dim"), Text(value))
    console.print(table)
    console.print()


def _flattened(learned: Any, prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in learned.items():
        if isinstance(value, dict):
            rows += _flattened(value, f"{prefix}{name} ")
        else:
            rows.append((prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
