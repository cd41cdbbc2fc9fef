"""Imports that must come before those of the tests."""

import pipeline.models  # noqa: F401, looks after torchvision before MONAI imports it
