"""The asyncio client: one connection, pipelines and a pool."""
