"""Read a key: from this node's memory, or from its key servers."""
