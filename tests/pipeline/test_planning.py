from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.analysis import Analysis, from_document, parse
from pipeline.dicom.series.grouping import IndexedSeries, IndexedStudy
from pipeline.planning import PlannedAnalysis, plan_study
from pipeline.reasons import Reason
from tests.data import shared
from tests.pipeline.dicom import made_series as series

ANALYSES = Path(__file__).parents[2] / "analyses"


def _shipped() -> list[Analysis]:
    return [
        parse((ANALYSES / f"{name}.yaml").read_text())
        for name in ("ct-lungs", "mr-head", "image-lesion", "photo-lesion")
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> IndexedSeries:
    return series.only_series(series.write(tmp_path_factory.mktemp("ct"), series.stack(16)))


def _like(template: IndexedSeries, uid: str, **changes: Any) -> IndexedSeries:
    own = {name: changes.pop(name) for name in ("kind", "verdict", "detail") if name in changes}
    attributes = {
        **template.attributes,
        **changes,
        **({"kind": own["kind"]} if "kind" in own else {}),
    }
    return dataclasses.replace(
        template,
        series_instance_uid=uid,
        attributes=attributes,
        modality=attributes["modality"],
        **own,
    )


def _study(*every: IndexedSeries) -> IndexedStudy:
    return IndexedStudy(study_instance_uid="1.2", series=every)


def test_a_chest_ct_is_planned_for_the_chest_analysis_only(template: IndexedSeries) -> None:
    (planned,) = plan_study(_study(template), _shipped())
    assert planned.analysis.name == "ct-lungs"
    assert planned.rejected is None
    chosen = planned.plan["inputs"]["ct"]["chosen"]
    assert chosen == [{"series_instance_uid": series.SERIES, "part": 0}]


def test_the_better_series_is_chosen_and_the_other_says_why_not(template: IndexedSeries) -> None:
    thick = _like(template, "1.1", slices=20)
    thin = _like(template, "1.2", slices=40)
    scout = _like(template, "1.3", series_description="Scout 400")
    (planned,) = plan_study(_study(thick, thin, scout), _shipped())
    considered = planned.plan["inputs"]["ct"]["considered"]
    assert [(c["series_instance_uid"], c["chosen"]) for c in considered] == [
        ("1.1", False),
        ("1.2", True),
        ("1.3", False),
    ]
    assert "most_slices" in considered[0]["because"]
    assert "description_excludes" in considered[2]["because"]
    failing = [c["clause"] for c in considered[2]["clauses"] if not c["holds"]]
    assert failing == ["description_excludes"]


def test_ties_do_not_hang_on_the_order_of_files(template: IndexedSeries) -> None:
    twins = [_like(template, uid) for uid in ("1.5", "1.4", "1.6")]
    for order in (twins, twins[::-1]):
        (planned,) = plan_study(_study(*order), _shipped())
        assert planned.plan["inputs"]["ct"]["chosen"][0]["series_instance_uid"] == "1.4"


def test_a_broken_series_rejects_its_job_by_its_own_reason(template: IndexedSeries) -> None:
    broken = _like(
        template,
        "1.1",
        verdict=Reason.SERIES_MISSING_SLICE,
        detail="slices are missing",
        spacing_mm=None,
    )
    (planned,) = plan_study(_study(broken), _shipped())
    assert planned.rejected == (Reason.SERIES_MISSING_SLICE, "slices are missing")


def test_a_policy_can_accept_a_gap(template: IndexedSeries) -> None:
    broken = _like(
        template, "1.1", verdict=Reason.SERIES_MISSING_SLICE, detail="slices are missing"
    )
    text = (ANALYSES / "ct-lungs.yaml").read_text()
    tolerant = parse(text.replace("missing_slice: refuse", "missing_slice: longest_run"))
    (planned,) = plan_study(_study(broken), [tolerant])
    assert planned.rejected is None


def test_the_plan_says_which_policy_let_a_series_in(template: IndexedSeries) -> None:
    tilted = _like(template, "1.1", verdict=Reason.SERIES_GANTRY_TILT, detail="sheared")
    (planned,) = plan_study(_study(tilted), [_with("gantry_tilt: resample")])
    (considered,) = planned.plan["inputs"]["ct"]["considered"]
    assert considered["because"] == (
        "chosen: every clause holds; series.gantry_tilt is let in by gantry_tilt: resample"
    )


def test_a_looser_tolerance_lets_in_what_it_can_put_in_order(template: IndexedSeries) -> None:
    frames = [
        dataclasses.replace(f, position=(0.0, 0.0, 5.0 * n + (0.2 if n == 7 else 0.0)))
        for n, f in enumerate(template.frames)
    ]
    uneven = dataclasses.replace(
        _like(template, "1.1", verdict=Reason.SERIES_GEOMETRY_INVALID), frames=tuple(frames)
    )
    (planned,) = plan_study(_study(uneven), [_with("spacing_tolerance: 0.05")])
    (considered,) = planned.plan["inputs"]["ct"]["considered"]
    assert considered["because"].endswith("is let in by spacing_tolerance: 0.05")
    (refused,) = plan_study(_study(uneven), [_with("spacing_tolerance: 0.02")])
    assert refused.rejected is not None
    assert refused.rejected[0] is Reason.SERIES_GEOMETRY_INVALID


def _with(policy: str) -> Analysis:
    document = yaml.safe_load((ANALYSES / "ct-lungs.yaml").read_text())
    document.setdefault("policies", {}).update(yaml.safe_load(policy))
    return parse(yaml.safe_dump(document))


def test_a_study_too_short_for_the_analysis_is_rejected_with_the_clause(
    template: IndexedSeries,
) -> None:
    (planned,) = plan_study(_study(_like(template, "1.1", slices=5)), _shipped())
    assert planned.rejected is not None
    assert planned.rejected[0] is Reason.SELECTION_NO_SERIES
    considered = planned.plan["inputs"]["ct"]["considered"]
    assert considered[0]["because"] == "not chosen: minimum_slices is 5, wanted 16"


def test_an_analysis_may_refuse_a_series_with_unread_files_beside_it(
    template: IndexedSeries,
) -> None:
    text = (ANALYSES / "ct-lungs.yaml").read_text()
    strict = parse(text.replace("    where:\n", "    where:\n      maximum_unread_neighbours: 0\n"))
    for count, chosen in ((0, True), (1, False)):
        beside = _like(template, "1.1", unread_neighbours=count)
        (planned,) = plan_study(_study(beside), [strict])
        assert (planned.rejected is None) is chosen


def test_every_single_image_is_an_input_of_its_own(template: IndexedSeries) -> None:
    views = [
        _like(template, uid, kind="image", modality="CR", slices=1, spacing_mm=None)
        for uid in ("1.2", "1.1")
    ]
    (planned,) = plan_study(_study(*views), _shipped())
    assert planned.analysis.name == "image-lesion"
    chosen = planned.plan["inputs"]["image"]["chosen"]
    assert [one["series_instance_uid"] for one in chosen] == ["1.1", "1.2"]


@pytest.mark.parametrize(
    ("is_colour", "name"), [(False, "image-lesion"), (True, "photo-lesion")], ids=["grey", "colour"]
)
def test_a_picture_goes_to_the_model_that_knows_its_colours(
    template: IndexedSeries, *, is_colour: bool, name: str
) -> None:
    still = _like(template, "1.1", kind="image", modality="US", slices=1, is_colour=is_colour)
    (planned,) = plan_study(_study(still), _shipped())
    assert planned.analysis.name == name
    assert planned.rejected is None


def test_a_dose_sheet_beside_a_ct_makes_no_job(template: IndexedSeries) -> None:
    sheet = _like(
        template, "1.9", kind="image", slices=1, image_type=["DERIVED", "SECONDARY", "DOSE_INFO"]
    )
    planned = plan_study(_study(template, sheet), _shipped())
    assert [one.analysis.name for one in planned] == ["ct-lungs"]


def test_a_study_that_nothing_fits_gets_one_rejected_job(template: IndexedSeries) -> None:
    ultrasound = _like(template, "1.1", kind="image", modality="US", slices=1)
    (planned,) = plan_study(_study(ultrasound), _shipped()[:2])
    assert planned.analysis.name == "ct-lungs"
    assert planned.rejected is not None
    assert planned.rejected[0] is Reason.SELECTION_NO_SERIES


def test_a_plan_is_json_and_holds_nothing_of_the_patient(template: IndexedSeries) -> None:
    (planned,) = plan_study(_study(template), _shipped())
    assert "Canary" not in json.dumps(planned.plan)


def _asking(where: dict[str, Any], prefer: list[Any] | None = None) -> Analysis:
    document = yaml.safe_load((ANALYSES / "ct-lungs.yaml").read_text())
    document["inputs"]["ct"] = {
        "kind": "volume",
        "where": {"modality": "CT", **where},
        "prefer": prefer or [],
    }
    return from_document(document)


def _considered(planned: PlannedAnalysis) -> list[dict[str, Any]]:
    considered: list[dict[str, Any]] = planned.plan["inputs"]["ct"]["considered"]
    return considered


@pytest.mark.parametrize(
    ("clause", "holding", "failing"),
    [
        ({"description": "chest ax"}, {"series_description": "Chest Ax"}, {}),
        ({"protocol_matches": r"^thorax\b.*\d"}, {"protocol": "Thorax 2"}, {"protocol": "x"}),
        ({"kernel_excludes": ["B70"]}, {"kernel": "B30f"}, {"kernel": "B70f"}),
        ({"model": "Force"}, {"model_name": "FORCE"}, {"model_name": "Force 2"}),
        ({"units": "BQML"}, {"units": "BQML"}, {"units": "CNTS"}),
        (
            {"image_type": "AXIAL"},
            {"image_type": ["ORIGINAL", "PRIMARY", "AXIAL"]},
            {"image_type": ["ORIGINAL", "AXIAL_2"]},
        ),
        (
            {"image_type_contains_all": ["ORIGINAL", "PRIMARY"]},
            {"image_type": ["ORIGINAL", "PRIMARY"]},
            {"image_type": ["DERIVED", "PRIMARY"]},
        ),
        ({"series_number": [2, 3]}, {"series_number": 3}, {"series_number": None}),
        ({"minimum_columns": 512}, {"columns": 512}, {"columns": 511}),
        ({"maximum_pixel_spacing_mm": 1}, {"pixel_spacing_mm": [0.7, 0.7]}, {}),
        (
            {"minimum_thickness_mm": 1, "maximum_thickness_mm": 2},
            {"slice_thickness_mm": 1.5},
            {"slice_thickness_mm": 2.5},
        ),
        ({"minimum_field_strength_t": 2.5}, {"field_strength_t": 3.0}, {}),
        ({"maximum_echo_time_ms": 30}, {"phases": {"EchoTime": "20.5"}}, {"phases": {}}),
        (
            {"minimum_b_value": 500},
            {"phases": {"DiffusionBValue": "1000"}},
            {"phases": {"DiffusionBValue": "nan"}},
        ),
        ({"geometry": True}, {"has_geometry": True}, {"has_geometry": False}),
        (
            {"any_of": [{"minimum_slices": 99}, {"kernel_contains": "B", "rows": 6}]},
            {"kernel": "B30", "rows": 6},
            {"kernel": "B30", "rows": 7},
        ),
        (
            {"none_of": [{"rows": 7, "kernel_contains": "B"}]},
            {"rows": 7, "kernel": ""},
            {"rows": 7, "kernel": "B"},
        ),
    ],
    ids=lambda value: next(iter(value), ""),
)
def test_a_clause_holds_where_the_series_is_so(
    template: IndexedSeries,
    clause: dict[str, Any],
    holding: dict[str, Any],
    failing: dict[str, Any],
) -> None:
    good, bad = _like(template, "1.1", **holding), _like(template, "1.2", **failing)
    (planned,) = plan_study(_study(good, bad), [_asking(clause)])
    first, second = _considered(planned)
    assert (first["chosen"], second["chosen"]) == (True, False), (first, second)
    assert second["because"].startswith("not chosen: ")
    assert "preferred" not in second["because"]


def test_alternatives_and_exceptions_are_explained_to_the_last_clause(
    template: IndexedSeries,
) -> None:
    where = {
        "any_of": [{"minimum_slices": 99}, {"kernel_contains": "B"}],
        "none_of": [{"rows": 7}],
    }
    soft, other = _like(template, "1.1", kernel="B30"), _like(template, "1.2", rows=7)
    (planned,) = plan_study(_study(soft, other), [_asking(where)])
    first, second = _considered(planned)
    any_of, none_of = first["clauses"][-2:]
    assert (any_of["clause"], any_of["actual"], any_of["holds"]) == (
        "any_of",
        ["alternative 2"],
        True,
    )
    assert [part["holds"] for part in any_of["parts"]] == [False, True]
    assert any_of["parts"][0]["parts"] == [
        {"clause": "minimum_slices", "expected": 99, "actual": 16, "holds": False}
    ]
    assert none_of["holds"]
    assert second["because"] == (
        "not chosen: none of 2 alternatives holds (alternative 1: minimum_slices is 16, wanted 99; "
        "alternative 2: kernel_contains is not stated, wanted B); it is an exception (exception 1)"
    )
    json.dumps(planned.plan)


def test_a_broken_series_that_an_alternative_would_take_is_the_fault(
    template: IndexedSeries,
) -> None:
    broken = _like(
        template, "1.1", verdict=Reason.SERIES_MISSING_SLICE, detail="gap", spacing_mm=None
    )
    where = {"any_of": [{"maximum_slice_spacing_mm": 3}, {"minimum_slices": 99}]}
    (planned,) = plan_study(_study(broken), [_asking(where)])
    assert planned.rejected == (Reason.SERIES_MISSING_SLICE, "gap")


@pytest.mark.parametrize(
    ("preference", "better", "worse"),
    [
        ({"kernel_matches": "^B[23]"}, {"kernel": "B30f"}, {"kernel": "B70f"}),
        ("contrast", {"contrast": True}, {"contrast": False}),
        ("fewest_slices", {"slices": 8}, {"slices": 9}),
        ("thickest", {"spacing_mm": [5, 1, 1]}, {"spacing_mm": None}),
        ("finest_pixels", {"pixel_spacing_mm": [0.5, 0.5]}, {"pixel_spacing_mm": None}),
        ("axial", {"orientation": "axial"}, {"orientation": "coronal"}),
        ("highest_field", {"field_strength_t": 3.0}, {"field_strength_t": None}),
        ("earliest", {"series_number": 2}, {"series_number": 3}),
        ("latest", {"series_number": 3}, {"series_number": 2}),
    ],
    ids=str,
)
def test_a_tie_breaker_decides_and_is_named(
    template: IndexedSeries, preference: Any, better: dict[str, Any], worse: dict[str, Any]
) -> None:
    # the UID of the better one comes last: it cannot win by that
    study = _study(_like(template, "1.1", **worse), _like(template, "1.2", **better))
    (planned,) = plan_study(study, [_asking({}, ["original", preference])])
    first, second = _considered(planned)
    assert (first["chosen"], second["chosen"]) == (False, True)
    named = preference if isinstance(preference, str) else "kernel_matches: ^B[23]"
    assert f"another series is preferred ({named})" in first["because"]


def test_a_plan_has_the_steps_in_their_order_with_crops_conditions_and_questions_in_words(
    template: IndexedSeries,
) -> None:
    document = yaml.safe_load((ANALYSES / "ct-lungs.yaml").read_text())
    document["steps"] = [
        {
            "name": "fine",
            "model": "m",
            "input": "ct",
            "crop": {"to": "lungs", "segments": "lung"},
            "when": {"step": "lungs", "volume_ml": "lung", "minimum": 100},
            "uncertainty": {"flips": [0]},
        },
        {"name": "lungs", "model": "threshold-lung", "input": "ct"},
    ]
    (planned,) = plan_study(_study(template), [from_document(document)])
    lungs, fine = planned.plan["steps"]
    assert (lungs["step"], lungs["crop"], lungs["when"]) == ("lungs", None, None)
    assert fine == {
        "step": "fine",
        "model": "m",
        "input": "ct",
        "after": ["lungs"],
        "crop": "to lung of step lungs and 10 mm around it, skipped where that is empty",
        "when": "volume in mL of lung in step lungs is at least 100",
        "asks": ["how sure the model is, by flips"],
    }
    assert lungs["asks"] == []


def test_a_plan_says_what_is_made_of_an_input(template: IndexedSeries) -> None:
    document = yaml.safe_load((ANALYSES / "ct-lungs.yaml").read_text())
    document["prepare"] = {
        "smooth": {"of": "ct", "steps": [{"median": {"radius_mm": 1}}]},
    }
    document["steps"] = [{"name": "lungs", "model": "threshold-lung", "input": "smooth"}]
    (planned,) = plan_study(_study(template), [from_document(document)])
    assert planned.plan["prepared"] == {
        "smooth": {"of": "ct", "steps": ["median (radius_mm 1, slicewise False)"]}
    }
    assert planned.plan["steps"][0]["input"] == "smooth"


def test_a_real_brain_study_gets_its_best_series() -> None:
    (study,) = series.scanned(shared("dicom", "mr_brain_pgbm003")).studies
    (planned,) = plan_study(study, _shipped())
    assert planned.analysis.name == "mr-head"
    considered = planned.plan["inputs"]["mr"]["considered"]
    assert len(considered) == 5
    assert sum(one["chosen"] for one in considered) == 1


def _fused(*optional: str) -> Analysis:
    """Return an analysis of three series as channels of one step, some of which may be missing."""
    document = {
        "name": "fused",
        "version": "1",
        "title": "Several series as one input",
        "inputs": {
            name: {
                "kind": "volume",
                "where": {"modality": "CT", "description_contains": name},
                "optional": name in optional,
            }
            for name in ("early", "late", "plain")
        },
        "steps": [
            {"name": "fused", "model": "m", "input": ["early", "late", "plain"]},
            {"name": "phases", "model": "m", "input": ["late", "early"]},
        ],
    }
    return from_document(document)


def test_a_study_that_lacks_an_optional_series_is_planned_without_it(
    template: IndexedSeries,
) -> None:
    study = _study(
        _like(template, "1.1", series_description="late"),
        _like(template, "1.2", series_description="plain"),
    )
    (planned,) = plan_study(study, [_fused("early")])
    assert planned.rejected is None
    inputs = planned.plan["inputs"]
    assert (inputs["early"]["chosen"], inputs["early"]["optional"]) == ([], True)
    assert "optional" not in inputs["late"]
    (refused,) = plan_study(study, [_fused("plain")])
    said = "no series meets every clause of input early"
    assert refused.rejected == (Reason.SELECTION_NO_SERIES, said)


def test_a_step_needs_one_of_its_series_at_least(template: IndexedSeries) -> None:
    study = _study(_like(template, "1.2", series_description="plain"))
    (planned,) = plan_study(study, [_fused("early", "late", "plain")])
    said = "no series meets every clause of any input of step phases"
    assert planned.rejected == (Reason.SELECTION_NO_SERIES, said)


def test_an_optional_series_that_is_faulty_is_not_missing(template: IndexedSeries) -> None:
    study = _study(
        _like(template, "1.1", series_description="late"),
        _like(template, "1.2", series_description="plain"),
        _like(
            template,
            "1.3",
            series_description="early",
            verdict=Reason.SERIES_MISSING_SLICE,
            detail="slices are missing",
        ),
    )
    (planned,) = plan_study(study, [_fused("early")])
    assert planned.rejected == (Reason.SERIES_MISSING_SLICE, "slices are missing")


def test_an_analysis_whose_inputs_are_all_optional_does_not_apply_to_every_study(
    template: IndexedSeries,
) -> None:
    document = _fused("early", "late", "plain").document
    for rule in document["inputs"].values():
        rule["where"]["modality"] = "PT"
    analyses = [_shipped()[0], from_document(document)]
    planned = plan_study(_study(template), analyses)
    assert [one.analysis.name for one in planned] == ["ct-lungs"]
