"""Estimators by the name they carry on the board: ours, and those that other packages register."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.estimators.agreement import GDE, ALineD, ALineS
from shiftcast.estimators.atc import ATC
from shiftcast.estimators.base import Estimator
from shiftcast.estimators.baselines import MeanShift, NoShift
from shiftcast.estimators.confidence import AverageConfidence, DifferenceOfConfidences, ImportanceReweighting
from shiftcast.estimators.cot import COT, COTT
from shiftcast.estimators.features import Dispersion, FrechetDistance
from shiftcast.estimators.partition import AgreementShift, ConfusionPartition, OwnLabelPartition
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
        "COT": COT(),
        "COTT": COTT(),
        "GDE": GDE(),
        "ALine-S": ALineS(),
        "ALine-D": ALineD(),
        "ConfusionPartition": ConfusionPartition(),
        "AgreementShift": AgreementShift(),
        "OwnLabelPartition": OwnLabelPartition(),
        "OwnLabelPartition-mean": OwnLabelPartition(score="mean"),
        "NuclearNorm": NuclearNorm(),
        "MaNo": MaNo(),
        "MDE": MDE(),
        "SoftmaxCorr": SoftmaxCorr(),
        "Entropy": Entropy(),
        "MutualInformation": MutualInformation(),
        "Dispersion": Dispersion(),
        "FrechetDistance": FrechetDistance(),
    }


def outside_estimators() -> dict[str, Estimator]:
    """Return the estimators that installed packages register, by entry-point name, sorted.

    An entry point of the group `shiftcast.estimators` names an `Estimator` subclass that can be
    constructed without arguments, or a function without arguments that returns an instance.

    Raises
    ------
    InvalidInputError
        If one cannot be loaded, is not an estimator, or takes a name that is already in use.
    """
    found: dict[str, Estimator] = {}
    taken = set(official_estimators())
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (entry.name, entry.value)):
        if entry.name in taken:
            raise InvalidInputError(f"{_where(entry)}: the name {entry.name!r} is already in use")
        taken.add(entry.name)
        found[entry.name] = _load(entry)
    return found


def get_estimator(name: str) -> Estimator:
    """Return a fresh, unfitted estimator by its name on the board.

    Raises
    ------
    UnknownNameError
        If neither we nor an installed package provide it; the message offers the nearest names.
    """
    ours = official_estimators()
    if name in ours:
        return ours[name]
    known = ours | outside_estimators()
    if name not in known:
        raise UnknownNameError("estimator", name, known)
    return known[name]


def _load(entry: EntryPoint) -> Estimator:
    try:
        estimator = entry.load()()
    except Exception as error:  # another package's code may raise anything
        raise InvalidInputError(f"{_where(entry)}: could not be loaded: {error!r}") from error
    if not isinstance(estimator, Estimator):
        raise InvalidInputError(
            f"{_where(entry)}: expected a subclass of shiftcast.estimators.Estimator, "
            f"got {type(estimator).__name__}"
        )
    return estimator


def _where(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "an unknown package"
    return f"estimator {entry.name!r} of {package} ({entry.value})"
