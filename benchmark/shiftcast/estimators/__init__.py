"""Estimators of target accuracy from source labels: one file a family, scikit-learn conventions.

Pure numpy/scipy. What an estimator sees and answers is in `shiftcast.predictions`; how good its
answers are is `shiftcast.scoring`'s business.
"""

from shiftcast.estimators.agreement import GDE, ALineD, ALineS
from shiftcast.estimators.atc import ATC
from shiftcast.estimators.base import Estimator, Role, Track
from shiftcast.estimators.baselines import MeanShift, NoShift
from shiftcast.estimators.calibrated import Calibrated
from shiftcast.estimators.class_atc import ClassATC
from shiftcast.estimators.confidence import AverageConfidence, DifferenceOfConfidences, ImportanceReweighting
from shiftcast.estimators.correctness import CorrectnessRegression, EnsembleCorrectness
from shiftcast.estimators.cot import COT, COTT
from shiftcast.estimators.dawid_skene import DawidSkene
from shiftcast.estimators.density import DensityRatioAC, ImportanceWeighted
from shiftcast.estimators.dis2 import Dis2
from shiftcast.estimators.drops import BalancedAgreement, LargestDrop, LargestDropAlone
from shiftcast.estimators.features import Dispersion, FrechetDistance, dispersion, frechet_distance
from shiftcast.estimators.label_shift import PriorCOTT, PriorTransfer
from shiftcast.estimators.partition import AgreementShift, ConfusionPartition, OwnLabelPartition
from shiftcast.estimators.recorded import (
    DepthPartition,
    EffectiveInvariance,
    LearnedEpochPartition,
    NeighbourhoodInvariance,
)
from shiftcast.estimators.registry import (
    Outside,
    get_estimator,
    load_outside,
    official_estimators,
    outside_estimators,
    unranked_estimators,
)
from shiftcast.estimators.scaled import Scaled
from shiftcast.estimators.scores import (
    MDE,
    Entropy,
    MaNo,
    MappedScore,
    MutualInformation,
    NuclearNorm,
    SoftmaxCorr,
)
from shiftcast.statistics.transport import Transport, transport

__all__ = [
    "ATC",
    "COT",
    "COTT",
    "GDE",
    "MDE",
    "ALineD",
    "ALineS",
    "AgreementShift",
    "AverageConfidence",
    "BalancedAgreement",
    "Calibrated",
    "ClassATC",
    "ConfusionPartition",
    "CorrectnessRegression",
    "DawidSkene",
    "DensityRatioAC",
    "DepthPartition",
    "DifferenceOfConfidences",
    "Dis2",
    "Dispersion",
    "EffectiveInvariance",
    "EnsembleCorrectness",
    "Entropy",
    "Estimator",
    "FrechetDistance",
    "ImportanceReweighting",
    "ImportanceWeighted",
    "LargestDrop",
    "LargestDropAlone",
    "LearnedEpochPartition",
    "MaNo",
    "MappedScore",
    "MeanShift",
    "MutualInformation",
    "NeighbourhoodInvariance",
    "NoShift",
    "NuclearNorm",
    "Outside",
    "OwnLabelPartition",
    "PriorCOTT",
    "PriorTransfer",
    "Role",
    "Scaled",
    "SoftmaxCorr",
    "Track",
    "Transport",
    "dispersion",
    "frechet_distance",
    "get_estimator",
    "load_outside",
    "official_estimators",
    "outside_estimators",
    "transport",
    "unranked_estimators",
]
