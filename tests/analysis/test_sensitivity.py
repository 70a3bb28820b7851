"""Variants of the partition: the same figures as the estimator itself gives, run by run."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from shiftcast.analysis.sensitivity import sensitivity
from shiftcast.difficulty import KINDS
from shiftcast.estimators import ConfusionPartition
from shiftcast.predictions import Predictions
from shiftcast.scoring.rows import score_pool


@pytest.fixture(scope="module")
def found(world):
    return sensitivity(world.pool).set_index(["aspect", "variant"])


def board(table, natural, protocol="official"):
    """MAE and bias of a table with balanced cells, in pp: over groups of equal weight."""
    rows = table[(table["natural"] == natural) & (table["protocol"] == protocol) & table["actual"].notna()]
    rows = rows.assign(error=100 * (rows["predicted"] - rows["actual"]))
    rows = rows.assign(absolute=rows["error"].abs())
    means = rows.groupby("group")[["absolute", "error"]].mean().mean()
    return means["absolute"], means["error"]


@pytest.mark.parametrize(
    ("row", "estimator"),
    [
        *((("score", kind), ConfusionPartition(kind=kind)) for kind in KINDS),
        *((("bins", str(bins)), ConfusionPartition(bins=bins)) for bins in (5, 10, 20)),
        (("members", "6"), ConfusionPartition()),
        (("protocol", "cross-fitted"), ConfusionPartition()),
        (("scored run", "family kept out"), ConfusionPartition()),
    ],
)
def test_each_variant_equals_the_estimator_scored_run_by_run(world, found, row, estimator):
    table, _ = score_pool(world.pool, {"it": estimator})
    figures = found.loc[row]
    expected = board(table, natural=True)
    assert (figures["natural_mae"], figures["natural_bias"]) == pytest.approx(expected, abs=1e-3)
    expected = board(table, natural=False)
    assert (figures["synthetic_mae"], figures["synthetic_bias"]) == pytest.approx(expected, abs=1e-3)


def test_the_shared_protocol_equals_the_boards(world, found):
    table, _ = score_pool(world.pool, {"it": ConfusionPartition()})
    figures = found.loc["protocol", "shared"]
    expected = board(table, natural=False, protocol="shared")
    assert (figures["synthetic_mae"], figures["synthetic_bias"]) == pytest.approx(expected, abs=1e-3)


def ensemble_of(world, run, name, positions=None, own=False):
    members = world.pool.members(run.family)
    chosen = [world.pool.reference[members[i]] for i in (positions or range(len(members)))]
    if own:
        chosen[world.pool.scored.index(run) % len(chosen)] = run
    return np.stack([one.probabilities(name) for one in chosen])


def estimated(world, run, **options):
    source, target = (
        Predictions(
            name=name,
            logits=run.sets[name].logits.astype(float),
            labels=run.sets[name].labels,
            reference=ensemble_of(world, run, name, **options),
        )
        for name in ("cifar10-test", "emoji")
    )
    return ConfusionPartition().fit(source).predict(target.without_labels()).accuracy - target.accuracy


def natural_mean(errors):
    """Errors of one natural set, all runs alike, in pp."""
    return 100 * float(np.mean(errors))


def test_members_are_neighbours_in_a_ring_and_letting_in_replaces_a_member(make_world):
    world = make_world(targets=("emoji",))
    found = sensitivity(world.pool).set_index(["aspect", "variant"])
    threes = [
        estimated(world, run, positions=[(start + i) % 6 for i in range(3)])
        for run in world.pool.scored
        for start in range(6)
    ]
    assert found.loc["members", "3"]["natural_bias"] == pytest.approx(natural_mean(threes), abs=1e-3)
    let_in = [estimated(world, run, own=True) for run in world.pool.scored]
    row = found.loc["scored run", "let in"]
    assert row["natural_mae"] == pytest.approx(natural_mean(np.abs(let_in)), abs=1e-3)
    assert "8" not in found.loc["members"].index


def test_isotonic_accuracy_is_that_of_scikit_learn(make_world):
    world = make_world(targets=("emoji",))
    errors = []
    for run in world.pool.scored:
        scores = {
            name: np.round(KINDS["entropy"](ensemble_of(world, run, name)), 9)
            for name in ("cifar10-test", "emoji")
        }
        right = run.sets["cifar10-test"].true_rank == 0
        model = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(scores["cifar10-test"], right)
        errors.append(model.predict(scores["emoji"]).mean() - run.sets["emoji"].accuracy)
    found = sensitivity(world.pool).set_index(["aspect", "variant"])
    assert found.loc["bins", "isotonic"]["natural_bias"] == pytest.approx(natural_mean(errors), abs=1e-3)


def test_the_defaults_of_every_choice_are_one_estimator(found):
    defaults = found[found["default"]]
    assert len(defaults) == 5
    assert defaults.drop(columns="default").drop_duplicates().shape[0] == 1
