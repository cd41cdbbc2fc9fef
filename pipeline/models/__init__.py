"""Bundles, networks by name, and predictors on warm models."""

from pipeline.models import torchvision_operators

# MONAI imports torchvision where it is installed, so this comes before MONAI.
torchvision_operators.install()
