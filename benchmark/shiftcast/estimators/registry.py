"""Estimators by the name they carry on the board: ours, and those that other packages register."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

from shiftcast.errors import BrokenEstimatorError, UnknownNameError, with_line
from shiftcast.estimators.agreement import GDE, ALineD, ALineS
from shiftcast.estimators.atc import ATC
from shiftcast.estimators.base import Estimator, declaration_problem
from shiftcast.estimators.baselines import MeanShift, NoShift
from shiftcast.estimators.class_atc import ClassATC
from shiftcast.estimators.confidence import AverageConfidence, DifferenceOfConfidences, ImportanceReweighting
from shiftcast.estimators.correctness import CorrectnessRegression, EnsembleCorrectness
from shiftcast.estimators.cot import COT, COTT
from shiftcast.estimators.dawid_skene import DawidSkene
from shiftcast.estimators.density import DensityRatioAC, ImportanceWeighted
from shiftcast.estimators.dis2 import Dis2
from shiftcast.estimators.drops import BalancedAgreement, LargestDrop, LargestDropAlone
from shiftcast.estimators.features import Dispersion, FrechetDistance
from shiftcast.estimators.label_shift import PriorCOTT, PriorTransfer
from shiftcast.estimators.partition import AgreementShift, ConfusionPartition, OwnLabelPartition
from shiftcast.estimators.recorded import (
    DepthPartition,
    EffectiveInvariance,
    LearnedEpochPartition,
    NeighbourhoodInvariance,
)
from shiftcast.estimators.scaled import Scaled
from shiftcast.estimators.scores import MDE, Entropy, MaNo, MutualInformation, NuclearNorm, SoftmaxCorr

ENTRY_POINT_GROUP = "shiftcast.estimators"


def official_estimators() -> dict[str, Estimator]:
    """Return fresh, unfitted instances of our estimators by board name, in board order."""
    return {
        "NoShift": NoShift(),
        "MeanShift": MeanShift(),
        "AC": AverageConfidence(),
        "AC-TS": AverageConfidence(calibration="temperature"),
        "DoC": DifferenceOfConfidences(),
        "IM": ImportanceReweighting(),
        "ATC-MC": ATC(),
        "ATC-NE": ATC(score="negative_entropy"),
        "ATC-MC-TS": ATC(calibration="temperature"),
        "ATC-NE-TS": ATC(score="negative_entropy", calibration="temperature"),
        "ClassATC": ClassATC(),
        "COT": COT(),
        "COTT": COTT(),
        "COT-TS": COT(calibration="temperature"),
        "COTT-TS": COTT(calibration="temperature"),
        "CorrectnessRegression": CorrectnessRegression(),
        "DensityRatioAC": DensityRatioAC(),
        "ImportanceWeighted": ImportanceWeighted(),
        "GDE": GDE(),
        "ALine-S": ALineS(),
        "ALine-D": ALineD(),
        "ConfusionPartition": ConfusionPartition(),
        "AgreementShift": AgreementShift(),
        "OwnLabelPartition": OwnLabelPartition(),
        "OwnLabelPartition-mean": OwnLabelPartition(score="mean"),
        "BalancedAgreement": BalancedAgreement(),
        "LargestDrop": LargestDrop(),
        "LargestDrop-T1": LargestDropAlone(),
        "CorrectnessRegression-T2": EnsembleCorrectness(),
        "DawidSkene": DawidSkene(),
        "DoC-scaled": Scaled(DifferenceOfConfidences()),
        "AgreementShift-scaled": Scaled(AgreementShift()),
        "NuclearNorm": NuclearNorm(),
        "MaNo": MaNo(),
        "MDE": MDE(),
        "SoftmaxCorr": SoftmaxCorr(),
        "Entropy": Entropy(),
        "MutualInformation": MutualInformation(),
        "Dispersion": Dispersion(),
        "FrechetDistance": FrechetDistance(),
        "EffectiveInvariance": EffectiveInvariance(),
        "NeighbourhoodInvariance": NeighbourhoodInvariance(),
        "LearnedEpochPartition": LearnedEpochPartition(),
        "DepthPartition": DepthPartition(),
    }


def unranked_estimators() -> dict[str, Estimator]:
    """Return fresh, unfitted bounds and diagnoses by name: never ranked by error, see `Estimator.role`."""
    return {"Dis2": Dis2(), "PriorTransfer": PriorTransfer(), "COTT-prior": PriorCOTT()}


@dataclass(frozen=True)
class Outside:
    """What installed packages register under `ENTRY_POINT_GROUP`.

    Parameters
    ----------
    estimators
        Fresh, unfitted instances by entry-point name, sorted.
    packages
        The package that each comes from, by the same names.
    broken
        What cannot be used, by entry-point name, with what is wrong.
    """

    estimators: dict[str, Estimator] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def complaints(self) -> list[str]:
        """Return a line on each entry that cannot be used."""
        return [f"skipped {reason}" for reason in self.broken.values()]


def load_outside() -> Outside:
    """Return the estimators that installed packages register, and what of it cannot be used.

    An entry point of the group `shiftcast.estimators` names an `Estimator` subclass that can be
    constructed without arguments, or a function without arguments that returns an instance. One that
    cannot be loaded, is not an estimator or takes a name that is already in use does not affect the others.
    """
    found = Outside()
    ours = official_estimators() | unranked_estimators()
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (entry.name, entry.value)):
        package = entry.dist.name if entry.dist else "an unknown package"
        try:
            if entry.name in ours or entry.name in found.estimators:
                raise BrokenEstimatorError(f"the name {entry.name!r} is already in use")
            found.estimators[entry.name] = _load(entry)
            found.packages[entry.name] = package
        except BrokenEstimatorError as error:
            found.broken[entry.name] = f"{entry.name} of package {package} ({entry.value}): {error}"
    return found


def outside_estimators() -> dict[str, Estimator]:
    """Return the estimators that installed packages register, by entry-point name, sorted.

    What cannot be used is left out; `load_outside` says why.
    """
    return load_outside().estimators


def get_estimator(name: str) -> Estimator:
    """Return a fresh, unfitted estimator by its name on the board.

    Raises
    ------
    UnknownNameError
        If neither we nor an installed package provide it; the message offers the nearest names.
    BrokenEstimatorError
        If an installed package registers it, but it cannot be used.
    """
    ours = official_estimators() | unranked_estimators()
    if name in ours:
        return ours[name]
    outside = load_outside()
    if name in outside.estimators:
        return outside.estimators[name]
    if name in outside.broken:
        raise BrokenEstimatorError(f"estimator {outside.broken[name]}")
    raise UnknownNameError("estimator", name, ours | outside.estimators)


def _load(entry: EntryPoint) -> Estimator:
    try:
        estimator = entry.load()()
    except Exception as error:  # another package's code may raise anything
        raise BrokenEstimatorError(f"could not be loaded: {with_line(error)}") from error
    if problem := declaration_problem(estimator):
        raise BrokenEstimatorError(problem)
    loaded: Estimator = estimator
    return loaded
