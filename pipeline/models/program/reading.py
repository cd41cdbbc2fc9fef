"""What a program's answers say, by the kind of model: findings, label maps, derived images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelMismatch
from pipeline.models import measures
from pipeline.models.options import ProgramOptions
from pipeline.models.program import boxes, classes, images, masks
from pipeline.models.program.flow import Run
from pipeline.models.program.handing import ras_affine
from pipeline.models.spec import Kind, ModelSpec
from pipeline.results import Detection, Finding
from pipeline.volume import Channels, Image, Input, Volume

#: what MONAI's detectors call boxes, scores and classes where nothing else is said
_BOX_KEYS: Final = ("boxes", "labels_scores", "labels")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one run left: a volume's, or one frame's."""

    run: Run
    #: (channels, *spatial), what the network saw
    prepared: Tensor
    #: after the postprocessing
    data: Mapping[str, Any]
    #: (channels, *spatial) of the network's answer, () where it is no tensor
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What all answers together say: the fields of a ``Prediction``."""

    findings: Sequence[Finding]
    fields: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Asked:
    spec: ModelSpec
    options: ProgramOptions
    #: the input; of several volumes on one grid the first
    image: Input


def read(
    answers: Sequence[Answer],
    image: Input | Channels,
    spec: ModelSpec,
    options: ProgramOptions,
) -> Reading:
    """Read answers in the way of the model's kind.

    Raises:
        ModelMismatch: they are not what the kind and the labels of the metadata ask for, or hold
            values that are not finite.

    """
    first = image.volumes[0] if isinstance(image, Channels) else image
    return _BY_KIND[spec.kind](answers, _Asked(spec=spec, options=options, image=first))


def _prediction(answer: Answer, asked: _Asked) -> Tensor:
    key = asked.options.prediction_key
    found = answer.data.get(key)
    if not isinstance(found, torch.Tensor | np.ndarray):
        raise ModelMismatch(f"the program leaves no array under {key!r}")
    tensor = found if isinstance(found, torch.Tensor) else torch.from_numpy(found)
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ModelMismatch(f"model {asked.spec.name} answered with values that are not finite")
    return tensor


def _classes(answers: Sequence[Answer], asked: _Asked) -> Reading:
    labels = asked.spec.labels
    by_frame = [
        classes.scores(_prediction(answer, asked), labels, asked.options.activation)
        for answer in answers
    ]
    decided = "the program states the label alone: scores are 1 for it and 0 for the others"
    return Reading(
        findings=classes.findings(by_frame, labels),
        warnings=(decided,) if classes.are_decided(answers[0].run.postprocessing) else (),
    )


def _masks(answers: Sequence[Answer], asked: _Asked) -> Reading:
    maps, overlapping = [], 0
    for answer in answers:
        plane, several = _label_map(answer, asked)
        maps.append(plane)
        overlapping += several
    label_map = maps[0] if isinstance(asked.image, Volume) else np.concatenate(maps)
    sentence = f"{overlapping} voxels lie in several masks; there the last label counts"
    return Reading(
        findings=measures.segments(label_map, asked.image, asked.spec.labels),
        fields={"label_map": label_map},
        warnings=(sentence,) if overlapping else (),
    )


def _label_map(answer: Answer, asked: _Asked) -> tuple[NDArray[np.uint8], int]:
    """Return uint8 (slices, rows, columns), one slice for a frame, and the overlapping voxels."""
    labels = asked.spec.labels
    found = _prediction(answer, asked)
    seen = tuple(answer.prepared.shape[1:])
    if answer.shape and answer.shape[1:] != seen:
        sentence = f"the network answers on a grid of {answer.shape[1:]} for an image of {seen}"
        raise ModelMismatch(sentence)
    # (channels, *spatial), as the image; postprocessing may have dropped the channel
    stacked = found if found.ndim == len(seen) + 1 else found[None]
    numbers, overlapping = masks.of_answer(stacked, labels, asked.options.activation)
    meaning = masks.meanings(
        answer.run.postprocessing, answer.shape, labels, asked.options.prediction_key
    )
    if isinstance(asked.image, Volume):
        shape = asked.image.stored.shape
        affine = ras_affine(asked.image)
    else:
        shape = asked.image.pixels.shape[1:3]
        affine = np.eye(4)
    placed = masks.on_grid(numbers, affine, shape[::-1])[0].cpu().numpy()
    label_map = masks.to_labels(placed.T, meaning if len(stacked) == 1 else {}, labels)
    if label_map.ndim == 2:
        label_map = label_map[None]
    return np.ascontiguousarray(label_map), overlapping


def _boxes(answers: Sequence[Answer], asked: _Asked) -> Reading:
    found: list[Detection] = []
    for number, answer in enumerate(answers):
        stated = boxes.read(answer.data, _box_keys(answer.run))
        if isinstance(asked.image, Image):
            shape = asked.image.pixels.shape[1:3]
            found += boxes.in_frame(stated, answer.prepared, number, shape, asked.spec.labels)
        else:
            is_centred = boxes.are_centred(answer.run.postprocessing)
            found += boxes.in_volume(
                stated, answer.prepared, asked.image, asked.spec.labels, is_centred=is_centred
            )
    kept = [one for one in found if one.score >= asked.options.score_threshold]
    kept.sort(key=lambda one: (-one.score, one.index_box))
    return Reading(findings=kept)


def _box_keys(run: Run) -> tuple[str, str, str]:
    detector = getattr(run.inferer, "detector", None)
    if detector is None:
        return _BOX_KEYS
    return detector.target_box_key, detector.pred_score_key, detector.target_label_key


def _images(answers: Sequence[Answer], asked: _Asked) -> Reading:
    found = [_prediction(answer, asked) for answer in answers]
    if isinstance(asked.image, Volume):
        derived = images.of_volume(found[0], answers[0].prepared, asked.spec.title)
    else:
        derived = images.of_frames(found, asked.spec.title)
    return Reading(findings=(), fields={"derived": (derived,)})


_BY_KIND: Final[Mapping[Kind, Callable[[Sequence[Answer], _Asked], Reading]]] = {
    Kind.CLASSIFICATION: _classes,
    Kind.SEGMENTATION: _masks,
    Kind.DETECTION: _boxes,
    Kind.RESTORATION: _images,
}
