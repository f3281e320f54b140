"""Messages, their attributes and objects, and the sans-I/O connection that carries them."""
