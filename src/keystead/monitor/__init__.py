"""The loops that watch this node's key servers and keep its keys, and the metrics of the process."""
