"""Headers of any content, for tests of what keeps them."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import strategies as st

from pipeline.dicom.headers.instance import FramePlace, InstanceHeader, PixelElement

_NUMBER = st.floats(allow_infinity=False) | st.just(math.nan)
TEXT = st.text(max_size=64)
UID = st.text("0123456789.", min_size=1, max_size=64)
_PHASES = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)


def _numbers(count: int) -> st.SearchStrategy[tuple[float, ...] | None]:
    return st.none() | st.tuples(*[_NUMBER] * count)


_PLACES = st.builds(
    FramePlace,
    orientation=_numbers(6),
    position=_numbers(3),
    pixel_spacing=_numbers(2),
    slope=st.none() | _NUMBER,
    intercept=st.none() | _NUMBER,
    rescale_type=TEXT,
    slice_thickness=st.none() | _NUMBER,
    image_type=st.lists(TEXT, max_size=3).map(tuple),
    phases=_PHASES,
)
_PIXELS = st.builds(
    PixelElement,
    offset=st.integers(0, 2**63),
    length=st.none() | st.integers(0, 2**32 - 2),
    is_float=st.booleans(),
    is_deflated=st.booleans(),
)
#: of the same type as the field, chosen by what its annotation says
_BY_ANNOTATION: dict[str, st.SearchStrategy[object]] = {
    "str": TEXT,
    "str | None": st.none() | UID,
    "int": st.integers(0, 2**40),
    "int | None": st.none() | st.integers(-(2**40), 2**40),
    "bool": st.booleans(),
    "float | None": st.none() | _NUMBER,
    "tuple[str, ...]": st.lists(TEXT, max_size=4).map(tuple),
    "tuple[float, ...] | None": _numbers(3),
    "PixelElement": _PIXELS,
    "tuple[FramePlace, ...] | None": st.none() | st.lists(_PLACES, max_size=3).map(tuple),
    "tuple[tuple[str, str], ...]": _PHASES,
}
HEADERS = st.builds(
    InstanceHeader,
    **{f.name: _BY_ANNOTATION[str(f.type)] for f in dataclasses.fields(InstanceHeader)},
)
