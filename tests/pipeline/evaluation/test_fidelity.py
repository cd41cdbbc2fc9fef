"""PSNR and SSIM against values in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation import fidelity

IMAGE = np.random.default_rng(0).random((1, 12, 16, 20), np.float32)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_an_image_is_like_itself(spatial_dims: int) -> None:
    found = fidelity.compare(IMAGE, IMAGE, spatial_dims)
    assert found.psnr == fidelity.BEST_PSNR
    assert found.ssim == pytest.approx(1.0, abs=1e-5)


def test_a_constant_difference_of_a_tenth_is_twenty_decibels() -> None:
    assert fidelity.psnr(IMAGE * 0.5, IMAGE * 0.5 + np.float32(0.1)) == pytest.approx(
        20.0, abs=1e-3
    )


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_noise_lowers_both(spatial_dims: int) -> None:
    smooth = np.full((1, 12, 16, 20), 0.5, np.float32)
    grain = np.random.default_rng(1).standard_normal(smooth.shape).astype(np.float32)
    weak, strong = (
        fidelity.compare(smooth + np.float32(share) * grain, smooth, spatial_dims)
        for share in (0.01, 0.1)
    )
    assert strong.psnr == pytest.approx(20.0, abs=0.2)
    assert weak.psnr == pytest.approx(40.0, abs=0.2)
    assert strong.ssim < weak.ssim < 1.0


def test_planes_smaller_than_the_window_are_measured_too() -> None:
    small = IMAGE[:, :, :4, :5]
    assert fidelity.compare(small, small, 2).ssim == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_both_are_those_of_scikit_image(share: float) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    random = np.random.default_rng(2)
    wave = np.sin(np.linspace(0, 9, 40, dtype=np.float32))
    reference = 0.5 + 0.3 * np.outer(wave, wave[::-1]).astype(np.float32)
    noisy = reference + np.float32(share) * random.standard_normal(reference.shape, np.float32)
    noisy = np.clip(noisy, 0, 1)
    found = fidelity.compare(noisy[None, None], reference[None, None], 2)
    assert found.psnr == pytest.approx(
        peak_signal_noise_ratio(reference, noisy, data_range=1.0), abs=1e-3
    )
    # the windows of Wang et al.: Gaussian, 11 x 11, without a correction of the covariance
    theirs = structural_similarity(
        reference,
        noisy,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert found.ssim == pytest.approx(theirs, abs=1e-4)
