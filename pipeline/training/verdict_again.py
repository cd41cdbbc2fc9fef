"""The verdict of a gate, computed anew from the files that its statement names.

Asks no model, so it imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.evaluation import gate, scores
from pipeline.evaluation.rule import Rule
from pipeline.evaluation.scores import ScoresRefused
from pipeline.training import kept_cases


def again(statement: Mapping[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the verdict of a statement, computed anew from the files that it names.

    Args:
        statement: as a gate left it.
        read: returns the content of a sha256.

    Raises:
        ScoresRefused, ComputeFailed: a file is not what it was.

    """

    def content(sha256: str) -> bytes:
        found = read(sha256)
        if hashlib.sha256(found).hexdigest() != sha256:
            raise ScoresRefused("a file that the gate was computed from is not what it was")
        return found

    new = scores.parse(content(statement["candidate"]["scores"]))
    stated = statement["active"]
    has_scores = stated is not None and stated["scores"] is not None
    old = scores.parse(content(stated["scores"])) if has_scores else None
    line = {
        one["name"]: kept_cases.parse(content(one["cases"]))
        for one in statement["line"]
        if one["cases"] is not None
    }
    against = kept_cases.shared_with_any(kept_cases.parse(content(statement["cases"])), line)
    against += list(statement["trouble"])
    rule = Rule.model_validate(statement["rule"])
    # by way of JSON, as the statement went
    verdict: dict[str, Any] = json.loads(
        json.dumps(gate.decide(rule, new, old, against=against).stated())
    )
    return verdict
