"""What only all cases of a snapshot together tell, once each of them was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.training.cache import Entry
from pipeline.training.faults import Fault
from pipeline.training.manifest import Case, Part
from pipeline.training.recipe import Recipe

Noted = Sequence[tuple[Case, Entry]]


def repeated(noted: Noted) -> Iterator[Fault]:
    """Yield the images that show what the image of another case shows."""
    first: dict[str, int] = {}
    for case, entry in sorted(noted, key=lambda pair: pair[0].row):
        for digest in entry.pixels:
            if first.setdefault(digest, case.row) != case.row:
                yield Fault(case.row, "image", f"it shows the same pixels as row {first[digest]}")


def untaught(noted: Noted, recipe: Recipe) -> Iterator[Fault]:
    """Yield the labels that no case teaches."""
    for name in _absent(noted, Part.TRAINING, recipe):
        yield Fault(0, "label", f"no case of the training part has {name}")


def warnings(noted: Noted, recipe: Recipe) -> Iterator[Fault]:
    """Yield what was mended in single cases, and the labels that no number will be stated for."""
    for case, entry in noted:
        yield from (Fault(case.row, *warning) for warning in entry.warnings)
    for name in _absent(noted, Part.HELD_OUT, recipe):
        yield Fault(0, "label", f"no held-out case has {name}: how well it is found, nobody knows")


def _absent(noted: Noted, part: Part, recipe: Recipe) -> list[str]:
    """Return the labels that are in no case of a part; none where the part has no case."""
    of_part = [entry for case, entry in noted if case.part is part]
    found = {name for entry in of_part for name in entry.labels}
    return [name for name in recipe.judged_labels if of_part and name not in found]
