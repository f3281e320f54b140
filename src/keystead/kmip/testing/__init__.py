"""A key server for tests: over real TLS, with scriptable faults and the profiles of real products."""
