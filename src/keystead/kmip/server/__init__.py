"""The server side without I/O: operations on stored objects."""
