"""Labels for a few target images: which ones, how many, and the answer that they measure.

`statistics.labelling` holds the formulas; here are the files, and what is told about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.chances import centre, shifted
from shiftcast.estimate.choice import at_most
from shiftcast.estimate.lead import Answer
from shiftcast.estimators import CorrectnessRegression, EnsembleCorrectness
from shiftcast.intake.tables import LABEL, Table, read_table
from shiftcast.predictions import Predictions
from shiftcast.statistics.labelling import (
    LEVEL,
    Measured,
    allocate,
    labels_needed,
    measured,
    strata_of,
)
from shiftcast.util.hashing import sha256
from shiftcast.util.text import count
from shiftcast.util.types import Floats, Integers

HALF_WIDTHS = (0.05, 0.02, 0.01)
COLUMNS = ("row", "stratum", "inclusion", "target", LABEL)
SHARPNESS, TINY = 0.85, 1e-9
"""Chances tell right from wrong less well under shift than on the source: with this factor planned variances
were those that labels had, in the median of corruptions on the board."""
SHOWN = 5
"""Rows that a message lists."""
WHOLE = 0.01
"""How far the number of a stratum's images, by its inclusion probability, may be from a whole one."""


@dataclass(frozen=True)
class Planned:
    """How many labels an interval of a half-width is expected to need.

    Parameters
    ----------
    half_width
        A share; 0.02 is 2 percentage points.
    uniform, stratified
        Labels drawn uniformly, and in strata of predicted difficulty; at most all images.
    """

    half_width: float
    uniform: int
    stratified: int

    @property
    def saving(self) -> float:
        """Share of the labels that strata save."""
        return 1 - self.stratified / self.uniform


def chances_of(source: Predictions, target: Predictions, answer: Answer) -> Floats:
    """Return the predicted chance that each target image is right (m,): its difficulty, reversed.

    A logistic regression on the source reads the model's own outputs and, with an ensemble, its confusion
    (`CorrectnessRegression`, `EnsembleCorrectness`). Its log-odds are multiplied by `SHARPNESS` and moved to
    the answer's accuracy.
    """
    known = at_most(source)
    if 0 < known.correct.sum() < len(known):
        both = known.reference is not None and target.reference is not None
        regression = EnsembleCorrectness() if both else CorrectnessRegression()
        chances = regression.fit(known).chances(target)
    else:
        chances = target.confidence
    least = 1 / (2 * len(target) + 2)
    odds = SHARPNESS * logit(np.clip(chances, TINY, 1 - TINY))
    return shifted(expit(odds), min(max(centre(answer.to_dict()), least), 1 - least))


def plan_labels(chances: Floats, half_widths: Sequence[float] = HALF_WIDTHS) -> list[Planned]:
    """Return how many labels each half-width is expected to need.

    Parameters
    ----------
    chances
        Chance of being right of each target image (m,), from `chances_of`.
    half_widths
        Of the 95 % interval, shares.

    Raises
    ------
    InvalidInputError
        If a half-width is not between 0 and 0.5.
    """
    if not isinstance(half_widths, list | tuple | np.ndarray):
        raise InvalidInputError(f"half-widths: expected a list of shares such as [0.02], got {half_widths!r}")
    for width in half_widths:
        if not isinstance(width, float | int | np.number):
            raise InvalidInputError(f"half-width: expected a share such as 0.02, got {width!r}")
        if not 0 < width < 0.5:
            raise InvalidInputError(
                f"half-width: expected between 0 and 50 percentage points, got {100 * width:g}"
            )
    return [Planned(w, labels_needed(chances, w, False), labels_needed(chances, w)) for w in half_widths]


