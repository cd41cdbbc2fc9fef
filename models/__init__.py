"""Bundles that the product ships, each with its recipe, card and licence. Data, no code."""
