"""The loop that looks at this node's key servers, and the metrics of the process."""
