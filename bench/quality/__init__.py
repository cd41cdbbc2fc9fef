"""How good what Nightshift trains really is: its own recipes, from nothing, on public data."""
