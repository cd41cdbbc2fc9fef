"""Boxes are read as they are stated, in mm or in pixels, and what cannot be a box is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training import box_files, boxes
from pipeline.training.boxes import Box, PixelBox, Settled
from pipeline.training.reading import LabelRefused
from pipeline.volume import Image, Input, Volume
from tests import data as public

IMAGE = Image(pixels=np.zeros((1, 20, 30), np.uint8))
VOLUME = Volume(stored=np.zeros((4, 20, 30), np.int16), affine=np.diag([3.0, 0.5, 0.5, 1.0]))
CELL = PixelBox(label="cell", low=(2.0, 5.5), high=(9.0, 30.0))

VOC = """<?xml version="1.0"?>
<annotation>
  <!-- a remark -->
  <size><width>30</width><height>20</height><depth>3</depth></size>
  <object><name>cell</name><difficult>0</difficult>
    <bndbox><xmin>5.5</xmin><ymin>2</ymin><xmax>30</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""
COCO: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 30, "height": 20},
        {"id": 8, "file_name": "folder/b.png", "width": 30, "height": 20},
    ],
    "categories": [{"id": 3, "name": "cell"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [5.5, 2, 24.5, 7], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
}


def settled(
    path: Path,
    content: str,
    image: Input = IMAGE,
    *,
    drops_empty: bool = False,
    name: str = "a.png",
) -> Settled:
    path.write_text(content)
    stated = box_files.read(path, name)
    return boxes.settle(stated, image, ("cell", "nodule"), drops_empty=drops_empty)


def own(low: list[float], high: list[float]) -> str:
    return json.dumps({"boxes": [{"label": "cell", "low": low, "high": high}]})


def test_a_box_of_an_image_is_in_edges_of_its_pixels(tmp_path: Path) -> None:
    (box,) = settled(tmp_path / "boxes.json", own([2, 5.5], [9, 30])).boxes
    assert box == CELL
    assert boxes.index_box(box, IMAGE).tolist() == [0, 2, 5.5, 1, 9, 30]


def test_pascal_voc_says_the_same(tmp_path: Path) -> None:
    assert settled(tmp_path / "a.xml", VOC).boxes == (CELL,)


def test_coco_says_the_same_of_the_image_it_is_asked_about(tmp_path: Path) -> None:
    found = settled(tmp_path / "a.json", json.dumps(COCO))
    assert found.boxes == (CELL,)
    assert found.notes == ("regions of crowds were left out: 1",)
    assert settled(tmp_path / "a.json", json.dumps(COCO), name="b.png").boxes == ()


def test_an_image_that_a_coco_file_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelRefused, match="knows 0 images"):
        settled(tmp_path / "a.json", json.dumps(COCO), name="c.png")


def test_a_coco_file_of_a_whole_set_is_parsed_once_for_all_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [
        {"id": number, "file_name": f"{number}.png", "width": 30, "height": 20}
        for number in range(50)
    ]
    drawn = [
        {"image_id": number, "category_id": 3, "bbox": [0, 0, 1 + number, 1]}
        for number in range(50)
    ]
    path = tmp_path / "all.json"
    path.write_text(json.dumps(COCO | {"images": images, "annotations": drawn}))
    parsed: list[bytes] = []
    loads = json.loads

    def counting(content: bytes) -> object:
        parsed.append(content)
        return loads(content)

    monkeypatch.setattr(json, "loads", counting)
    widths = [box_files.read(path, f"{number}.png").boxes[0] for number in range(50)]
    assert [box.high for box in widths] == [(1.0, 1.0 + number) for number in range(50)]
    assert len(parsed) == 1
    path.write_text(json.dumps(COCO))  # another file under the same name
    assert box_files.read(path, "a.png").boxes == (CELL,)
    assert len(parsed) == 2


def test_boxes_drawn_on_another_image_are_refused(tmp_path: Path) -> None:
    for name, content in (
        ("a.xml", VOC.replace("<width>30", "<width>31")),
        ("a.json", json.dumps(COCO).replace('"height": 20', '"height": 19')),
    ):
        with pytest.raises(LabelRefused, match="drawn on"):
            settled(tmp_path / name, content)


def test_a_size_of_0_tells_nothing(tmp_path: Path) -> None:
    unknown = VOC.replace("<width>30", "<width>0").replace("<height>20", "<height>0")
    assert settled(tmp_path / "a.xml", unknown).boxes == (CELL,)


def test_a_box_without_an_area_is_refused_or_left_out_and_said(tmp_path: Path) -> None:
    content = VOC.replace("<ymax>9", "<ymax>2")
    with pytest.raises(LabelRefused, match="1 of 1 boxes have no area"):
        settled(tmp_path / "a.xml", content)
    dropped = settled(tmp_path / "a.xml", content, drops_empty=True)
    assert dropped == Settled(boxes=(), notes=("boxes without an area were left out: 1",))


def test_a_box_over_the_edge_is_cut_there_and_said(tmp_path: Path) -> None:
    found = settled(tmp_path / "a.json", own([-3, 20], [9, 31.5]))
    assert found.boxes == (PixelBox(label="cell", low=(0.0, 20.0), high=(9.0, 30.0)),)
    assert found.notes == ("boxes were cut at the edge of the image: 1",)


