"""A stand-in for ONTAP in tests of others: a service, key servers with faults, a pytest plugin, ``keystead demo``."""
