"""Analyses as documents: the schema, the clause language, the graph of steps."""

from pipeline.analysis.document import (
    Analysis,
    AnalysisInvalid,
    InputRule,
    Preference,
    TieBreaker,
    from_document,
    json_schema,
    parse,
)
from pipeline.analysis.steps import Step

__all__ = [
    "Analysis",
    "AnalysisInvalid",
    "InputRule",
    "Preference",
    "Step",
    "TieBreaker",
    "from_document",
    "json_schema",
    "parse",
]
