"""One multi-frame file that is several volumes, from the scan to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sqlalchemy import select

from pipeline import phantoms
from pipeline.phantoms import PhantomParameters
from records import batches, database, orders
from records.base import JobStatus
from records.tables import File, Job, Series
from tests.machine import LUNGS
from tests.pipeline.dicom.series import made_frames as made
from worker.catalogue import register_analysis
from worker.services import Services
from worker.tasks import desk, inference

ANALYSIS = LUNGS.replace("test-lungs", "each-phase").replace("volume,", "volume, each: true,")
CHEST = PhantomParameters(shape=(16, 32, 32), spacing=(7.5, 10.4, 9.6), lesions=0)


def _two_phases(folder: Path) -> None:
    """Write one enhanced CT: a chest, and the same mirrored in rows, each frame by frame."""
    volume = phantoms.chest(CHEST).volume
    stored = np.concatenate([volume.stored, volume.stored[:, ::-1]])
    count = len(volume.stored)
    places = [
        made.Place(
            value=0,
            position=(0.0, 0.0, CHEST.spacing[0] * (n % count)),
            macros={"FrameContentSequence": {"TemporalPositionIndex": 1 + n // count}},
        )
        for n in range(2 * count)
    ]
    dataset = made.enhanced(places)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = list(CHEST.spacing[1:])
    dataset.Rows, dataset.Columns = stored.shape[1:]
    transform = dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    transform.RescaleIntercept = volume.intercept
    dataset.PixelData = stored.astype(np.int16).tobytes()
    made.write(folder, dataset)


def test_every_phase_of_one_file_is_read_as_a_volume_of_its_own(
    here: Services, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    _two_phases(source)
    document = tmp_path / "each-phase.yaml"
    document.write_text(ANALYSIS)
    register_analysis(here, document)
    with database.unit_of_work(here.sessions) as session:
        new = batches.NewBatch(source=str(source), analyses=["each-phase"])
        batch = batches.create(session, new, by="test").id
    desk.carry_scan(batch, here)
    with database.reading(here.sessions) as session:
        job = session.scalars(select(Job.id).where(Job.batch_id == batch)).one()
        refs = orders.read(session, job).inputs["ct"]
        assert len(session.scalars(select(File)).all()) == 1
        assert session.scalars(select(Series.instance_count)).all() == [1, 1]
    assert [(one.part, one.frame_part, len(one.paths)) for one in refs] == [(0, 0, 1), (1, 1, 1)]
    assert refs[0].paths == refs[1].paths
    inference.carry_job(job, here)
    with database.reading(here.sessions) as session:
        done = session.get_one(Job, job)
    assert done.status is JobStatus.SUCCEEDED
    assert done.report is not None
    read = done.report["inputs"]["ct"]
    assert [(one["part"], one["instances"], one["verdict"]) for one in read] == [
        (0, 1, "ok"),
        (1, 1, "ok"),
    ]
