"""The server side, sans-I/O: operations on stored objects."""
