"""The template of a series is a DICOM file like any other."""

from __future__ import annotations

import io
from pathlib import Path

from pydicom import dcmwrite

from pipeline.dicom.sources.folder import RegularFile
from pipeline.dicom.writing.template import encode_template
from tests.pipeline.dicom import made_series as series


def test_a_template_is_the_file_that_a_library_writes_without_pixels(tmp_path: Path) -> None:
    one = series.instance(0)
    one.PatientComments = "odd"
    one.private_block(0x0011, "A VENDOR", create=True).add_new(1, "LO", "its own")
    series.write(tmp_path, [one])
    with RegularFile(tmp_path / "0001.dcm") as file:
        template, warnings = encode_template(file)
    one.remove_private_tags()
    del one.PixelData
    written = io.BytesIO()
    dcmwrite(written, one, enforce_file_format=True)
    assert (template, warnings) == (written.getvalue(), [])
