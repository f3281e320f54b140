"""Create a key: write its copies, count them, commit, activate."""
