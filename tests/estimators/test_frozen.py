"""The frozen estimators still say of the blind sets what they said before any label of these was known.

`frozen_predictions.csv` holds what this package computes from the stored runs of `cifar10-cpu`: estimator,
run, set, predicted, low, high. It was held against the predictions that were written down on 2026-11-29 (a
file of SHA-256 d388698c97980cf9bd67d23e7ac9696bda33ae7cc17ac2237404ddf59177cd41, to five decimals): all 690
rows of the three estimators agree to 6e-6 in all three figures.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from shiftcast.estimators import get_estimator
from shiftcast.runs.reading import read_pool
from shiftcast.scoring.harness import RunView
from shiftcast.workspace import Workspace

ROOT = Path(__file__).parents[2]
FIGURES = ["predicted", "low", "high"]
KEYS = ["estimator", "run", "set"]


@pytest.fixture(scope="module")
def views():
    """The scored runs of the suite that the predictions are about, by name."""
    workspace = Workspace(ROOT, ROOT)
    suite = workspace.suite("cifar10-cpu")
    pool, _ = read_pool(workspace, suite, workspace.results() / suite.name)
    return {str(run.key.path): RunView(pool, run) for run in pool.scored}


@pytest.mark.parametrize("name", ["BalancedAgreement", "LargestDrop", "LargestDrop-T1"])
def test_predictions_are_those_of_the_day_they_were_frozen(views, name):
    table = pd.read_csv(Path(__file__).with_name("frozen_predictions.csv"))
    expected = table[table["estimator"] == name].set_index(KEYS)
    assert len(expected) == 46 * 5
    found = []
    for run in expected.index.unique("run"):
        view, estimator = views[run], get_estimator(name)
        estimator.fit(view.source("all"))
        for target in (t for t in view.pool.targets if t.id in expected.index.unique("set")):
            answer = estimator.predict(view.target(target, "all"))
            found.append((name, run, target.id, answer.accuracy, answer.low, answer.high))
    ours = pd.DataFrame(found, columns=KEYS + FIGURES).set_index(KEYS)
    assert (ours - expected).abs().reindex(expected.index).to_numpy().max() <= 1e-5
