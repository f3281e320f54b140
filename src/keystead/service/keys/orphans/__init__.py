"""Objects under our names that no attempt accounts for: list and adopt them."""
