"""The parts of a recipe, each checked by itself."""

from pipeline.training.fields.base import LATER, Probability, Share, Strict
from pipeline.training.fields.budget import BudgetField
from pipeline.training.fields.cases import HIT_IOU, EvaluationField, SnapshotField, SplitField
from pipeline.training.fields.changes import AugmentationField, DegradationField
from pipeline.training.fields.classes import ClassesField
from pipeline.training.fields.learning import EarlyStoppingField, OptimiserField
from pipeline.training.fields.model import CodeField, InputField, LabelField, NetworkField
from pipeline.training.fields.transfer import FrozenField, TransferField
from pipeline.training.fields.variants import (
    AdversarialField,
    AttackField,
    GeneratedField,
    PretrainingField,
    RobustnessField,
    SemiSupervisedField,
)

__all__ = [
    "HIT_IOU",
    "LATER",
    "AdversarialField",
    "AttackField",
    "AugmentationField",
    "BudgetField",
    "ClassesField",
    "CodeField",
    "DegradationField",
    "EarlyStoppingField",
    "EvaluationField",
    "FrozenField",
    "GeneratedField",
    "InputField",
    "LabelField",
    "NetworkField",
    "OptimiserField",
    "PretrainingField",
    "Probability",
    "RobustnessField",
    "SemiSupervisedField",
    "Share",
    "SnapshotField",
    "SplitField",
    "Strict",
    "TransferField",
]
