"""Codes of SVMs, the cluster, jobs, accounts, roles, audit. Source: their pages of the ONTAP REST API reference."""

from __future__ import annotations

from keystead.core.errors.table import row

JOB_INTERRUPTED = row(
    262145,
    503,
    "The job was interrupted: its node stopped. What it had done by then stays done.",
    "The service was stopped, or ended abruptly, while a job ran.",
)
