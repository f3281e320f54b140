"""What needs somebody: one item for each thing that is wrong. Pure; callers pass what is stored."""
