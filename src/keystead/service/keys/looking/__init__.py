"""Look for copies and canaries on one key server."""
