"""Forwarding of audit records and events: its configuration, and the delivery."""
