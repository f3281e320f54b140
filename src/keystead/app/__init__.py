"""The composition root: it makes adapters, services and the ASGI app from the settings. It alone knows all layers."""
