"""Statistics of a restoration, beside what anybody can do: leave the image, or interpolate."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import Statistic, mean


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield PSNR and SSIM of the answers, and how much they rose over what was shown."""
    every = [case.restored for case in scores.cases if case.restored is not None]
    yield mean("psnr_db", [one.answer.psnr for one in every])
    yield mean("ssim", [one.answer.ssim for one in every])
    yield mean("psnr_gain_db", [one.answer.psnr - one.baseline.psnr for one in every])
    yield mean("ssim_gain", [one.answer.ssim - one.baseline.ssim for one in every])
