"""Accounts and roles, and how a caller logs in."""
