"""The facts of one image instance that grouping and reading need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelElement:
    """Where the pixel data of a file lie."""

    #: of the first byte of the value, in the file (in the inflated data set where deflated)
    offset: int
    #: as declared; None = undefined, so encapsulated (PS3.5 A.4)
    length: int | None
    is_float: bool = False
    is_deflated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FramePlace:
    """What the functional groups say of one frame. Numbers present but invalid are NaN."""

    orientation: tuple[float, ...] | None
    #: centre of the first voxel, LPS mm
    position: tuple[float, ...] | None
    #: (between rows, between columns) in mm
    pixel_spacing: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    slice_thickness: float | None
    #: the FrameType, empty where none is stated
    image_type: tuple[str, ...]
    #: as ``InstanceHeader.phases``
    phases: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceHeader:
    """The facts of one image instance. Numbers that are present but invalid are NaN."""

    #: name in the source
    path: str
    size: int
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    transfer_syntax_uid: str
    modality: str
    image_type: tuple[str, ...]
    #: tells patients apart, says nothing of them: a keyed digest of the id; behind a "/", where
    #: the issuer of the id is stated, one of both
    patient_key: str
    series_number: int | None
    instance_number: int | None
    #: (row cosine, column cosine), PS3.3 C.7.6.2.1.1
    orientation: tuple[float, ...] | None
    #: centre of the first voxel, LPS mm
    position: tuple[float, ...] | None
    #: (between rows, between columns) in mm
    pixel_spacing: tuple[float, ...] | None
    imager_pixel_spacing: tuple[float, ...] | None
    slice_thickness: float | None
    #: a hint at most: spacing comes from positions
    spacing_between_slices: float | None = None
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    #: stored values from ``padding`` to ``padding_limit`` lie outside the image (PS3.3 C.7.5.1.1.2)
    padding: int | None
    padding_limit: int | None = None
    #: 0 = colour by pixel, 1 = colour by plane; None where not stated
    planar_configuration: int | None = None
    has_palette: bool = False
    slope: float | None
    intercept: float | None
    rescale_type: str
    has_modality_lut: bool
    pixels: PixelElement
    #: what functional groups say of each frame (PS3.3 C.7.6.16), in frame order; None where the
    #: object has none, or they tell nothing of place and values
    places: tuple[FramePlace, ...] | None
    #: one of several instances that together hold the frames of one object (PS3.3 C.7.6.16.2.2.4)
    is_concatenated: bool = False
    #: AnatomicalOrientationType QUADRUPED: the patient axes are those of an animal on four legs
    is_quadruped: bool = False
    #: a GE scout that its ImageType does not name: private (0019,1017) is 256
    is_ge_localizer: bool = False
    #: (keyword, text) of what tells phases of one scan apart, in the order of ``PHASE_KEYWORDS``
    phases: tuple[tuple[str, str], ...]
    #: HHMMSS.FFFFFF as stated, empty where absent
    acquisition_time: str = ""
    content_time: str = ""
    #: of PET: the number of the image, how many slices and time slices there are (PS3.3 C.8.9.4)
    image_index: int | None = None
    number_of_slices: int | None = None
    number_of_time_slices: int | None = None
    number_of_temporal_positions: int | None = None
    #: of PET: BQML, CNTS, GML, ...
    units: str = ""
    series_description: str
    body_part: str
    protocol: str
    kernel: str
    has_contrast: bool
    manufacturer: str
    model_name: str
    field_strength: float | None

    @property
    def is_colour(self) -> bool:
        """Say whether the pixels are colours: three samples, or indices into a palette."""
        return self.samples > 1 or self.photometric == "PALETTE COLOR"

    @property
    def has_geometry(self) -> bool:
        """Say whether the instance states a place in the patient, valid or not."""
        return self.position is not None and self.orientation is not None

    def pack(self) -> bytes:
        """Return the header as a few hundred bytes, for ``unpack``."""
        from pipeline.dicom.headers import packing

        return packing.pack(self)

    @staticmethod
    def unpack(packed: bytes) -> InstanceHeader:
        """Return the header that was packed.

        Raises:
            ValueError: the bytes are not of this version of ``pack``.

        """
        from pipeline.dicom.headers import packing

        return packing.unpack(packed)
