from __future__ import annotations

from typing import Any

import pytest

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series.splitting import Part, part_of, split
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from tests.pipeline.dicom.series import made_frames as made

Z = [30.0 + 5.0 * number for number in range(4)]


def _series(*told: dict[str, str], depths: list[float] | None = None) -> list[InstanceHeader]:
    """A slice at every depth for each phase that is told."""
    found: list[InstanceHeader] = []
    for phase in told:
        for z in depths or Z:
            position = (10.0, 20.0, z)
            found.append(made.header(len(found), position=position, phases=tuple(phase.items())))
    return found


def _shapes(parts: list[Part]) -> list[int]:
    return [len(part.frames) for part in parts]


def _values(parts: list[Part], keyword: str) -> list[set[str]]:
    return [{frame.phases.get(keyword, "") for frame in part.frames} for part in parts]


def _refusal(part: Part, **policies: Any) -> Reason | None:
    try:
        part.phase.check(Policies(**policies))
    except StudyRejected as rejected:
        return rejected.reason
    return None


@pytest.mark.parametrize(
    "keyword",
    [
        *("EchoNumbers", "DiffusionBValue", "EchoTime", "InversionTime", "AcquisitionNumber"),
        *("TemporalPositionIdentifier", "TemporalPositionIndex", "FrameReferenceTime"),
        *("TriggerTime", "NominalPercentageOfCardiacPhase", "DiffusionGradientOrientation"),
    ],
)
def test_slices_at_the_same_positions_are_told_apart_by_any_phase(keyword: str) -> None:
    headers = _series({keyword: "1"}, {keyword: "2"}, {keyword: "10"})
    parts = split(made.shuffled(headers, 3))
    assert _shapes(parts) == [4, 4, 4]
    assert sorted(_values(parts, keyword), key=str) == [{"1"}, {"10"}, {"2"}]
    assert {_refusal(part) for part in parts} == {None}


def test_several_phases_together_are_all_parted() -> None:
    headers = _series(
        *(
            {"EchoTime": echo, "TemporalPositionIdentifier": time, "InversionTime": "900"}
            for echo in ("2.3", "4.6")
            for time in ("1", "2", "3")
        )
    )
    parts = split(headers)
    assert _shapes(parts) == [4] * 6
    assert {part.phase.count for part in parts} == {6}


def test_a_tag_that_does_not_tell_apart_is_passed_over_for_one_that_does() -> None:
    # one TemporalPositionIndex throughout, as Canon states it
    parts = split(
        _series(
            {"TemporalPositionIndex": "1", "TriggerTime": "0"},
            {"TemporalPositionIndex": "1", "TriggerTime": "40"},
        )
    )
    assert _values(parts, "TriggerTime") == [{"0"}, {"40"}]


def test_echo_numbers_are_right_where_the_echo_time_is_wrong() -> None:
    # GE states the time of the first echo for both
    parts = split(
        _series({"EchoNumbers": "1", "EchoTime": "15"}, {"EchoNumbers": "2", "EchoTime": "15"})
    )
    assert _values(parts, "EchoNumbers") == [{"1"}, {"2"}]


def test_a_number_of_its_own_for_every_slice_parts_nothing() -> None:
    headers = [
        made.header(number, phases=(("TemporalPositionIdentifier", str(number)),))
        for number in range(5)
    ]
    assert _shapes(split(headers)) == [5]


def test_what_nothing_tells_apart_stays_together() -> None:
    headers = _series({"EchoTime": "2"}, {"EchoTime": "2"})
    assert _shapes(split(headers)) == [8]


def test_times_of_another_heartbeat_at_each_position_are_ranked() -> None:
    headers: list[InstanceHeader] = []
    for number, z in enumerate(Z):
        for rank in range(3):
            time = f"{rank * (30 + number) + number:.1f}"
            headers.append(
                made.header(len(headers), position=(0.0, 0.0, z), phases=(("TriggerTime", time),))
            )
    parts = split(headers)
    assert _shapes(parts) == [4, 4, 4]
    assert sorted(max(float(f.phases["TriggerTime"]) for f in p.frames) for p in parts) == [
        3.0,
        36.0,
        69.0,
    ]


def test_another_diffusion_weight_is_another_volume_even_at_other_positions() -> None:
    headers = [
        *_series({"DiffusionBValue": "0"}),
        *(
            made.header(
                10 + n, position=(10.0, 20.0, z + 2.5), phases=(("DiffusionBValue", "1000"),)
            )
            for n, z in enumerate(Z)
        ),
    ]
    assert _values(split(headers), "DiffusionBValue") == [{"0"}, {"1000"}]


