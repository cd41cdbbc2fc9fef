"""The yardstick: what one writes with MONAI in an afternoon. One process, one study at a time.

Nothing here is slowed down on purpose: MONAI's own reader, transforms, inferer, inverse and writer,
in the order of its tutorials, with the defaults a user gets.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)
from safetensors.torch import load_file

from bench import ct_model

logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


class Naive:
    """The script as an object, so that studies can be timed one by one."""

    def __init__(self, weights: Path, out: Path, *, threads: int, device: str = "cpu") -> None:
        torch.set_num_threads(threads)
        out.mkdir(parents=True, exist_ok=True)
        self.device = device
        self.net = UNet(**ct_model.ARGUMENTS).eval()
        self.net.load_state_dict(load_file(weights))
        self.net.to(device)
        self.load = Compose(
            [LoadImaged("image", reader="PydicomReader"), EnsureChannelFirstd("image")]
        )
        self.prepare = Compose(
            [
                Orientationd("image", axcodes="RAS", labels=None),
                Spacingd("image", pixdim=(ct_model.SPACING_MM,) * 3, mode="bilinear"),
                ScaleIntensityRanged("image", *ct_model.WINDOW_HU, 0.0, 1.0, clip=True),
                CropForegroundd("image", source_key="image"),
            ]
        )
        self.infer = SlidingWindowInferer(
            (ct_model.SIZE,) * 3, 1, ct_model.OVERLAP, mode="gaussian"
        )
        invert = Invertd(
            "pred", transform=self.prepare, orig_keys="image", nearest_interp=False, to_tensor=True
        )
        self.post = Compose([invert, AsDiscreted("pred", argmax=True)])
        self.out = out

    def run(self, study: Path) -> dict[str, Any]:
        """Analyse the study in a folder; return where its labels are and seconds by stage."""
        stages: dict[str, float] = {}
        last = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal last
            now = time.perf_counter()
            stages[stage] = now - last
            last = now

        data = self.load({"image": str(study)})
        lap("read")
        data = self.prepare(data)
        lap("preprocess")
        with torch.no_grad():
            batch = list_data_collate([data])
            batch["pred"] = self.infer(batch["image"].to(self.device), self.net)
        lap("windows")
        data = next(self.post(one) for one in decollate_batch(batch))
        lap("inverse")
        path = self.out / f"{study.name}.nii.gz"
        save = SaveImaged(
            "pred",
            output_dir=self.out,
            output_postfix="",
            separate_folder=False,
            output_dtype=np.uint8,
            print_log=False,
            output_name_formatter=lambda _meta, _transform: {"subject": study.name, "idx": None},
        )
        save(data)
        lap("write")
        return {"labels": str(path), "stages": stages, "seconds": sum(stages.values())}
