"""The REST layer: ONTAP's URLs, bodies and errors in front of the use cases. It holds no rule of key management."""
