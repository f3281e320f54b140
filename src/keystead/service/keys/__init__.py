"""Keys and their copies: written, read, kept, guarded, destroyed and reported."""
