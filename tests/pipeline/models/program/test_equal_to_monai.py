"""Programs answer what MONAI's own evaluator answers: same bundle, same weights, same file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import SaveImage
from numpy.typing import NDArray

from pipeline.models import predictors
from pipeline.models.devices import Device
from pipeline.results import Classification, Detection, Prediction, Segment
from pipeline.volume import Channels, Image, Input, Volume
from tests.pipeline.models.program import bundles, cases
from tests.pipeline.models.program.bundles import Case, as_slices, go_on, nifti, png
from tests.pipeline.models.test_against_monai import affine

# what MONAI says of inverting nothing is no fault of the program
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:monai.*")

GEOMETRIES = [
    pytest.param(affine((2.5, 1.1, 0.9)), id="axial"),
    pytest.param(affine((2.0, 1.2, 1.2), axes="IAR"), id="flipped on all axes"),
    pytest.param(affine((2.2, 1.3, 1.3), axes="RIP"), id="sagittal"),
    pytest.param(affine((3.0, 1.1, 0.9), degrees=(12, -20, 9)), id="oblique"),
]


def ours(case: Case, folder: Path, image: Input | Channels) -> Prediction:
    predictor: Any = predictors.open(case.write(folder / "bundle"), device=Device("cpu", threads=1))
    prediction: Prediction = predictor.predict(image, checkpoint=go_on)
    return prediction


def photo(frames: int = 1) -> Image:
    pixels = np.random.default_rng(5).integers(0, 256, (frames, 30, 44, 3), dtype=np.uint8)
    return Image(pixels=pixels)


def holds_every_label(label_map: NDArray[np.uint8] | None, count: int) -> bool:
    """Say so, lest two empty label maps be found equal."""
    assert label_map is not None
    return len(np.unique(label_map)) >= count


@pytest.mark.parametrize("place", GEOMETRIES)
@pytest.mark.parametrize(
    ("case", "way"),
    [
        pytest.param(cases.ORGANS, "by ours", id="usual"),
        pytest.param(cases.ORGANS_CROPPED, "by ours", id="usual, cropped"),
        pytest.param(cases.ORGANS_AS_WRITTEN, "as written, because Identityd", id="as written"),
        pytest.param(cases.CROPPED, "as written, because NormalizeIntensityd", id="cropped"),
    ],
)
def test_labels_of_volumes_are_monais(
    case: Case, way: str, place: NDArray[np.float64], tmp_path: Path
) -> None:
    volume = bundles.volume((14, 24, 22), place)
    expected = case.monai(tmp_path, nifti(volume, tmp_path / "image.nii"))["pred"][0]
    found = ours(case, tmp_path, volume)
    assert holds_every_label(found.label_map, 3)
    is_straight = bool((np.abs(place[:3, :3]) > 0.01).sum() == 3)
    assert str(found.options["way"]).startswith(way if is_straight else "as written")
    np.testing.assert_array_equal(found.label_map, as_slices(expected))


def test_segments_count_what_lies_in_the_label_map(tmp_path: Path) -> None:
    volume = bundles.volume((14, 24, 22))
    found = ours(cases.ORGANS, tmp_path, volume)
    assert found.label_map is not None
    for segment in found.findings:
        assert isinstance(segment, Segment)
        assert segment.voxels == (found.label_map == segment.number).sum()
    assert [segment.label for segment in found.findings if isinstance(segment, Segment)] == [
        "liver",
        "spleen",
        "pancreas",
    ]


def test_what_is_not_inverted_is_resampled_as_monai_writes_it(tmp_path: Path) -> None:
    volume = bundles.volume((14, 24, 22))
    left = cases.NOT_INVERTED.monai(tmp_path, nifti(volume, tmp_path / "image.nii"))["pred"]
    writer = SaveImage(tmp_path, "", resample=True, separate_folder=False, print_log=False)
    writer(left, filename=tmp_path / "written")
    found = ours(cases.NOT_INVERTED, tmp_path, volume)
    import nibabel as nib

    library: Any = nib.nifti1
    written = library.load(tmp_path / "written.nii.gz").get_fdata()
    assert tuple(left.shape[1:]) != volume.stored.shape[::-1]
    assert holds_every_label(found.label_map, 2)
    np.testing.assert_array_equal(found.label_map, written.T)


def test_series_as_channels_and_a_bundles_own_label_numbers(tmp_path: Path) -> None:
    volumes = tuple(bundles.volume((14, 16, 18), seed=seed, unit="") for seed in range(4))
    files = [nifti(one, tmp_path / f"{n}.nii") for n, one in enumerate(volumes)]
    expected = as_slices(cases.TUMOUR.monai(tmp_path, *files)["pred"][0])
    found = ours(cases.TUMOUR, tmp_path, Channels(volumes=volumes))
    assert set(np.unique(expected)) == {0, 1, 2, 4}
    # 4 is what this bundle writes for its third channel
    np.testing.assert_array_equal(found.label_map, np.where(expected == 4, 3, expected))


def test_volumes_slice_by_slice(tmp_path: Path) -> None:
    volume = bundles.volume((3, 16, 16), unit="")
    expected = cases.SLICES.monai(tmp_path, nifti(volume, tmp_path / "image.nii"))["pred"][0]
    found = ours(cases.SLICES, tmp_path, volume)
    assert holds_every_label(found.label_map, 2)
    np.testing.assert_array_equal(found.label_map, as_slices(expected))


def test_masks_of_colour_images(tmp_path: Path) -> None:
    image = photo()
    expected = cases.PHOTO_MASKS.monai(tmp_path, png(image.pixels[0], tmp_path / "image.png"))
    found = ours(cases.PHOTO_MASKS, tmp_path, image)
    assert holds_every_label(found.label_map, 2)
    np.testing.assert_array_equal(found.label_map, as_slices(expected["pred"])[..., 0][None])


def test_frames_of_an_image_are_answered_one_by_one(tmp_path: Path) -> None:
    image = photo(frames=2)
    both = ours(cases.PHOTO_MASKS, tmp_path, image)
    assert both.label_map is not None
    for number in (0, 1):
        file = png(image.pixels[number], tmp_path / f"{number}.png")
        expected = cases.PHOTO_MASKS.monai(tmp_path, file)["pred"]
        np.testing.assert_array_equal(both.label_map[number], as_slices(expected)[..., 0])


def test_scores_of_colour_images(tmp_path: Path) -> None:
    image = photo()
    case = cases.PHOTO_CLASSES
    expected = case.monai(tmp_path, png(image.pixels[0], tmp_path / "image.png"))["pred"]
    found = ours(case, tmp_path, image).findings
    assert all(isinstance(one, Classification) for one in found)
    np.testing.assert_allclose(
        [one.score for one in found if isinstance(one, Classification)], expected, atol=1e-6
    )
    assert [one.is_top for one in found if isinstance(one, Classification)].index(True) == int(
        expected.argmax()
    )


@pytest.mark.parametrize("place", GEOMETRIES)
def test_boxes_in_volumes(place: NDArray[np.float64], tmp_path: Path) -> None:
    volume = bundles.volume((12, 20, 18), place)
    expected = cases.NODULES.monai_boxes(nifti(volume, tmp_path / "image.nii"))
    found = [
        one for one in ours(cases.NODULES, tmp_path, volume).findings if isinstance(one, Detection)
    ]
    order = np.argsort(-expected["label_scores"].numpy(), kind="stable")
    assert len(found) == len(order) == 20
    np.testing.assert_allclose(
        [one.score for one in found], expected["label_scores"][order], atol=1e-6
    )
    # LPS, mm: what MONAI's bundle writes into its file
    np.testing.assert_allclose([one.centre for one in found], expected["box"][order, :3], atol=1e-3)
    assert [one.label for one in found] == [
        cases.NODULES.labels[number] for number in expected["label"][order]
    ]


def test_a_box_holds_its_own_centre_and_has_the_size_that_monai_gives_it(tmp_path: Path) -> None:
    volume = bundles.volume((12, 20, 18))
    expected = cases.NODULES.monai_boxes(nifti(volume, tmp_path / "image.nii"))
    order = np.argsort(-expected["label_scores"].numpy(), kind="stable")
    found = ours(cases.NODULES, tmp_path, volume).findings
    for one, size in zip(found, expected["box"][order, 3:], strict=True):
        assert isinstance(one, Detection)
        assert one.size is not None
        # the axes of this volume are those of the patient: MONAI says width, height, depth
        np.testing.assert_allclose(one.size[::-1], size, atol=1e-3)
        low, high = np.array(one.index_box[:3]), np.array(one.index_box[3:])
        assert (low <= high).all()
        if (low > 0).all() and (high < volume.stored.shape).all():
            middle = volume.to_patient((low + high) / 2 - 0.5)
            np.testing.assert_allclose(middle, one.centre, atol=1e-3)


def test_derived_images(tmp_path: Path) -> None:
    volume = bundles.volume((14, 24, 22))
    expected = cases.DENOISED.monai(tmp_path, nifti(volume, tmp_path / "image.nii"))["pred"][0]
    (derived,) = ours(cases.DENOISED, tmp_path, volume).derived
    np.testing.assert_allclose(derived.values, as_slices(expected), atol=1e-6)
    assert derived.affine is not None
    np.testing.assert_allclose(derived.affine, volume.affine, atol=1e-6)


def test_jobs_that_share_a_predictor_do_not_disturb_each_other(tmp_path: Path) -> None:
    volumes = [bundles.volume((14, 24, 22), seed=seed) for seed in range(3)]
    predictor: Any = predictors.open(
        cases.CROPPED.write(tmp_path / "bundle"), device=Device("cpu", threads=1)
    )
    alone = [predictor.predict(one, checkpoint=go_on).label_map for one in volumes]
    together: dict[int, Any] = {}

    def predict(number: int, volume: Volume) -> None:
        together[number] = predictor.predict(volume, checkpoint=go_on).label_map

    threads = [threading.Thread(target=predict, args=(n, volumes[n % 3])) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        np.testing.assert_array_equal(together[number], alone[number % 3])
