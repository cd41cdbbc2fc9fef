"""Which bundles of a MONAI Model Zoo checkout register and run: ``docs/zoo.md``.

    python -m bench.zoo ZOO [BUNDLE]... > docs/zoo.md

Each bundle is brought as the checkout holds it, but with random weights, registered, and run on a
small made input; then MONAI runs the same bundle with the same weights on the same input as a file.
Each of both is a process of its own, bounded in time and memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SECONDS: Final = 900
_BYTES: Final = 20 * 2**30
_HEAD: Final = """\
# Bundles of the MONAI Model Zoo

Written by `make zoo ZOO=path-to-a-checkout` (MONAI {monai}, torch {torch}, CPU). Nothing of the zoo
is part of Nightshift.

Each bundle is registered as the checkout holds it, but with random weights, because the checkout
holds none, and run on one small made input: a volume of 20 x 44 x 40 voxels for each channel (32 x
48 x 48 where the network sees the whole at once), or an image of 240 x 280. MONAI's own run is its
`ConfigParser`, the scripts and the evaluator that the bundle names, with the same weights, on the
same input as NIfTI or PNG files; where it would invert label numbers linearly, it is told to take
the nearest voxel, as ours does and says. The topology that a search found for a network (DiNTS) is
random too, where the remark says that it is made up; MONAI is told to read it, and to build it on a
CPU. *Same* compares what both leave: every voxel of a label map, scores and values to 1e-4, centres
of boxes to 0.01 mm. Seconds are of one run, on a machine that did other things too. *Stated* is
what the person who registers has to say, because the metadata does not.

In scope is a bundle whose inference takes images of one study and gives classes, masks, boxes or an
image.

"""
_COLUMNS: Final = (
    "| bundle | kind | registers | runs | same as MONAI | seconds | MONAI's | way | remark |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
#: what a person states of bundles whose metadata do not: DICOM's modality, names of labels
STATED: Final[Mapping[str, tuple[str, ...]]] = {
    "classification_template": ("--modality", "OT"),
    "segmentation_template": ("--modality", "OT"),
    "endoscopic_inbody_classification": ("--modality", "ES"),
    "endoscopic_tool_segmentation": ("--modality", "ES"),
    "lung_nodule_ct_detection": ("--label", "nodule"),
    "mednist_reg": ("--modality", "OT"),
    "pathology_nuclei_classification": ("--modality", "SM"),
    "pathology_nuclick_annotation": ("--modality", "SM"),
    "pathology_tumor_detection": ("--modality", "SM"),
    "vista2d": ("--modality", "SM"),
}
#: what a person writes because options cannot say it; ``bench.zoo_ours`` holds it
WRITTEN: Final = {
    "pathology_nuclei_segmentation_classification": "the block `nightshift`: kind, labels and "
    "`prediction_key`, because the metadata has three outputs",
}
#: why a bundle is not what Nightshift is for
OUT_OF_SCOPE: Final = {
    "brats_mri_axial_slices_generative_diffusion": "makes images out of noise",
    "brats_mri_generative_diffusion": "makes images out of noise",
    "maisi_ct_generative": "makes images out of noise",
    "mednist_gan": "makes images out of noise",
    "mednist_reg": "registers one image to another",
    "pathology_nuclei_classification": "takes a mask of the nucleus besides the image",
    "pathology_nuclick_annotation": "takes clicks of a person besides the image",
    "spleen_deepedit_annotation": "takes clicks of a person besides the image",
    "valve_landmarks": "answers with points",
}


@dataclass(kw_only=True)
class Row:
    """What became of one bundle."""

    name: str
    ours: Mapping[str, Any]
    monai: Mapping[str, Any] = field(default_factory=dict)
    #: "yes", or how they differ; "" where there is nothing to compare
    same: str = ""

    def line(self) -> str:
        """Return the row of the table."""
        cells = (
            self.name,
            self.ours.get("kind", ""),
            "yes" if self.ours.get("registers") else "no",
            "yes" if self.ours.get("runs") else "no",
            self.same,
            _seconds(self.ours),
            _seconds(self.monai),
            self.ours.get("way", ""),
            self.remark(),
        )
        return "| " + " | ".join(str(cell) for cell in cells) + " |\n"

    def remark(self) -> str:
        """Say why it is refused, what was stated, and what MONAI could not do."""
        said = []
        if self.name in OUT_OF_SCOPE:
            said.append(f"out of scope: {OUT_OF_SCOPE[self.name]}")
        if self.name in STATED:
            said.append(f"stated: `{' '.join(STATED[self.name])}`")
        if self.name in WRITTEN:
            said.append(f"stated: {WRITTEN[self.name]}")
        if self.ours.get("has_made_topology"):
            said.append("made up: the topology that its search found")
        said += [f"refused: {one}" for one in self.ours.get("refused", ())]
        said += self.ours.get("warnings", ())
        if "refused" in self.monai:
            said.append(f"MONAI's own run: {self.monai['refused']}")
        return "; ".join(said).replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.zoo", description=__doc__.split("\n")[0])
    parser.add_argument("zoo", type=Path, help="a checkout of the Model Zoo")
    parser.add_argument("bundle", nargs="*", help="these alone")
    arguments = parser.parse_args()
    models = arguments.zoo / "models" if (arguments.zoo / "models").is_dir() else arguments.zoo
    folders = sorted(path.parent.parent for path in models.glob("*/configs/metadata.json"))
    chosen = [one for one in folders if not arguments.bundle or one.name in arguments.bundle]
    if not chosen:
        print("there is no bundle", file=sys.stderr)
        return 2
    rows = []
    for folder in chosen:
        rows.append(_row(folder))
        print(rows[-1].line(), end="", file=sys.stderr, flush=True)
    print(_HEAD.format(monai=version("monai"), torch=version("torch")), end="")
    print(_COLUMNS, *(row.line() for row in rows), sep="", end="")
    print(_summary(rows), end="")
    missed = [row for row in rows if row.ours.get("runs") and row.same not in ("", "yes")]
    return 1 if missed else 0


def _row(folder: Path) -> Row:
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        work = Path(scratch)
        _bounded("bench.zoo_ours", str(folder.resolve()), scratch, *STATED.get(folder.name, ()))
        row = Row(name=folder.name, ours=_told(work / "ours.json"))
        if row.ours.get("runs"):
            _bounded("bench.zoo_monai", scratch)
            row.monai = _told(work / "monai.json")
        if row.monai.get("runs"):
            row.same = compare(dict(np.load(work / "ours.npz")), dict(np.load(work / "monai.npz")))
    return row


def _bounded(module: str, *arguments: str) -> None:
    """Run a module in a process that may not take more time and memory than that."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))

    command = [sys.executable, "-m", module, *arguments]
    try:
        # what libraries print is no part of the document
        subprocess.run(command, timeout=_SECONDS, check=False, preexec_fn=limit, stdout=sys.stderr)
    except subprocess.TimeoutExpired:
        return


