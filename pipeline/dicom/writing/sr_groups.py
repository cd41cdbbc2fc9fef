"""Measurement groups of a report: what a model found, one template for each kind of statement.

Detections are volumetric (TID 1411) or, on an image, planar ROIs (TID 1410), segments volumetric
ROIs that refer to the segment (TID 1411), scores and numbers about the whole input plain groups
(TID 1501). Every group says which algorithm made it and can be tracked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from highdicom.sr import (
    AlgorithmIdentification,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.coding import Code as DicomCode

from pipeline import results
from pipeline.dicom.writing import concepts
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.regions import regions_of
from pipeline.volume import Image, Input, Volume

Group: TypeAlias = (
    MeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)


@dataclass(frozen=True, kw_only=True)
class SegReference:
    """A written SEG that a report points to."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    #: number of ``results.Segment`` -> Segment Number (0062,0004) in the object
    numbers: Mapping[int, int]


@dataclass(frozen=True)
class GroupWriter:
    """Writes the groups of one report."""

    source: Input
    provenance: Provenance
    segmentation: SegReference | None

    def groups(self, findings: Sequence[results.Finding]) -> Iterator[Group]:
        """Yield one group per finding, in order; one that says so where there is none."""
        if not findings:
            yield self._nothing()
        for ordinal, finding in enumerate(findings):
            tracked = f"finding {ordinal}"
            match finding:
                case results.Classification():
                    yield self._classification(finding, tracked)
                case results.Detection():
                    yield self._detection(finding, tracked)
                case results.Segment():
                    yield self._segment(finding)
                case results.Measurement():
                    yield self._measurement(finding, tracked)

    def _nothing(self) -> Group:
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking("nothing", "no finding"),
            algorithm_id=self._algorithm(),
            source_images=self._image(),
            qualitative_evaluations=[
                QualitativeEvaluation(name=concepts.FINDINGS_SUMMARY, value=concepts.NO_FINDINGS)
            ],
        )

    def _classification(self, finding: results.Classification, tracked: str) -> Group:
        """Answer the question that the class is: yes where it is the most likely, and how sure.

        It is no "Finding": of a class with a low score that would state the opposite.
        """
        measured, unmeasured = _numbers((concepts.PROBABILITY, finding.score, "1"))
        answer = concepts.YES if finding.is_top else concepts.NO
        question = concepts.coded(finding.label, finding.code)
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking(tracked, finding.label),
            algorithm_id=self._algorithm(),
            source_images=self._image(),
            measurements=measured,
            qualitative_evaluations=[
                QualitativeEvaluation(name=question, value=answer),
                *unmeasured,
            ],
        )

    def _measurement(self, finding: results.Measurement, tracked: str) -> Group:
        name = concepts.coded(finding.label, finding.code)
        measured, unmeasured = _numbers((name, finding.value, finding.unit))
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking(tracked, finding.label),
            algorithm_id=self._algorithm(),
            source_images=self._image(),
            measurements=measured,
            qualitative_evaluations=unmeasured,
        )

    def _detection(self, finding: results.Detection, tracked: str) -> Group:
        numbers = [(concepts.PROBABILITY, finding.score, "1")]
        if finding.centre is not None:
            numbers += [
                (name, value, "mm")
                for name, value in zip(concepts.CENTRE, finding.centre, strict=True)
            ]
        if finding.size is not None:
            sides = (concepts.DEPTH, concepts.HEIGHT, concepts.WIDTH)
            numbers += [
                (name, value, "mm") for name, value in zip(sides, finding.size, strict=True)
            ]
        measured, unmeasured = _numbers(*numbers)
        tracking = self._tracking(tracked, finding.label)
        code = concepts.coded(finding.label, finding.code)
        regions = regions_of(finding, self.source)
        if isinstance(self.source, Image):
            return PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking,
                referenced_region=regions[0],
                finding_type=code,
                algorithm_id=self._algorithm(),
                measurements=measured,
                qualitative_evaluations=unmeasured,
            )
        return VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_regions=regions,
            finding_type=code,
            algorithm_id=self._algorithm(),
            measurements=measured,
            qualitative_evaluations=unmeasured,
        )

    def _segment(self, finding: results.Segment) -> Group:
        numbers = []
        if isinstance(self.source, Volume):
            numbers.append((concepts.VOLUME, finding.volume_ml, "mL"))
        if finding.centroid is not None:
            numbers += [
                (name, value, "mm")
                for name, value in zip(concepts.CENTRE, finding.centroid, strict=True)
            ]
        measured, unmeasured = _numbers(*numbers)
        tracking = self._tracking(f"segment {finding.number}", finding.label)
        code = concepts.coded(finding.label, finding.code)
        stated = finding.category
        category = None if stated is None else concepts.coded(stated.meaning, stated)
        reference = self._reference(finding.number)
        if reference is None:
            return MeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking,
                finding_type=code,
                finding_category=category,
                algorithm_id=self._algorithm(),
                source_images=self._image(),
                measurements=measured,
                qualitative_evaluations=unmeasured,
            )
        return VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_segment=reference,
            finding_type=code,
            finding_category=category,
            algorithm_id=self._algorithm(),
            measurements=measured,
            qualitative_evaluations=unmeasured,
        )

    def _reference(self, number: int) -> ReferencedSegment | None:
        written, header = self.segmentation, self.source.header
        if written is None or header is None or number not in written.numbers:
            return None
        return ReferencedSegment(
            sop_class_uid=written.sop_class_uid,
            sop_instance_uid=written.sop_instance_uid,
            segment_number=written.numbers[number],
            source_series=SourceSeriesForSegmentation(header.series_instance_uid),
        )

    def _tracking(self, what: str, label: str) -> TrackingIdentifier:
        return TrackingIdentifier(
            uid=self.provenance.uid(what),
            identifier=f"{self.provenance.model_name} {label}"[:64],
        )

    def _algorithm(self) -> AlgorithmIdentification:
        return AlgorithmIdentification(
            name=self.provenance.model_name[:64],
            version=self.provenance.model_version[:64],
            parameters=[f"model sha256 {self.provenance.model_digest}"],
        )

    def _image(self) -> list[SourceImageForMeasurementGroup] | None:
        """Name the image a statement is about; of a volume the Image Library names all."""
        header = self.source.header
        if header is None or isinstance(self.source, Volume):
            return None
        instance = header.instances[0]
        return [
            SourceImageForMeasurementGroup(
                referenced_sop_class_uid=instance.sop_class_uid,
                referenced_sop_instance_uid=instance.sop_instance_uid,
                referenced_frame_numbers=None if instance.frame is None else [instance.frame],
            )
        ]


def _numbers(
    *numbers: tuple[DicomCode, float, str],
) -> tuple[list[Measurement], list[QualitativeEvaluation]]:
    """Return (name, value, UCUM unit) as measurements (TID 300).

    What is no finite number cannot be written as one: it is stated as "not a number".
    """
    measured = [
        Measurement(name=name, value=float(value), unit=concepts.unit(unit))
        for name, value, unit in numbers
        if math.isfinite(value)
    ]
    unmeasured = [
        QualitativeEvaluation(name=name, value=concepts.NOT_A_NUMBER)
        for name, value, _ in numbers
        if not math.isfinite(value)
    ]
    return measured, unmeasured
