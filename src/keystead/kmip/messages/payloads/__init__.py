"""Payloads, one file per operation, request and response together (KMIP 1.4 section 4, KMIP 2.1 section 6)."""
