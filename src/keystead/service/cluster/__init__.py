"""The cluster itself: nodes, SVMs, jobs, events, leases, incarnations of the database and the clock."""
