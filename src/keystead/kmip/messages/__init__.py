"""Messages, their attributes and objects, and the connection protocol without I/O."""
