"""Series on other grids lie where they are in the patient: linear ramps are kept exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline.aligning import aligned
from pipeline.errors import Interrupted, StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Channels, SourceHeader, SourceInstance, Volume

MIDDLE = np.array([12.0, -40.0, 77.0])
SLOPE_MM = np.array([1.5, -0.75, 2.25])


def header(slices: int, *, frame: str | None = "1.2.3", series: str = "1.2.4") -> SourceHeader:
    return SourceHeader(
        template=b"",
        instances=tuple(
            SourceInstance(sop_class_uid="1.2", sop_instance_uid=f"{series}.{number}")
            for number in range(slices)
        ),
        study_instance_uid="1.2.1",
        series_instance_uid=series,
        frame_of_reference_uid=frame,
        modality="MR",
    )


def ramp(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    *,
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    frame: str | None = "1.2.3",
    shift: float = 0.0,
) -> Volume:
    """Return a volume around MIDDLE whose value is a linear function of the place in mm."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * spacing
    affine[:3, 3] = MIDDLE + shift - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    values = (index @ affine[:3, :3].T + affine[:3, 3]) @ SLOPE_MM
    # stored with a rescale that a linear interpolation has to go through
    stored = ((values - 5) / -0.5).astype(np.float64)
    return Volume(
        stored=stored, affine=affine, slope=-0.5, intercept=5, header=header(shape[0], frame=frame)
    )


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


def lay(first: Volume, other: Volume, policy: str = "resample") -> Channels:
    series = {"t1": first, "t2": other}
    return aligned(series, policy=policy, checkpoint=go_on)  # type: ignore[arg-type]


def expected(volume: Volume) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*map(np.arange, volume.stored.shape), indexing="ij"), axis=-1)
    return np.asarray(volume.to_patient(index.astype(float)) @ SLOPE_MM)


@pytest.mark.parametrize(
    ("spacing", "turn"),
    [
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
        ((4.0, 0.7, 0.9), (12.0, -31.0, 50.0)),
        ((0.8, 2.0, 1.1), (95.0, 20.0, -170.0)),
        ((1.3, 1.2, 1.4), (180.0, 0.0, 90.0)),
    ],
)
def test_a_linear_ramp_is_kept_on_any_grid(
    spacing: tuple[float, float, float], turn: tuple[float, float, float]
) -> None:
    first = ramp((9, 8, 10), (1.7, 1.1, 0.9), turn=(20.0, 5.0, -40.0))
    counts = tuple(int(36 / step) for step in spacing)
    other = ramp(counts, spacing, turn=turn)  # type: ignore[arg-type]
    channels = lay(first, other)
    assert channels.volumes[0] is first
    second = channels.volumes[1]
    np.testing.assert_array_equal(second.affine, first.affine)
    np.testing.assert_allclose(second.values(), expected(first), atol=2e-3)
    assert second.warnings == ("input t2 was resampled linearly onto the grid of the first series",)


def test_a_series_on_the_same_grid_is_left_as_it_is() -> None:
    first, other = ramp((4, 5, 6), (2.0, 1.0, 1.0)), ramp((4, 5, 6), (2.0, 1.0, 1.0))
    for policy in ("refuse", "resample"):
        assert lay(first, other, policy).volumes == (first, other)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            ramp((5, 5, 6), (2.0, 1.0, 1.0)),
            "input t2 has 5 x 5 x 6 voxels, the first has 4 x 5 x 6",
        ),
        (ramp((4, 5, 6), (2.0, 1.0, 1.0), shift=2.0), "input t2 lies up to 3.46 mm away"),
    ],
)
def test_another_grid_is_refused_with_the_two_values(other: Volume, said: str) -> None:
    with pytest.raises(StudyRejected, match=said) as refused:
        lay(ramp((4, 5, 6), (2.0, 1.0, 1.0)), other, "refuse")
    assert refused.value.reason is Reason.SERIES_GEOMETRY_INVALID


@pytest.mark.parametrize("policy", ["refuse", "resample"])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_another_frame_of_reference_is_refused(policy: str, shift: float) -> None:
    other = ramp((4, 5, 6), (2.0, 1.0, 1.0), frame="1.2.9", shift=shift)
    with pytest.raises(StudyRejected, match="input t2 lies in another frame of reference"):
        lay(ramp((4, 5, 6), (2.0, 1.0, 1.0)), other, policy)


def test_nothing_is_resampled_without_a_frame_of_reference() -> None:
    first, other = (ramp((4, 5, 6), (2.0, 1.0, 1.0), frame=None, shift=by) for by in (0.0, 1.0))
    with pytest.raises(StudyRejected, match="t2 states no frame of reference"):
        lay(first, other)
    assert len(lay(first, first).volumes) == 2


def test_what_a_series_does_not_cover_is_its_least_value_and_said() -> None:
    first = ramp((10, 5, 6), (2.0, 1.0, 1.0))
    # six slices in the middle: 12 of the 20 mm, from border to border
    middle = ramp((6, 5, 6), (2.0, 1.0, 1.0))
    second = lay(first, middle).volumes[1]
    least = middle.values().min()
    np.testing.assert_allclose(second.values()[2:8], expected(first)[2:8], atol=1e-4)
    assert (second.values()[[0, 1, 8, 9]] == least).all()
    assert second.warnings[0].endswith("of which it covers 60.0%")


def test_a_series_that_covers_less_than_half_is_refused() -> None:
    first, thin = ramp((10, 5, 6), (2.0, 1.0, 1.0)), ramp((4, 5, 6), (2.0, 1.0, 1.0))
    with pytest.raises(StudyRejected, match="input t2 covers 40% of the first"):
        lay(first, thin)


def test_the_outer_half_of_a_voxel_holds_its_value() -> None:
    first = ramp((3, 4, 12), (2.0, 1.0, 0.5))
    coarse = ramp((3, 4, 6), (2.0, 1.0, 1.0))
    values = lay(first, coarse).volumes[1].values()
    np.testing.assert_allclose(values[..., 1:-1], expected(first)[..., 1:-1], atol=1e-4)
    np.testing.assert_allclose(values[..., [0, -1]], coarse.values()[..., [0, -1]], atol=1e-4)


def test_the_slices_of_a_resampled_series_name_their_nearest_instance() -> None:
    first, other = ramp((9, 4, 4), (1.0, 1.0, 1.0)), ramp((5, 4, 4), (2.0, 1.0, 1.0))
    turned = replace(
        other,
        stored=other.stored[::-1],
        affine=other.affine @ np.array([[-1, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    )
    for one, order in ((other, (0, 0, 1, 1, 2, 2, 3, 3, 4)), (turned, (4, 3, 3, 2, 2, 1, 1, 0, 0))):
        found = lay(first, one).volumes[1].header
        assert found is not None
        numbers = [int(each.sop_instance_uid.rpartition(".")[2]) for each in found.instances]
        assert [abs(a - b) <= 1 for a, b in zip(numbers, order, strict=True)] == [True] * 9
        assert numbers[0::4] == [order[0], 2, order[-1]]


def test_resampling_stops_between_slices() -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Interrupted("canceled")

    series = {"t1": ramp((9, 8, 8), (1, 1, 1)), "t2": ramp((9, 8, 8), (1, 1, 1), shift=0.5)}
    with pytest.raises(Interrupted):
        aligned(series, policy="resample", checkpoint=stop)
