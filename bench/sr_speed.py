"""How long does a DICOM SR take to write? Ours and highdicom's own writing, interleaved.

    python -m bench.sr_speed [--rounds 7]

A report of 1 and of 10 segments in a CT of 120 slices is built and saved to bytes, on one thread,
from a header that is in memory. highdicom is given ready source data sets, which cost nothing
here, and writes the library of images too. Exits with 1 where the median of ours is above 0.06 s
at 1 segment.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from bench.seg_speed import PROVENANCE, measure, segments, volume
from pipeline.dicom.writing.source_images import source_dataset
from pipeline.dicom.writing.sr import write_sr
from pipeline.results import Segment

#: seconds at 1 segment
MUST: Final = 0.06


def by_highdicom(sources: Sequence[Dataset], described: Sequence[Segment]) -> bytes:
    """Write a report of the same segments with highdicom alone."""
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=PROVENANCE.uid("device"), name="bench"
        ),
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept("77477000", "SCT", "Computed tomography"),
        imaging_measurements=[_group(segment) for segment in described],
        referenced_images=sources,
    )
    document = hd.sr.Comprehensive3DSR(
        evidence=sources,
        content=report[0],
        series_instance_uid=PROVENANCE.uid("report series"),
        series_number=1,
        sop_instance_uid=PROVENANCE.uid("report"),
        instance_number=1,
        manufacturer="bench",
    )
    buffer = io.BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _group(segment: Segment) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    assert segment.code is not None
    millilitres = hd.sr.CodedConcept("mL", "UCUM", "milliliter")
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=PROVENANCE.uid(f"segment {segment.number}"), identifier=segment.label
        ),
        finding_type=hd.sr.CodedConcept(
            segment.code.value, segment.code.scheme, segment.code.meaning
        ),
        algorithm_id=hd.sr.AlgorithmIdentification(name="bench", version="1"),
        measurements=[
            hd.sr.Measurement(name=codes.SCT.Volume, value=segment.volume_ml, unit=millilitres)
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.sr_speed", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    source = volume()
    assert source.header is not None
    images = [source_dataset(source.header, one) for one in source.header.instances]
    print("medians of", rounds, "interleaved rounds;", len(images), "slices")
    print("segments     ours  highdicom   ratio  kB ours  kB theirs")
    is_missed = False
    for count in (1, 10):
        described = segments(count)
        ways: dict[str, Callable[[], bytes]] = {
            "ours": partial(write_sr, source, described, PROVENANCE, segmentation=None),
            "theirs": partial(by_highdicom, images, described),
        }
        found = measure(ways, rounds)
        (ours, size), (theirs, their_size) = found["ours"], found["theirs"]
        print(
            f"{count:8}{1000 * ours:6.0f} ms{1000 * theirs:8.0f} ms"
            f"{theirs / ours:7.1f}x{size / 1e3:9.0f}{their_size / 1e3:11.0f}"
        )
        is_missed |= count == 1 and ours > MUST
    print(f"must {'missed' if is_missed else 'met'}: {MUST} s at 1 segment")
    return 1 if is_missed else 0


if __name__ == "__main__":
    sys.exit(main())
