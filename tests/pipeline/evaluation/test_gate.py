"""The gate: what it says of candidates whose figures are known, and of those it cannot judge."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation import gate, scores
from pipeline.evaluation.fidelity import Fidelity
from pipeline.evaluation.gate import Decision, Verdict
from pipeline.evaluation.rule import Floor, Rule, SubgroupRule
from pipeline.evaluation.scores import Attacked, Overlap, Restored, Scores, ScoresRefused
from tests.pipeline.evaluation import made_scores

ACCURACY = Rule(statistic="accuracy", least_patients=20)
TRUTH = [0, 1] * 30


def right_in(places: set[int], *, count: int = 60, **more: Any) -> Scores:
    """Return a version that is right in these cases and wrong in the others."""
    truth = TRUTH[:count]
    said = [true if place in places else 1 - true for place, true in enumerate(truth)]
    return made_scores.binary(truth, [0.05 + 0.9 * number for number in said], **more)


GOOD = right_in(set(range(54)))
FAIR = right_in(set(range(42)))


def sentences(verdict: Verdict, *, holding: bool | None) -> str:
    return "; ".join(one.sentence for one in verdict.findings if one.holds is holding)


def test_a_candidate_that_errs_less_is_to_be_promoted() -> None:
    found = gate.decide(ACCURACY, GOOD, FAIR)
    assert found.decision is Decision.PROMOTE
    assert found.comparison is not None
    assert found.comparison.gain == pytest.approx(0.2)
    assert "accuracy is better: 0.9 after 0.7, gain +0.2" in found.sentence


def test_a_candidate_that_errs_more_is_refused() -> None:
    found = gate.decide(ACCURACY, FAIR, GOOD)
    assert found.decision is Decision.REFUSE
    assert "accuracy is worse" in found.sentence


@pytest.mark.parametrize("kept", [GOOD, FAIR])
def test_the_same_model_twice_is_never_better(kept: Scores) -> None:
    found = gate.decide(ACCURACY, kept, kept)
    assert found.decision is Decision.REFUSE
    assert found.sentence.endswith("and better is wanted")
    wants = ACCURACY.model_copy(update={"wants": "not worse"})
    assert gate.decide(wants, kept, kept).decision is Decision.PROMOTE


def test_a_model_of_shuffled_labels_is_refused() -> None:
    truth, given = made_scores.random_binary(200, seed=1, effect=4.0)
    shuffled = np.random.default_rng(2).permutation(given).tolist()
    learned, chance = (made_scores.binary(truth, one) for one in (given, shuffled))
    assert gate.decide(Rule(), chance, learned).decision is Decision.REFUSE
    assert gate.decide(Rule(), learned, chance).decision is Decision.PROMOTE


def test_too_few_patients_decide_nothing() -> None:
    few = ACCURACY.model_copy(update={"least_patients": 61})
    found = gate.decide(few, GOOD, FAIR)
    assert found.decision is Decision.CANNOT_DECIDE
    assert found.sentence.startswith("whether accuracy is better or worse cannot be told: 0.9")
    assert found.sentence.endswith("60 patients, 61 patients are needed")


def test_what_speaks_against_the_cases_outweighs_every_figure() -> None:
    against = ["3 patients of the held-out cases were trained on"]
    found = gate.decide(ACCURACY, GOOD, FAIR, against=against)
    assert found.decision is Decision.CANNOT_DECIDE
    assert against[0] in found.sentence
    assert gate.decide(ACCURACY, FAIR, GOOD, against=against).decision is Decision.CANNOT_DECIDE


def test_other_cases_cannot_be_compared() -> None:
    found = gate.decide(ACCURACY, GOOD, FAIR.of_cases(list(range(50))))
    assert (found.decision, found.comparison) == (Decision.CANNOT_DECIDE, None)
    assert "same cases" in found.sentence


def test_the_first_version_is_promoted_by_floors_alone() -> None:
    assert gate.decide(ACCURACY, GOOD, None).decision is Decision.CANNOT_DECIDE
    met, missed = Floor(statistic="accuracy", value=0.9), Floor(statistic="brier", value=0.05)
    with_floor = ACCURACY.model_copy(update={"floors": (met,)})
    assert gate.decide(with_floor, GOOD, None).decision is Decision.PROMOTE
    both = ACCURACY.model_copy(update={"floors": (met, missed)})
    found = gate.decide(both, GOOD, None)
    # one case in ten is wrong by 0.9025 of the square, the others by 0.0025
    assert found.decision is Decision.REFUSE
    assert found.sentence == "Brier score of 0.0925 misses 0.05"
    assert sentences(found, holding=True) == "accuracy of 0.9 reaches 0.9"


def test_a_better_candidate_that_misses_a_floor_is_refused() -> None:
    rule = ACCURACY.model_copy(update={"floors": (Floor(statistic="accuracy", value=0.95),)})
    assert gate.decide(rule, GOOD, FAIR).decision is Decision.REFUSE


def test_a_floor_that_too_few_patients_bear_on_is_not_met() -> None:
    floor = Floor(statistic="recall", label="b", value=0.5)
    rule = Rule(statistic="accuracy", least_patients=31, floors=(floor,))
    found = gate.decide(rule, GOOD, None)
    assert found.decision is Decision.CANNOT_DECIDE
    assert "30 patients bear on it, 31 are needed" in found.sentence


def by_sex(places: set[int]) -> Scores:
    """Return a version; the last 20 of 60 patients are men."""
    groups = [{"sex": "male" if number >= 40 else "female"} for number in range(60)]
    return right_in(places, groups=groups)


def test_a_gain_of_all_does_not_pay_for_the_loss_of_a_group() -> None:
    active = by_sex({*range(20), *range(40, 60)})
    candidate = by_sex({*range(40), *range(40, 46)})
    assert gate.decide(ACCURACY, candidate, active).decision is Decision.CANNOT_DECIDE
    lenient = ACCURACY.model_copy(update={"wants": "not worse", "margin": 0.2})
    assert gate.decide(lenient, candidate, active).decision is Decision.PROMOTE
    strict = lenient.model_copy(update={"subgroups": {"sex": SubgroupRule(margin=0.1)}})
    found = gate.decide(strict, candidate, active)
    assert found.decision is Decision.REFUSE
    assert "sex male is worse: 0.3 after 1, gain -0.7" in found.sentence
    assert "sex female loses nothing that counts" in sentences(found, holding=True)


def test_a_group_that_is_too_small_is_shown_and_not_asked() -> None:
    active, candidate = by_sex(set(range(60))), by_sex(set(range(40)))
    asked = SubgroupRule(margin=0.0, least_patients=21)
    rule = Rule(statistic="accuracy", wants="not worse", margin=0.6, subgroups={"sex": asked})
    found = gate.decide(rule, candidate, active)
    assert found.decision is Decision.PROMOTE
    male = next(one for one in found.subgroups if one.group == "male")
    assert (male.comparison.gain, male.comparison.patients) == (-1.0, 20)


def test_each_group_has_its_floor() -> None:
    floor = Floor(statistic="accuracy", value=0.8)
    rule = ACCURACY.model_copy(update={"subgroups": {"sex": SubgroupRule(floors=(floor,))}})
    found = gate.decide(rule, by_sex(set(range(54))), None)
    assert found.decision is Decision.REFUSE
    assert found.sentence == "accuracy of sex male of 0.7 misses 0.8"
    age = ACCURACY.model_copy(update={"subgroups": {"age": SubgroupRule(floors=(floor,))}})
    assert "no case states its age" in gate.decide(age, by_sex({1}), None).sentence


def floor_of_each_sex(**more: Any) -> Rule:
    """Return a rule with a floor of each group, and none of all."""
    floor = Floor(statistic="accuracy", value=0.8)
    return ACCURACY.model_copy(update={"subgroups": {"sex": SubgroupRule(floors=(floor,), **more)}})


def test_the_first_version_is_promoted_by_floors_of_its_groups_alone() -> None:
    found = gate.decide(floor_of_each_sex(), by_sex(set(range(58))), None)
    assert found.decision is Decision.PROMOTE
    assert found.sentence == (
        "accuracy of sex female of 1 reaches 0.8; accuracy of sex male of 0.9 reaches 0.8"
    )


def test_a_first_version_whose_groups_are_all_too_small_for_a_floor_is_not_decided() -> None:
    found = gate.decide(floor_of_each_sex(least_patients=41), by_sex(set(range(60))), None)
    assert found.decision is Decision.CANNOT_DECIDE
    assert found.sentence.endswith("no group is large enough for a floor")
    margin = ACCURACY.model_copy(update={"subgroups": {"sex": SubgroupRule(margin=0.1)}})
    found = gate.decide(margin, by_sex(set(range(60))), None)
    assert found.sentence.endswith("the rule states no floors")


def alarms(*sizes: float, images_from: int = 25) -> Scores:
    """Return 25 cases without a lesion, these sizes found in turn: volumes, then images."""
    cases = [
        {
            "overlaps": (
                Overlap(
                    true_size=0,
                    found_size=sizes[number % len(sizes)],
                    unit="ml" if number < images_from else "pixels",
                ),
            )
        }
        for number in range(25)
    ]
    groups = [{"site": "a" if number < images_from else "b"} for number in range(25)]
    return made_scores.scores("segmentation", ["lesion"], cases, groups=groups)


ALARM = Floor(statistic="false_alarm_ml", label="lesion", value=2.0)


def test_a_rule_may_say_how_large_false_alarms_are_at_most() -> None:
    pixels = Floor(statistic="false_alarm_pixels", label="lesion", value=2.0)
    each = {"site": SubgroupRule(floors=(ALARM, pixels))}
    rule = Rule(statistic="false_alarm_ml", label="lesion", floors=(ALARM, pixels), subgroups=each)
    assert not [*rule.faults("segmentation", ["lesion"])]
    assert len([*rule.faults("segmentation", ["lung"])]) == 5
    assert len([*rule.faults("detection", ["lesion"])]) == 5


def test_false_alarms_larger_than_a_floor_allows_are_refused() -> None:
    rule = Rule(floors=(ALARM,))
    assert gate.decide(rule, alarms(1.0), None).decision is Decision.PROMOTE
    found = gate.decide(rule, alarms(3.0), None)
    assert found.decision is Decision.REFUSE
    assert found.sentence == "false alarm (ml) of lesion of 3 misses 2"


def test_a_size_that_no_case_has_cannot_be_told() -> None:
    found = gate.decide(Rule(floors=(ALARM,)), alarms(1.0, images_from=0), None)
    assert found.decision is Decision.CANNOT_DECIDE
    assert "0 patients bear on it, 20 are needed" in found.sentence
    unknown = ALARM.model_copy(update={"label": "lung"})
    with pytest.raises(ScoresRefused, match="false_alarm_ml"):
        gate.decide(Rule(floors=(unknown,)), alarms(1.0), None)


def test_a_size_is_asked_of_the_groups_that_have_it() -> None:
    each = {"site": SubgroupRule(margin=0.0, floors=(ALARM,))}
    rule = Rule(statistic="false_alarm_ml", label="lesion", least_patients=10, subgroups=each)
    new, old = (alarms(*sizes, images_from=15) for sizes in ((0.5, 1.0), (1.5, 2.5)))
    found = gate.decide(rule, new, old)
    assert found.decision is Decision.PROMOTE
    assert [one.group for one in found.subgroups] == ["a"]
    assert "false alarm (ml) of lesion of site a of 0.733 reaches 2" in found.sentence


def test_a_verdict_is_computed_again_from_what_was_kept() -> None:
    rule = ACCURACY.model_copy(update={"subgroups": {"sex": SubgroupRule(margin=0.1)}})
    new, old = by_sex(set(range(50))), by_sex(set(range(35)))
    stated = json.dumps(gate.decide(rule, new, old).stated(), sort_keys=True)
    kept_rule = Rule.model_validate_json(rule.model_dump_json())
    kept = [scores.parse(one.dump()) for one in (new, old)]
    again = json.dumps(gate.decide(kept_rule, *kept).stated(), sort_keys=True)
    assert again == stated


def test_segmentations_are_compared_by_their_mean_dice() -> None:
    def dice(value: float) -> Scores:
        one = Overlap(true_size=1, found_size=1, unit="ml", dice=value, surface_dice=value)
        case = {"overlaps": (one, one.model_copy(update={"dice": 1.0}))}
        return made_scores.scores("segmentation", "ab", [case] * 25)

    found = gate.decide(Rule(), dice(0.9), dice(0.8))
    assert found.decision is Decision.PROMOTE
    assert found.comparison is not None
    assert found.comparison.candidate == pytest.approx(0.95)


def test_a_candidate_that_was_attacked_too_is_held_against_one_that_was_not() -> None:
    attacked = [
        case.model_copy(update={"attacked": (Attacked(epsilon=0.1, classified=case.classified),)})
        for case in GOOD.cases
    ]
    more = GOOD.model_copy(update={"attack": "pgd", "cases": tuple(attacked)})
    assert gate.decide(ACCURACY, more, FAIR) == gate.decide(ACCURACY, GOOD, FAIR)
    assert gate.decide(ACCURACY, FAIR, more) == gate.decide(ACCURACY, FAIR, GOOD)
    other = more.model_copy(update={"attack": "fgsm"})
    asked = Rule(statistic="accuracy_under_pgd_0.1")
    assert gate.decide(asked, more, more).comparison is not None
    found = gate.decide(asked, more, other)
    assert found.decision is Decision.CANNOT_DECIDE
    assert found.sentence == "the two versions are not both judged by accuracy_under_pgd_0.1"


def test_restorations_of_images_made_worse_in_another_way_are_not_compared() -> None:
    def restored(shown: float, answer: float) -> Scores:
        one = Restored(answer=Fidelity(answer, 0.9), baseline=Fidelity(shown, 0.8))
        return made_scores.scores("restoration", (), [{"restored": one}] * 25)

    assert gate.decide(Rule(), restored(30, 35), restored(30, 33)).decision is Decision.PROMOTE
    found = gate.decide(Rule(), restored(30, 35), restored(25, 33))
    assert found.decision is Decision.CANNOT_DECIDE


def test_a_rule_is_told_what_a_kind_is_not_judged_by() -> None:
    floors = (Floor(statistic="auc", value=0.9), Floor(statistic="auc", label="b", value=0.9))
    faults = list(Rule(statistic="dice", floors=floors).faults("classification", ["a", "b"]))
    assert faults == [
        "a classification is not judged by dice",
        "a classification is not judged by auc",
    ]
    apart = Rule(statistic="object_ap_50", label="a")
    assert not [*apart.faults("segmentation", ["a"], tells_objects_apart=True)]
    assert [*apart.faults("segmentation", ["a"])]
    with pytest.raises(ScoresRefused, match="auc"):
        gate.decide(Rule(floors=floors[:1]), GOOD, None)
