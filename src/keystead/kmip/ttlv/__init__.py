"""TTLV: items, declared structures, tags and enumerations."""
