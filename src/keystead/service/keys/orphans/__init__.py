"""Find, list and adopt orphans: objects under our names that no attempt of this incarnation accounts for."""
