"""How long does a DICOM SEG take to write? Ours and highdicom's own writing, interleaved.

    python -m bench.seg_speed [--rounds 7]

A label map of 120 x 512 x 512 with 1, 10 and 50 ellipsoid organs is built into an object and saved
to bytes, on one thread, from a header that is in memory. highdicom is given ready source data
sets, which cost nothing here. Exits with 1 where the median of ours at 50 segments is above 0.15 s
as LABELMAP or 0.35 s as BINARY.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline import phantoms
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.seg_segments import descriptions
from pipeline.dicom.writing.source_images import source_dataset
from pipeline.phantoms.chest import DEFAULT
from pipeline.results import Code, Segment
from pipeline.volume import SourceHeader, SourceInstance, Volume

SHAPE: Final = (120, 512, 512)
SPACING: Final = (2.5, 0.78125, 0.78125)
#: seconds at 50 segments
MUSTS: Final = {Encoding.LABELMAP: 0.15, Encoding.BINARY: 0.35}
PROVENANCE: Final = Provenance(
    job_id="00000000-0000-4000-8000-000000000000",
    step="organs",
    model_name="bench",
    model_version="1",
    model_digest="ab" * 32,
    software_version="0",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def volume() -> Volume:
    """Return a CT volume whose header comes from files of a phantom (of fewer pixels)."""
    small = replace(DEFAULT, shape=(SHAPE[0], 16, 16), spacing=(SPACING[0], 25.0, 25.0), lesions=0)
    with tempfile.TemporaryDirectory() as folder:
        paths = phantoms.write_series(phantoms.chest(small), Path(folder)).paths
        datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    affine = np.diag([*SPACING, 1.0])[:, [2, 1, 0, 3]]
    header = SourceHeader(
        template=_of_full_size(datasets[0]),
        instances=tuple(
            SourceInstance(
                sop_class_uid=str(dataset.SOPClassUID),
                sop_instance_uid=str(dataset.SOPInstanceUID),
                position=(0.0, 0.0, index * SPACING[0]),
            )
            for index, dataset in enumerate(datasets)
        ),
        study_instance_uid=str(datasets[0].StudyInstanceUID),
        series_instance_uid=str(datasets[0].SeriesInstanceUID),
        frame_of_reference_uid=str(datasets[0].FrameOfReferenceUID),
        modality="CT",
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing=SPACING[1:],
    )
    return Volume(stored=np.zeros(SHAPE, np.int16), affine=affine, header=header)


def _of_full_size(dataset: Dataset) -> bytes:
    dataset.Rows, dataset.Columns = SHAPE[1:]
    dataset.PixelSpacing = list(SPACING[1:])
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def organs(count: int) -> NDArray[np.uint8]:
    """Return ``count`` ellipsoids inside a body; later ones lie over earlier ones."""
    rng = np.random.default_rng(count)
    labels = np.zeros(SHAPE, np.uint8)
    for number in range(1, count + 1):
        radii = rng.uniform((8, 15, 15), (30, 70, 70))
        centre = rng.uniform(np.array((0, 90, 60)) + radii, np.array((120, 420, 450)) - radii)
        box = tuple(
            slice(max(int(c - r), 0), int(c + r) + 2) for c, r in zip(centre, radii, strict=True)
        )
        grids = np.ogrid[box]
        distance = sum(
            ((grid - c) / r) ** 2 for grid, c, r in zip(grids, centre, radii, strict=True)
        )
        labels[box][distance[: labels[box].shape[0]] <= 1] = number
    return labels


def segments(count: int) -> list[Segment]:
    liver = Code(scheme="SCT", value="10200004", meaning="Liver")
    return [
        Segment(number=n, label=f"Organ {n}", voxels=0, volume_ml=0.0, centroid=None, code=liver)
        for n in range(1, count + 1)
    ]


def by_highdicom(
    sources: Sequence[Dataset],
    label_map: NDArray[np.uint8],
    described: Sequence[Segment],
    encoding: Encoding,
) -> bytes:
    """Write the same object with highdicom alone."""
    syntax = {
        Encoding.BINARY: pydicom.uid.ExplicitVRLittleEndian,
        Encoding.LABELMAP: pydicom.uid.RLELossless,
    }
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=label_map,
        segmentation_type=encoding.value,
        segment_descriptions=descriptions(described, PROVENANCE),
        series_instance_uid=PROVENANCE.uid("series"),
        series_number=1,
        sop_instance_uid=PROVENANCE.uid("instance"),
        instance_number=1,
        manufacturer="bench",
        manufacturer_model_name="bench",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax[encoding],
    )
    buffer = io.BytesIO()
    seg.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def measure(ways: dict[str, Callable[[], bytes]], rounds: int) -> dict[str, tuple[float, int]]:
    """Return the median seconds and the size in bytes of each way; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            sizes[name] = len(way())
            seconds[name].append(time.perf_counter() - start)
    return {name: (statistics.median(seconds[name][1:]), sizes[name]) for name in ways}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.seg_speed", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    source = volume()
    assert source.header is not None
    images = [source_dataset(source.header, one) for one in source.header.instances]
    print("medians of", rounds, "interleaved rounds; label map", " x ".join(map(str, SHAPE)))
    print("segments encoding       ours  highdicom   ratio  MB ours  MB theirs")
    missed = []
    for count in (1, 10, 50):
        label_map, described = organs(count), segments(count)
        for encoding in Encoding:
            ways: dict[str, Callable[[], bytes]] = {
                "ours": partial(
                    write_seg, source, label_map, described, PROVENANCE, encoding=encoding
                ),
                "theirs": partial(by_highdicom, images, label_map, described, encoding),
            }
            found = measure(ways, rounds)
            (ours, size), (theirs, their_size) = found["ours"], found["theirs"]
            print(
                f"{count:8} {encoding:9}{1000 * ours:7.0f} ms{1000 * theirs:8.0f} ms"
                f"{theirs / ours:7.1f}x{size / 1e6:9.1f}{their_size / 1e6:11.1f}"
            )
            if count == 50 and ours > MUSTS[encoding]:
                missed.append(f"{encoding}: {ours:.3f} s, must {MUSTS[encoding]} s")
    print("\n".join(missed) or "musts met: " + ", ".join(f"{k} {v} s" for k, v in MUSTS.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
