"""All DICOM objects of one answer: what the analysis asks for, by the writer of each kind."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pipeline.dicom.writing.derived import write_derived
from pipeline.dicom.writing.parametric_map import write_parametric_map
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.secondary_capture import write_summary
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.seg_fractional import write_fractional_seg
from pipeline.dicom.writing.sr import reference_to, write_sr
from pipeline.results import Prediction, Segment
from pipeline.volume import Input


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """One DICOM file."""

    #: unique among the objects of an answer
    name: str
    #: the output of the analysis that asked for it
    kind: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ObjectWriter:
    """Writes the objects of one prediction."""

    source: Input
    prediction: Prediction
    provenance: Provenance
    #: base of the file names
    name: str

    def write(self, outputs: Collection[str]) -> Iterator[WrittenObject]:
        """Yield what ``outputs`` of an analysis ask for and the prediction has.

        The report refers to the segmentation of the same prediction where one is written, to
        BINARY before LABELMAP before FRACTIONAL. An output that the prediction has nothing for
        (a segmentation of a classification) is no fault and yields nothing.

        Raises:
            ValueError, StudyRejected, ComputeFailed: by the writers.

        """
        segmentations = list(self._segmentations(outputs))
        yield from segmentations
        if "dicom-sr" in outputs:
            yield self._report(segmentations[0] if segmentations else None)
        if "dicom-parametric-map" in outputs and self.prediction.maps:
            files = write_parametric_map(self.source, self.prediction.maps, self.provenance)
            for number, data in enumerate(files, start=1):
                yield self._object(f"-map-{number}", "dicom-parametric-map", data)
        if "dicom-derived" in outputs:
            yield from self._derived()
        if "dicom-secondary-capture" in outputs:
            summary = write_summary(self.source, self.prediction, self.provenance)
            yield self._object("-summary", "dicom-secondary-capture", summary)

    @property
    def _segments(self) -> list[Segment]:
        return [one for one in self.prediction.findings if isinstance(one, Segment)]

    def _segmentations(self, outputs: Collection[str]) -> Iterator[WrittenObject]:
        labels, segments = self.prediction.label_map, self._segments
        if labels is not None and "dicom-seg" in outputs:
            seg = write_seg(self.source, labels, segments, self.provenance)
            yield self._object("", "dicom-seg", seg)
        if labels is not None and "dicom-seg-labelmap" in outputs:
            encoding = Encoding.LABELMAP
            seg = write_seg(self.source, labels, segments, self.provenance, encoding=encoding)
            yield self._object("-labelmap", "dicom-seg-labelmap", seg)
        by_number = {one.segment: one for one in self.prediction.maps if one.segment is not None}
        likely = [segment for segment in segments if segment.number in by_number]
        if likely and "dicom-seg-fractional" in outputs:
            maps = [by_number[segment.number] for segment in likely]
            seg = write_fractional_seg(self.source, maps, likely, self.provenance)
            yield self._object("-fractional", "dicom-seg-fractional", seg)

    def _report(self, segmentation: WrittenObject | None) -> WrittenObject:
        reference = None
        if segmentation is not None:
            reference = reference_to(segmentation.data, self._segments, self.provenance)
        findings = self.prediction.findings
        report = write_sr(self.source, findings, self.provenance, segmentation=reference)
        return self._object("-report", "dicom-sr", report)

    def _derived(self) -> Iterator[WrittenObject]:
        for one in self.prediction.derived:
            what = re.sub(r"[^a-z0-9]+", "-", one.name.lower()).strip("-") or "image"
            for number, data in enumerate(
                write_derived(self.source, one, self.provenance), start=1
            ):
                yield self._object(f"-{what}-{number:04d}", "dicom-derived", data)

    def _object(self, suffix: str, kind: str, data: bytes) -> WrittenObject:
        return WrittenObject(name=f"{self.name}{suffix}.dcm", kind=kind, data=data)
