"""Guard keys while key servers are removed or moved, and while client certificates change."""
