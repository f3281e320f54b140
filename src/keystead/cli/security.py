"""``keystead security``: ONTAP's verbs for key managers, certificates, accounts and the audit log."""

from __future__ import annotations

import click

from keystead.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "key-manager": "keystead.cli.security_key_manager:key_manager",
        "certificate": "keystead.cli.security_certificate:certificate",
        "login": "keystead.cli.security_login:login",
        "audit": "keystead.cli.security_audit:audit",
    },
)
def security() -> None:
    """Manage key managers, certificates, accounts and the audit log."""