def draw_sample(target: Predictions, chances: Floats, images: int, seed: int = 0) -> pd.DataFrame:
    """Return which images to label, one row each, with the columns `COLUMNS`.

    Within each stratum images are drawn at random without replacement. Any first rows of the table are a
    sample too: strata take turns in proportion to their labels.

    Parameters
    ----------
    target
        Outputs on the m target images.
    chances
        Chance of being right of each (m,), from `chances_of`.
    images
        How many are drawn, from 1 to m.
    seed
        Of the draw.

    Raises
    ------
    InvalidInputError
        If there are fewer images than asked for, or none is asked for.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InvalidInputError(f"seed: expected a whole number from 0 to {2**32 - 1:,}, got {seed!r}")
    if not isinstance(images, int | np.integer):
        raise InvalidInputError(f"images: expected a whole number, got {images!r}")
    if not 1 <= images <= len(chances):
        raise InvalidInputError(
            f"images: expected from 1 to {len(chances):,}, as many as {target.name} holds, got {images:,}"
        )
    strata, random = strata_of(chances, images), np.random.RandomState(seed)
    sizes = np.bincount(strata)
    counts = allocate(sizes, np.clip(np.bincount(strata, chances) / sizes, 0, 1), images)
    parts = []
    for stratum, number in enumerate(counts.tolist()):
        rows = random.permutation(np.flatnonzero(strata == stratum))[:number]
        turn = (np.arange(number) + random.uniform()) / number
        parts.append(
            pd.DataFrame(
                {"row": rows, "stratum": stratum, "inclusion": number / sizes[stratum], "turn": turn}
            )
        )
    table = pd.concat(parts).sort_values(["turn", "stratum"], kind="stable", ignore_index=True)
    return table.drop(columns="turn").assign(target=fingerprint(target), **{LABEL: ""})


def fingerprint(target: Predictions) -> str:
    """Return 16 hexadecimal digits of a target's outputs; the order of its classes plays no part."""
    known = sha256((target.logits.max(axis=1).astype("<f8") + 0.0).tobytes())
    return f"t{known[:15]}"  # a spreadsheet would read some as numbers, such as 12e45


@dataclass(frozen=True, eq=False)
class Labelled:
    """A sample's file with labels, checked against its target.

    Parameters
    ----------
    rows, strata, classes
        Position in the target, stratum and label of each drawn image (n,), in order of rows; label -1 where
        it has none.
    sizes
        Images of each stratum in the target (H,).
    names
        What the strata are called in the file.
    """

    rows: Integers
    strata: Integers
    classes: Integers
    sizes: Integers
    names: tuple[str, ...]


def read_labels(path: Path, target: Predictions, classes: Sequence[str] = ()) -> Labelled:
    """Read a sample's file whose `label` column is filled, in part or whole.

    Parameters
    ----------
    path
        The table, as `draw_sample` gives it.
    target
        Outputs on the target that it was drawn from.
    classes
        Names of the K classes; labels are numbers from 0 where there are none.

    Raises
    ------
    InvalidInputError
        If it is of another target, a row is not in the target or comes twice, an inclusion probability is
        none, rows were taken away, a label is not a class, or a stratum has no label.
    """
    table = read_table(path)
    if lacking := [name for name in COLUMNS if name not in table.frame]:
        raise InvalidInputError(
            f"{path}: lacks the column {lacking[0]!r}; expected a file that shiftcast sample wrote, with "
            f"{', '.join(COLUMNS)}; its columns are {table.held}"
        )
    cells = table.frame[list(COLUMNS)].astype(str)
    blank = (cells.map(str.strip) == "").all(axis=1).to_numpy()  # as spreadsheets leave below a table
    if blank.any():
        raise InvalidInputError(
            f"{path}: {count(int(blank.sum()), 'row')} blank, the first {int(np.argmax(blank))} (from 0); "
            "delete such lines"
        )
    theirs = sorted(set(table.texts("target").str.strip()))
    if theirs != [fingerprint(target)]:
        raise InvalidInputError(
            f"{path}: was drawn from another target ({', '.join(theirs[:2])}) than {target.name} "
            f"({fingerprint(target)}): give the target file that shiftcast sample read"
        )
    rows = _rows(table, len(target))
    strata, names = pd.factorize(table.texts("stratum").str.strip(), sort=True)
    sizes = _sizes(table, strata, names, len(target))
    known = table.classes(LABEL, classes or [str(k) for k in range(target.classes)], partly=True)
    if (known < 0).all():
        raise InvalidInputError(
            f"{path}: no row has a label; fill its column {LABEL!r}, by class names or numbers"
        )
    missing = np.setdiff1d(np.arange(len(names)), strata[known >= 0])
    if missing.size:
        some = ", ".join(map(str, rows[strata == missing[0]][:SHOWN]))
        raise InvalidInputError(
            f"{path}: no image of stratum {names[missing[0]]} has a label"
            f"{f', nor of {len(missing) - 1} more' if len(missing) > 1 else ''}; label at least one, better "
            f"two, of each stratum: here target rows {some}"
        )
    order = np.argsort(rows, kind="stable")  # that of the file plays no part
    return Labelled(rows[order], strata[order], known[order], sizes, tuple(map(str, names)))


