"""Manifest, recipe, training loop, evaluation, bundle out."""

import pipeline.models  # noqa: F401, lets torchvision be imported beside any torch
