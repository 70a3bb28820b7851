"""`shiftcast.estimate`: the command's answer in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from shiftcast.predictions import Predictions

if TYPE_CHECKING:
    from shiftcast.estimate.lead import Answer

Outputs = Predictions | ArrayLike | str | Path


def estimate(
    source: Outputs,
    target: Outputs,
    *,
    labels: ArrayLike | None = None,
    ensemble: str | Path | None = None,
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
        True classes (n,) of the source, integers from 0, where it does not hold them.
    ensemble
        `.npz` file with the probabilities of other models, as `--ensemble`; `Predictions` carry them as
        `reference`.
    margin
        Percentage points that accuracy may lie below the source's; `verdict` then says whether it does not
        lie further below.

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
    from shiftcast.estimate.answer import check_pair, summary
    from shiftcast.estimate.choice import choose_answer
    from shiftcast.estimate.inputs import attach
    from shiftcast.estimate.lead import margin_of
    from shiftcast.estimate.warnings import warnings_about

    share = None if margin is None else margin_of(margin)
    known, names = _predictions(source, "source", labels)
    unknown, _ = _predictions(target, "target", None, names)
    check_pair(known, unknown)
    if ensemble is not None:
        known, unknown = attach(known, unknown, "reference", Path(ensemble), names)
    whole = summary(known, unknown, [])
    answer = choose_answer(known, unknown, whole, warnings_about(known, unknown, names))
    return replace(answer, margin=share)


def _predictions(
    given: Outputs, name: str, labels: ArrayLike | None, names: tuple[str, ...] = ()
) -> tuple[Predictions, tuple[str, ...]]:
    """Return predictions, and the names of their classes where a file has them."""
    from shiftcast.estimate.inputs import in_order, read_set

    if isinstance(given, str | Path):
        found = in_order(read_set(Path(given), labelled=name == "source" and labels is None), names)
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
