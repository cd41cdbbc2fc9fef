"""Seeded phantoms with closed-form answers: volumes, images, photographs, slides, and their DICOM.

Same parameters, same bytes. Everything that must be right in the pipeline (positions, volumes,
flips, units) is tested against what a phantom states in formulas, never against another run.
"""

from pipeline.phantoms.anatomy import Phantom, PhantomParameters, Sphere, Tissue
from pipeline.phantoms.breast import BreastParameters, BreastPhantom, breast
from pipeline.phantoms.chest import chest
from pipeline.phantoms.head import Weighting, head
from pipeline.phantoms.image import ImageKind, ImageParameters, ImagePhantom, image
from pipeline.phantoms.pet import torso
from pipeline.phantoms.photo import PhotoKind, PhotoParameters, PhotoPhantom, loop, photo
from pipeline.phantoms.slide import SlideParameters, SlidePhantom, slide
from pipeline.phantoms.writing import (
    Written,
    write_breast,
    write_image,
    write_photo,
    write_series,
    write_slide,
)

__all__ = [
    "BreastParameters",
    "BreastPhantom",
    "ImageKind",
    "ImageParameters",
    "ImagePhantom",
    "Phantom",
    "PhantomParameters",
    "PhotoKind",
    "PhotoParameters",
    "PhotoPhantom",
    "SlideParameters",
    "SlidePhantom",
    "Sphere",
    "Tissue",
    "Weighting",
    "Written",
    "breast",
    "chest",
    "head",
    "image",
    "loop",
    "photo",
    "slide",
    "torso",
    "write_breast",
    "write_image",
    "write_photo",
    "write_series",
    "write_slide",
]
