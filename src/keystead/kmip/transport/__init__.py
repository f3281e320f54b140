"""TLS over plain sockets: connect, handshake, sessions, alerts."""
