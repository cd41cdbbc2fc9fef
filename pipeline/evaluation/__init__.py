"""Manifest, recipe, training loop, evaluation, bundle out."""
