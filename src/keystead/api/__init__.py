"""The REST face: ONTAP's URLs, bodies and errors over the use cases. It holds no rule of key management."""
