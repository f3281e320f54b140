"""A key server for tests: real TLS, scriptable faults, and profiles of real products."""