def _rows(table: Table, images: int) -> Integers:
    """Return the positions of a file's rows in the target, all different."""
    given = table.numbers(["row"])[:, 0]
    wrong = np.flatnonzero((given != np.floor(given)) | (given < 0) | (given >= images))
    if wrong.size:
        raise InvalidInputError(
            f"{table.path}: column row: {given[wrong[0]]:g} is not in the target; expected a whole number "
            f"from 0 to {images - 1:,}"
        )
    rows = given.astype(np.int64)
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise InvalidInputError(
            f"{table.path}: target row {values[counts > 1][0]} stands twice; keep one line of each"
        )
    return rows


def _sizes(table: Table, strata: Integers, names: pd.Index[Any], images: int) -> Integers:
    """Return how many images each stratum has, by how many were drawn with which probability."""
    inclusion = table.numbers(["inclusion"])[:, 0]
    if not ((inclusion > 0) & (inclusion <= 1)).all():
        raise InvalidInputError(
            f"{table.path}: column inclusion: expected probabilities above 0 and at most 1, got "
            f"{inclusion[(inclusion <= 0) | (inclusion > 1)][0]:g}; restore what shiftcast sample wrote"
        )
    drawn = np.bincount(strata)
    means = np.bincount(strata, inclusion) / drawn
    sizes = np.rint(drawn / means)
    off = (np.abs(drawn / means - sizes) > WHOLE) | (drawn > sizes)
    off |= np.bincount(strata, np.abs(inclusion - means[strata])) > 1e-6 * means
    if off.any() or sizes.sum() != images:
        where = f" of stratum {names[int(np.argmax(off))]}" if off.any() else ""
        raise InvalidInputError(
            f"{table.path}: rows and inclusion probabilities{where} do not fit the {count(images, 'image')} "
            "of the target. Restore the rows and columns that shiftcast sample wrote; leave the label of an "
            "image that you did not label empty"
        )
    return sizes.astype(np.int64)


def measured_answer(
    source: Predictions, target: Predictions, labelled: Labelled, answer: Answer
) -> tuple[Answer, dict[str, Any]]:
    """Return the answer that labels measure, and JSON's object `labelled` about them.

    Parameters
    ----------
    source, target
        What `answer` is about.
    labelled
        Labels of some target images.
    answer
        The answer without labels.
    """
    kept = labelled.classes >= 0
    rows, drawn = labelled.rows[kept], len(labelled.rows)
    right = (target.predicted[rows] == labelled.classes[kept]).astype(np.float64)
    chances = chances_of(source, target, answer)
    got = measured(right, chances[rows], labelled.strata[kept], labelled.sizes, float(chances.mean()))
    warnings = list(answer.warnings)
    if len(rows) < drawn:
        warnings.append(
            f"{drawn - len(rows):,} of the {count(drawn, 'drawn image')} have no label and count as not "
            "drawn; that is right if chance or order left them out, and too high an answer if they were hard"
        )
    if not answer.low <= got.high or not got.low <= answer.high:
        warnings.append("the labels contradict the answer without them: their intervals do not meet")
    lead = replace(
        answer,
        accuracy=round(got.accuracy, 6),
        low=round(got.low, 6),
        high=round(got.high, 6),
        level=LEVEL,
        estimator=count(len(rows), "label"),
        reason=_reason(got, len(labelled.sizes)),
        direction=f"Without labels: {answer.headline.rpartition('; it was')[0]}.",
        warnings=tuple(warnings),
        cannot_see="Not covered: wrong labels, and images that were left unlabelled for what they show.",
    )
    about = {**asdict(got), "drawn": drawn, "strata": len(labelled.sizes), "right": int(right.sum())}
    return lead, {key: about[key] for key in ("drawn", "labels", "right", "strata", "effective", "weight")}


def _reason(got: Measured, strata: int) -> str:
    """Return how the labels were used, and what strata and the proxy gained."""
    worth = f"as precise as {count(round(got.effective), 'label')} drawn uniformly"
    how = f"Drawn in {f'{strata} strata' if strata > 1 else 'one stratum'}, {worth}."
    if got.weight:
        return f"{how} Predicted chances of being right count with weight {got.weight:.2f}."
    within = " within strata" if strata > 1 else ""
    return f"{how} Predicted chances of being right do not help{within}, and have weight 0."