def test_times_that_take_turns_along_the_stack_are_no_volumes() -> None:
    headers = [
        made.header(number, phases=(("TemporalPositionIndex", str(1 + number % 2)),))
        for number in range(8)
    ]
    parts = split(headers)
    assert _shapes(parts) == [4, 4]
    lenient = {_refusal(part, partial_phase="whole") for part in parts}
    assert lenient == {Reason.SERIES_TOO_FEW_SLICES}


def test_numbers_are_compared_without_their_last_digits() -> None:
    headers = _series({"EchoTime": "2.46"}, {"EchoTime": "4.92"})
    first = made.header(0, phases=(("EchoTime", "2.4600000381469727"),))
    assert _shapes(split([first, *headers[1:]])) == [4, 4]


class TestAborted:
    def _parts(self) -> list[Part]:
        told = [{"TemporalPositionIdentifier": str(number)} for number in range(1, 4)]
        return split(_series(*told)[:-2])

    def test_whole_volumes_are_refused_unless_the_policy_keeps_them(self) -> None:
        parts = self._parts()
        assert _shapes(parts) == [4, 4, 2]
        assert [_refusal(part) for part in parts] == [
            Reason.SERIES_PARTIAL_PHASE,
            Reason.SERIES_PARTIAL_PHASE,
            Reason.SERIES_TOO_FEW_SLICES,
        ]

    def test_the_incomplete_volume_is_refused_under_every_policy(self) -> None:
        parts = self._parts()
        found = [_refusal(part, partial_phase="whole") for part in parts]
        assert found == [None, None, Reason.SERIES_TOO_FEW_SLICES]

    def test_what_was_kept_is_told(self) -> None:
        (told,) = self._parts()[0].phase.check(Policies(partial_phase="whole"))
        assert "not all of the 3 phases" in told

    @pytest.mark.parametrize(
        "keyword", ["AcquisitionNumber", "EchoNumbers", "DiffusionBValue", "EchoTime"]
    )
    def test_any_phase_can_be_cut_short(self, keyword: str) -> None:
        parts = split(_series({keyword: "1"}, {keyword: "2"})[:-1])
        assert [(len(p.frames), p.phase.coverage) for p in parts] == [(4, "mixed"), (3, "short")]


@pytest.mark.parametrize(
    "facts",
    [
        {"orientation": (0.0, 1.0, 0, 0, 0, -1.0)},
        {"pixel_spacing": (2.0, 0.6)},
        {"rows": 12},
        {"columns": 12},
        {"image_type": ("DERIVED", "PRIMARY", "AXIAL")},
        {"frame_of_reference_uid": "1.2.3.10"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"},
        {"photometric": "RGB", "samples": 3},
    ],
    ids=str,
)
def test_slices_of_another_kind_are_parts_of_their_own(facts: dict[str, Any]) -> None:
    others = [made.header(10 + n, **facts) for n in range(3)]
    parts = split([*made.headers(5), *others])
    assert _shapes(parts) in ([5, 3], [5, 1, 1, 1])
    assert _shapes(parts)[0] == 5


def test_a_jitter_of_the_cosines_parts_nothing() -> None:
    headers = [
        made.header(n, orientation=(1.0, n * 1e-7, 0.0, 0.0, 1.0, n * 1e-7)) for n in range(5)
    ]
    assert _shapes(split(headers)) == [5]


def test_a_slice_without_a_place_stays_with_its_series() -> None:
    assert _shapes(split([*made.headers(4), made.header(9, position=None)])) == [5]


def test_the_same_parts_come_of_any_order_of_the_files() -> None:
    headers = [
        *_series({"EchoNumbers": "1"}, {"EchoNumbers": "2"}),
        *(made.header(20 + n, rows=12) for n in range(2)),
    ]
    expected = [[f.header.sop_instance_uid for f in part.frames] for part in split(headers)]
    for seed in range(5):
        parts = split(made.shuffled(headers, seed))
        found = [[f.header.sop_instance_uid for f in part.frames] for part in parts]
        assert found == expected


def test_classic_slices_are_read_as_they_come() -> None:
    assert len(part_of(made.headers(4), 0).frames) == 4
    with pytest.raises(StudyRejected):
        part_of(made.headers(4), 1)
