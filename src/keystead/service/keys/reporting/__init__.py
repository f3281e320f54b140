"""Report what would survive: verification of copies, drills and signed reports."""
