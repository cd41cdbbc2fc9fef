"""Analyses that the product ships. Data, no code."""
