"""Keystead: an external key manager for storage, managed through the ONTAP REST API."""

__version__ = "0.2.0.dev0"
