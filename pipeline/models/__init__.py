"""Bundles, networks by name, and predictors on warm models."""
