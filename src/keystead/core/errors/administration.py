"""Codes of SVMs, the cluster, jobs, accounts, roles, audit. Source: their pages of the ONTAP REST API reference."""

from __future__ import annotations
