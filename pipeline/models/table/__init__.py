"""The networks that a bundle's metadata may name, by where they come from. Data: no torch here."""
