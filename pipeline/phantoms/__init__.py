"""Seeded phantoms with closed-form answers: CT chest, MR head, single images, and their DICOM.

Same parameters, same bytes. Everything that must be right in the pipeline (positions, volumes,
flips, units) is tested against what a phantom states in formulas, never against another run.
"""

from pipeline.phantoms.anatomy import Phantom, PhantomParameters, Sphere, Tissue
from pipeline.phantoms.chest import chest
from pipeline.phantoms.head import Weighting, head
from pipeline.phantoms.image import ImageKind, ImageParameters, ImagePhantom, image
from pipeline.phantoms.writing import Written, write_image, write_series

__all__ = [
    "ImageKind",
    "ImageParameters",
    "ImagePhantom",
    "Phantom",
    "PhantomParameters",
    "Sphere",
    "Tissue",
    "Weighting",
    "Written",
    "chest",
    "head",
    "image",
    "write_image",
    "write_series",
]
