"""Nuclei in micrographs of many kinds (BBBC038, stage 1 of the Data Science Bowl 2018, CC0).

Images are fluorescence on black, and stained tissue in colours on white. All become grey with
bright nuclei: the red channel, in which stained nuclei are darkest, turned round where the
background is bright. Of that the square root, in which counted light is as uncertain everywhere
(Anscombe 1948): the dim rim of a nucleus with bright spots would be lost beside them. The maps of
the set stay as they are: each nucleus has a number of its own.

The set names no patients, and images were cut out of larger ones. So images of one size that look
alike, by the colours of their background and by their noise, are taken for one acquisition and are
never on both sides; chains of likeness count (single linkage). Of each size some acquisitions are
held out, so that all kinds of images are judged.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy.cluster.hierarchy import fcluster, linkage

from bench.quality.plan import Must, Task

#: between the descriptions of two images that are taken for one acquisition
_ALIKE = 0.25
#: shares of the images of one size
_HELD_OUT, _VALIDATION = 0.2, 0.15


def manifest(source: Path, folder: Path) -> Path:
    """Write grey images, their maps of nuclei and the manifest below ``folder``."""
    files = sorted((source / "images").glob("*.png"))
    colours = [np.asarray(Picture.open(file).convert("RGB")) for file in files]
    acquisitions = _acquisitions(colours)
    parts = dict(_parts([str(pixels.shape[:2]) for pixels in colours], acquisitions))
    path = folder / "cases.csv"
    with path.open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("image", "label", "patient_id", "split"))
        for file, pixels, acquisition in zip(files, colours, acquisitions, strict=True):
            image, nuclei = f"{file.stem[:16]}.png", f"{file.stem[:16]}.nuclei.png"
            Picture.fromarray(bright_nuclei(pixels)).save(folder / image)
            shutil.copyfile(source / "labels" / file.name, folder / nuclei)
            writer.writerow((image, nuclei, acquisition, parts[acquisition]))
    return path


def bright_nuclei(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (rows, columns, 3) in grey, (rows, columns), its nuclei bright."""
    red = pixels[..., 0]
    light = 255 - red if np.median(red) > 127 else red
    return np.rint(np.sqrt(light.astype(np.float64) * 255)).astype(np.uint8)


def _acquisitions(colours: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Return a name for what each image was cut out of, equal for images that look alike."""
    names = [""] * len(colours)
    of_size = defaultdict(list)
    for number, pixels in enumerate(colours):
        of_size[pixels.shape[:2]].append(number)
    for (rows, columns), numbers in sorted(of_size.items()):
        clusters = [1]
        if len(numbers) > 1:
            tree = linkage(np.stack([_description(colours[n]) for n in numbers]), "single")
            clusters = [int(cluster) for cluster in fcluster(tree, _ALIKE, "distance")]
        for number, cluster in zip(numbers, clusters, strict=True):
            names[number] = f"{columns}x{rows}-{cluster}"
    return names


def _description(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the dark half of each channel and the noise, in steps of a factor of two."""
    levels = np.percentile(pixels.reshape(-1, 3), [1, 25, 50], axis=0).ravel()
    noise = np.median(np.abs(np.diff(pixels.mean(axis=2), axis=1)))
    return np.log2([*(4.0 + levels), 1.0 + noise])


def _parts(sizes: Sequence[str], acquisitions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the part of each acquisition. What is too large to be held out is trained on."""
    images: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for size, acquisition in zip(sizes, acquisitions, strict=True):
        images[size][acquisition] += 1
    for counts in images.values():
        yield from _parts_of_size(counts)


def _parts_of_size(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    whole = sum(counts.values())
    room: dict[str, Any] = {"test": _HELD_OUT * whole, "validation": _VALIDATION * whole}
    for acquisition in sorted(counts, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        part = next((name for name, left in room.items() if counts[acquisition] <= left), "train")
        if part in room:
            room[part] -= counts[acquisition]
        yield acquisition, part


TASKS: Sequence[Task] = (
    Task(
        name="nuclei",
        recipe="nuclei.yaml",
        manifest=manifest,
        needs="seg2d_dsb2018_nuclei",
        minutes=60,
        musts=(Must(metric="labels.nucleus.dice", least=0.91),),
        shown=(
            "labels.nucleus.object_ap_50",
            "labels.nucleus.objects_found_50",
            "labels.nucleus.objects_found_50_95",
        ),
    ),
)
