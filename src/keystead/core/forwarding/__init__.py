"""The rules of forwarding: where audit records and events are sent to, which of them, and how each is written."""
