"""Is what confuses networks what people disagree on? Figures from human labels that stay local.

Reads two public files about the CIFAR-10 test images, neither of which may be redistributed here:
`cifar10h-probs.npy` (Peterson et al. 2019, "Human uncertainty makes classification more robust")
and `cifar10_mturk.json` (Northcutt et al. 2021, "Pervasive label errors in test sets").
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from shiftcast.analysis.confusion import Confusion
from shiftcast.data.label_views import REVIEWERS_NEEDED, read_reviews, read_shares
from shiftcast.difficulty import KINDS, difficulty
from shiftcast.errors import DataError, MissingDataError
from shiftcast.statistics import DRAWS, percentile_interval, ranks, spearman
from shiftcast.util.hashing import hash_of
from shiftcast.util.types import Floats, Integers

HUMAN = "human.json"
"""Name of the file, beside a suite's runs, with the figures from human labels."""
PROBABILITIES = "cifar10h-probs.npy"
REVIEWED = "cifar10_mturk.json"
SEED = 20_190_801


def ensemble_identity(confusion: Confusion) -> str:
    """Return a hash of the ensemble's predictions: figures belong to it and to no other."""
    return hash_of([run.record.predictions_sha256 for run in confusion.reference])


def require_files(folder: Path) -> None:
    """Refuse a folder that lacks one of the two files.

    Raises
    ------
    MissingDataError
        Naming the file and where it is published.
    """
    for name in (PROBABILITIES, REVIEWED):
        if not (folder / name).is_file():
            raise _missing(folder / name)


def human_figures(confusion: Confusion, folder: Path) -> dict[str, Any]:
    """Return how the difficulty scores relate to human label entropy and to known label errors.

    Intervals are percentiles of a bootstrap over images.

    Parameters
    ----------
    confusion
        The suite's confusion; its source must be the CIFAR-10 test set in official order.
    folder
        Where the two files are.

    Returns
    -------
    dict
        `ensemble` (identity), `images`, `entropy` (per kind: `spearman`, `low`, `high`) and
        `label_errors` (`reviewed`, `errors`; per kind `auc`, the chance that a label error has a
        higher score than an image with no known error, with `low` and `high`; `median_percentile`).

    Raises
    ------
    MissingDataError
        If a file is missing.
    DataError
        If a file is not what its name says.
    """
    ensemble = confusion.ensemble(confusion.source)
    n, classes = ensemble.shape[1:]
    require_files(folder)
    shares = read_shares(folder / PROBABILITIES, n, classes)
    errors, reviewed = _errors(folder / REVIEWED, confusion.pool.labels, classes)
    people = entr(shares).sum(axis=1)
    random = np.random.RandomState(SEED)
    draws = [random.randint(0, n, n) for _ in range(DRAWS // 4)]
    people_drawn = [ranks(people[i]) for i in draws]
    found: dict[str, Any] = {"entropy": {}, "label_errors": {}}
    for kind in KINDS:
        scores = difficulty(ensemble, kind)
        drawn = [ranks(scores[i]) for i in draws]
        together = zip(drawn, people_drawn, strict=True)
        low, high = percentile_interval(np.array([np.corrcoef(*pair)[0, 1] for pair in together]))
        found["entropy"][kind] = _rounded(spearman=spearman(scores, people), low=low, high=high)
        aucs = [_auc(ranked, errors[i]) for ranked, i in zip(drawn, draws, strict=True)]
        low, high = percentile_interval(np.array(aucs))
        ranked = ranks(scores)
        below = ranked[errors] / n
        found["label_errors"][kind] = _rounded(
            auc=_auc(ranked, errors), low=low, high=high, median_percentile=100 * float(np.median(below))
        )
    return {
        "ensemble": ensemble_identity(confusion),
        "images": n,
        "draws": len(draws),
        "reviewed": reviewed,
        "errors": int(errors.sum()),
        **found,
    }


def _rounded(**figures: float) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _auc(ranked: Floats, positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive image scores higher than another; NaN without either kind.

    From the ranks of the scores (Mann and Whitney 1947): the bootstrap has them already.
    """
    count = int(positive.sum())
    pairs = count * (len(positive) - count)
    above = float(ranked[positive].sum()) - count * (count + 1) / 2
    return above / pairs if pairs else float("nan")


def _errors(path: Path, labels: Integers, classes: int) -> tuple[NDArray[np.bool_], int]:
    """Return which test images carry a label that fewer than three of five reviewers stand by."""
    reviews, errors = read_reviews(path, labels, classes), np.zeros(len(labels), dtype=bool)
    for review in reviews:
        errors[review.position] = review.for_given < REVIEWERS_NEEDED
    if not errors.any():
        raise DataError(
            f"{path}: no label in it is an error (fewer than {REVIEWERS_NEEDED} reviewers for the given "
            "one); expected at least one"
        )
    return errors, len(reviews)


def _missing(path: Path) -> MissingDataError:
    return MissingDataError(
        f"{path}: is missing; --human needs {PROBABILITIES} (https://github.com/jcpeterson/cifar-10h) and "
        f"{REVIEWED} (https://github.com/cleanlab/label-errors)"
    )


def read_figures(path: Path, confusion: Confusion) -> tuple[dict[str, Any] | None, str]:
    """Return committed figures and an empty note, or None and why there are none."""
    try:
        figures: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, "not computed for this suite"
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON: {error}") from error
    if figures.get("ensemble") != ensemble_identity(confusion):
        return None, "it was computed for another ensemble; renew it with: shiftcast difficulty --human"
    return figures, ""
