"""Seeded phantoms with closed-form answers: chests, heads, images, photographs, and their DICOM.

Same parameters, same bytes. Everything that must be right in the pipeline (positions, volumes,
flips, units) is tested against what a phantom states in formulas, never against another run.
"""

from pipeline.phantoms.anatomy import Phantom, PhantomParameters, Sphere, Tissue
from pipeline.phantoms.chest import chest
from pipeline.phantoms.head import Weighting, head
from pipeline.phantoms.image import ImageKind, ImageParameters, ImagePhantom, image
from pipeline.phantoms.photo import PhotoKind, PhotoParameters, PhotoPhantom, photo
from pipeline.phantoms.writing import Written, write_image, write_photo, write_series

__all__ = [
    "ImageKind",
    "ImageParameters",
    "ImagePhantom",
    "Phantom",
    "PhantomParameters",
    "PhotoKind",
    "PhotoParameters",
    "PhotoPhantom",
    "Sphere",
    "Tissue",
    "Weighting",
    "Written",
    "chest",
    "head",
    "image",
    "photo",
    "write_image",
    "write_photo",
    "write_series",
]
