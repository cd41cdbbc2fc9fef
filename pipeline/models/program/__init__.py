"""Bundles run by what they state: MONAI's preprocessing, inferer and postprocessing."""
