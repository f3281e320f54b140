"""The audit log: records of changes and of reads, in one chain per node."""
