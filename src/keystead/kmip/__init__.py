"""KMIP 1.0 to 2.1: a protocol library that needs nothing but the standard library."""