def _told(path: Path) -> Mapping[str, Any]:
    """Return what a process wrote; one that wrote nothing was ended by its bounds."""
    if path.exists():
        told: Mapping[str, Any] = json.loads(path.read_text())
        return told
    return {"refused": [f"not done within {_SECONDS} s and {_BYTES // 2**30} GiB"]}


def compare(ours: Mapping[str, NDArray[Any]], monai: Mapping[str, NDArray[Any]]) -> str:
    """Return "yes" where two answers are the same, else how they differ."""
    if "labels" in ours:
        return _same_labels(ours["labels"], monai["pred"])
    if "centres" in ours:
        if len(ours["centres"]) != len(monai["centres"]):
            return f"{len(ours['centres'])} boxes, MONAI {len(monai['centres'])}"
        apart = np.abs(ours["centres"] - monai["centres"]).max(initial=0.0)
        return "yes" if apart <= 0.01 else f"centres up to {apart:.3g} mm apart"
    if "scores" in ours:
        return _close(ours["scores"], monai["pred"].reshape(-1))
    return _close(ours["image"], monai["pred"][0].T)


def _close(ours: NDArray[Any], monai: NDArray[Any]) -> str:
    if ours.shape != monai.shape:
        return f"{ours.shape}, MONAI {monai.shape}"
    apart = float(np.abs(ours - monai).max())
    return "yes" if apart <= 1e-4 else f"up to {apart:.3g} apart"


def _same_labels(ours: NDArray[Any], left: NDArray[Any]) -> str:
    """Compare label maps; a bundle may write numbers of its own for the labels, one for each."""
    monai = _one_channel(left).T
    monai = monai[None] if monai.ndim == 2 else monai
    if ours.shape != monai.shape:
        return f"grid {ours.shape}, MONAI's file {monai.shape}"
    whole = monai == np.round(monai)
    if not whole.all():
        # MONAI has interpolated label numbers; where it did not come between two they are labels
        share = (ours == monai).mean()
        return f"{share:.3%}; of MONAI's numbers {1 - whole.mean():.3%} lie between two labels"
    agreed = 0
    numbers: set[int] = set()
    for written in np.unique(monai):
        counts = np.bincount(ours[monai == written])
        number = int(counts.argmax())
        agreed += int(counts.max()) if number not in numbers else 0
        numbers.add(number)
    share = agreed / ours.size
    return "yes" if share == 1 else f"{share:.5%} of the voxels"


def _one_channel(left: NDArray[Any]) -> NDArray[Any]:
    """Return masks in channels as numbers, the last one over the others."""
    if len(left) == 1:
        return np.asarray(left[0])
    numbers = np.zeros(left.shape[1:], np.int64)
    for number, mask in enumerate(left):
        numbers[mask > 0.5] = number + 1
    return numbers


def _seconds(told: Mapping[str, Any]) -> str:
    return f"{told['seconds']:.1f}" if "seconds" in told else ""


def _summary(rows: Sequence[Row]) -> str:
    inside = [row for row in rows if row.name not in OUT_OF_SCOPE]
    registered = sum(bool(row.ours.get("registers")) for row in inside)
    ran = sum(bool(row.ours.get("runs")) for row in inside)
    same = sum(row.same == "yes" for row in inside)
    return (
        f"\nOf {len(rows)} bundles {len(inside)} are in scope; of these {registered} register, "
        f"{ran} run, and {same} answer the same as MONAI.\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
