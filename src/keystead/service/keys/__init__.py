"""The use cases of keys and their copies: write, read, keep, guard, destroy and report."""
