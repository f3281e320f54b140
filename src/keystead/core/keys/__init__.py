"""Keys and their copies on key servers: the rules that keep an acknowledged key from ever being lost. Pure."""
