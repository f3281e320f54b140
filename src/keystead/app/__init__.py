"""The composition root: settings become adapters, services and the ASGI app. It alone knows all layers."""
