"""Estimators of target accuracy from source labels: one file a family, scikit-learn conventions.

Pure numpy/scipy. What an estimator sees and answers is in `shiftcast.predictions`; how good its
answers are is `shiftcast.scoring`'s business.
"""

from shiftcast.estimators.agreement import GDE, ALineS
from shiftcast.estimators.atc import ATC
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.baselines import MeanShift, NoShift
from shiftcast.estimators.confidence import AverageConfidence, DifferenceOfConfidences, ImportanceReweighting
from shiftcast.estimators.decomposition import DropDecomposition, decompose_drop
from shiftcast.estimators.partition import AgreementShift, ConfusionPartition, OwnLabelPartition
from shiftcast.estimators.registry import get_estimator, official_estimators, outside_estimators

__all__ = [
    "ATC",
    "GDE",
    "ALineS",
    "AgreementShift",
    "AverageConfidence",
    "ConfusionPartition",
    "DifferenceOfConfidences",
    "DropDecomposition",
    "Estimator",
    "ImportanceReweighting",
    "MeanShift",
    "NoShift",
    "OwnLabelPartition",
    "Track",
    "decompose_drop",
    "get_estimator",
    "official_estimators",
    "outside_estimators",
]
