"""`shiftcast.estimate`, `plan` and `sample`: what the commands of these names answer, in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from shiftcast.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

    from shiftcast.estimate.labels import Planned
    from shiftcast.estimate.lead import Answer

Outputs = Predictions | ArrayLike | str | Path


def estimate(
    source: Outputs,
    target: Outputs,
    *,
    labels: ArrayLike | Path | None = None,
    ensemble: str | Path | None = None,
    labelled: str | Path | None = None,
    margin: float | None = None,
) -> Answer:
    """Estimate a model's accuracy on unlabelled data; what `shiftcast estimate` prints first.

    Parameters
    ----------
    source
        Labelled outputs: `Predictions`, or the path of a file, or logits or probabilities (n, K) with
        `labels`. Which of the two an array holds must follow from its values.
    target
        Outputs on the other images, in the same form and classes. Labels are not read.
    labels
        True classes (n,) of the source, integers from 0, where it does not hold them; of a file perhaps the
        `Path` of an `.npy`.
    ensemble
        `.npz` file with the probabilities of other models, as `--ensemble`; `Predictions` carry them as
        `reference`.
    margin
        Percentage points that accuracy may lie below the source's; `verdict` then says whether it does not
        lie further below.
    labelled
        File that `sample` wrote, with labels of some target images: the answer is then what they measure.

    Returns
    -------
    Answer
        `accuracy`, `low`, `high`, `level`, `estimator`, `reason`, `warnings`, `verdict`; accuracies are
        shares in [0, 1]. Notebooks show it as a page.

    Raises
    ------
    InvalidInputError
        If the source has no labels, source and target do not fit, a file cannot be read, or the margin is
        none.

    Examples
    --------
    >>> import shiftcast
    >>> shiftcast.estimate("val.npz", "prod.npz").accuracy  # doctest: +SKIP
    """
    from shiftcast.estimate.lead import margin_of

    share = None if margin is None else margin_of(margin)
    known, unknown, names, answer = _answered(source, target, labels, ensemble)
    if labelled is not None:
        from shiftcast.estimate.labels import measured_answer, read_labels

        answer = measured_answer(known, unknown, read_labels(Path(labelled), unknown, names), answer)[0]
    return replace(answer, margin=share)


def plan(
    source: Outputs,
    target: Outputs,
    *,
    labels: ArrayLike | Path | None = None,
    ensemble: str | Path | None = None,
    half_widths: Sequence[float] = (0.05, 0.02, 0.01),
) -> list[Planned]:
    """Plan how many target images to label for an interval of a half-width; what `shiftcast plan` prints.

    Parameters
    ----------
    source, target, labels, ensemble
        As in `estimate`.
    half_widths
        Shares; 0.02 is 2 percentage points.

    Returns
    -------
    list of Planned
        `half_width`, and the labels that it needs: `uniform`, and `stratified` by predicted difficulty. They
        rest on estimated error rates.

    Raises
    ------
    InvalidInputError
        As `estimate`, or if a half-width is not between 0 and 0.5.
    """
    from shiftcast.estimate.labels import chances_of, plan_labels

    known, unknown, _, answer = _answered(source, target, labels, ensemble)
    return plan_labels(chances_of(known, unknown, answer), half_widths)


def sample(
    source: Outputs,
    target: Outputs,
    images: int,
    *,
    seed: int = 0,
    labels: ArrayLike | Path | None = None,
    ensemble: str | Path | None = None,
) -> pd.DataFrame:
    """Draw which target images to label; the table that `shiftcast sample` writes.

    Parameters
    ----------
    source, target, labels, ensemble
        As in `estimate`.
    images
        How many.
    seed
        Of the draw: the same one gives the same table.

    Returns
    -------
    pandas.DataFrame
        `row` (position in the target), `stratum`, `inclusion` (probability), `target` (fingerprint) and
        `label`, which is empty. Write it with `to_csv(index=False)`.

    Raises
    ------
    InvalidInputError
        As `estimate`, or if the target has fewer images.
    """
    from shiftcast.estimate.labels import chances_of, draw_sample

    known, unknown, _, answer = _answered(source, target, labels, ensemble)
    return draw_sample(unknown, chances_of(known, unknown, answer), images, seed)


def _answered(
    source: Outputs, target: Outputs, labels: ArrayLike | Path | None, ensemble: str | Path | None
) -> tuple[Predictions, Predictions, tuple[str, ...], Answer]:
    """Return both predictions, names of classes where a file has them, and the answer without labels."""
    from shiftcast.estimate.answer import check_pair, summary
    from shiftcast.estimate.choice import choose_answer
    from shiftcast.estimate.inputs import attach
    from shiftcast.estimate.warnings import warnings_about

    known, names = _predictions(source, "source", labels)
    unknown, own_names = _predictions(target, "target", None, names)
    check_pair(known, unknown)
    if ensemble is not None:
        known, unknown = attach(known, unknown, "reference", Path(ensemble), names)
    whole = summary(known, unknown, [])
    answer = choose_answer(known, unknown, whole, warnings_about(known, unknown, names))
    return known, unknown, names or own_names, answer


def _predictions(
    given: Outputs, name: str, labels: ArrayLike | Path | None, names: tuple[str, ...] = ()
) -> tuple[Predictions, tuple[str, ...]]:
    """Return predictions, and the names of their classes where a file has them."""
    from shiftcast.estimate.inputs import in_order, read_set

    if isinstance(given, str | Path):
        beside, labels = (labels, None) if isinstance(labels, Path) else (None, labels)
        wanted = name == "source" and labels is None
        found = in_order(read_set(Path(given), wanted, beside), names)
        predictions, names = found.predictions, found.classes
    elif isinstance(given, Predictions):
        predictions = given
    else:
        predictions = _of_array(name, given)
    if labels is not None:
        predictions = replace(predictions, labels=np.asarray(labels))
    return predictions, names


def _of_array(name: str, given: ArrayLike) -> Predictions:
    """Return predictions of an array whose values say whether they are probabilities."""
    from shiftcast.util.arrays import finite, looks_like_probabilities

    array = finite(name, given, "(n, K)", 2)
    if looks_like_probabilities(array):
        return Predictions(name, array, "probabilities")
    return Predictions(name, array)