@pytest.mark.parametrize(
    ("low", "high"), [([0, 25], [5, 36]), ([-9, 0], [5, 5]), ([40, 40], [50, 50])]
)
def test_a_box_outside_of_its_image_is_refused(
    tmp_path: Path, low: list[float], high: list[float]
) -> None:
    with pytest.raises(LabelRefused, match="outside"):
        settled(tmp_path / "a.json", own(low, high))


def test_a_box_in_mm_outside_of_its_volume_is_refused(tmp_path: Path) -> None:
    box = {"label": "nodule", "centre": [100.0, 2.0, 4.0], "size": [3.0, 1.0, 2.0]}
    with pytest.raises(LabelRefused, match="outside"):
        settled(tmp_path / "a.json", json.dumps({"boxes": [box]}), VOLUME)


def test_a_box_in_mm_needs_a_volume_and_one_in_pixels_an_image() -> None:
    in_mm = Box(label="cell", centre=(3.0, 2.0, 4.0), size=(3.0, 1.0, 2.0))
    assert boxes.index_box(in_mm, VOLUME).tolist() == [1, 3.5, 6.5, 2, 5.5, 10.5]
    in_pixels = PixelBox(label="cell", low=(0.0, 0.0), high=(4.0, 4.0))
    for box, image in ((in_mm, IMAGE), (in_pixels, VOLUME)):
        with pytest.raises(LabelRefused):
            boxes.index_box(box, image)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "{}",
        '{"boxes": [{"label": "nodule"}]}',
        '{"boxes": [{"label": "car", "centre": [0, 0, 0], "size": [1, 1, 1]}]}',
        '{"boxes": [{"label": "nodule", "centre": [0, 0], "size": [1, 1, 1]}]}',
        '{"boxes": [{"label": "nodule", "centre": [0, 0, 0], "size": [1, 0, 1]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 0]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 0, 0], "high": [1, 1, 1]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 3], "high": [5, 3]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 0], "high": [1, Infinity]}]}',
        '{"boxes": [{"label": "nodule", "centre": [0, 0, NaN], "size": [1, 1, 1]}]}',
    ],
)
def test_boxes_of_another_form_are_refused(tmp_path: Path, document: str) -> None:
    for image in (IMAGE, VOLUME):
        with pytest.raises(LabelRefused):
            settled(tmp_path / "boxes.json", document, image)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<annotation>",
        "<other/>",
        VOC.replace("cell", "car"),
        VOC.replace("<ymax>9</ymax>", ""),
        VOC.replace("<ymax>9", "<ymax>nan"),
        VOC.replace("<ymax>9", "<ymax>1"),
        VOC.replace("<name>cell</name>", ""),
        VOC.replace("<width>30", "<width>wide"),
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + VOC.split("?>")[1],
    ],
)
def test_an_annotation_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(LabelRefused):
        settled(tmp_path / "a.xml", text)


@pytest.mark.parametrize("encoding", ["utf-16", "cp037"])
def test_entities_do_not_hide_behind_an_encoding(tmp_path: Path, encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    head = declared.encode(encoding if encoding == "utf-16" else "ascii")
    rest = '<!DOCTYPE a [<!ENTITY b "cell">]>' + VOC.split("?>")[1].replace("cell", "&b;")
    content = head + rest.encode(encoding).removeprefix(b"\xff\xfe")
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(LabelRefused):
        box_files.read(tmp_path / "a.xml")


_PARTS = st.sampled_from(
    ["images", "annotations", "categories", "boxes", "id", "bbox", "file_name"]
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.floats() | st.sampled_from(["a.png", "cell"]),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(_PARTS, one, max_size=4),
    max_leaves=12,
)


@given(document=_JSON, place=st.integers(0, 600), value=st.integers(32, 126))
def test_no_file_is_anything_but_boxes_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, document: Any, place: int, value: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    files = [("wild.json", json.dumps(document))]
    for name, text in (("wild.json", json.dumps(COCO)), ("wild.xml", VOC)):
        at = place % len(text)
        files.append((name, text[:at] + chr(value) + text[at + 1 :]))
    for name, text in files:
        try:
            found = settled(folder / name, text)
        except LabelRefused:
            continue
        assert all(box.label == "cell" for box in found.boxes)


def test_a_case_without_boxes_is_a_case(tmp_path: Path) -> None:
    assert settled(tmp_path / "boxes.json", json.dumps({"boxes": []})) == Settled(boxes=())


def test_two_boxes_of_real_blood_smears_have_no_area() -> None:
    folder = public.shared("labelled", "det_bccd", "Annotations")
    labels, image = ("RBC", "WBC", "Platelets"), Image(pixels=np.zeros((1, 480, 640, 3), np.uint8))
    refused = set()
    for path in sorted(folder.glob("*.xml")):
        stated = box_files.read(path)
        kept = boxes.settle(stated, image, labels, drops_empty=True)
        try:
            boxes.settle(stated, image, labels)
        except LabelRefused:
            refused.add(path.stem)
            assert len(kept.boxes) == len(stated.boxes) - 1
    assert refused <= {"BloodImage_00338", "BloodImage_00343"}
    assert refused
