"""Public sets as they come, made into manifests: one layout for each way of storing labels."""

from pipeline.training.layouts.writing import LAYOUTS, Made, make

__all__ = ["LAYOUTS", "Made", "make"]
