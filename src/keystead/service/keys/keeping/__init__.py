"""Keep copies complete: settle attempts, sweep servers, write missing copies."""
