"""The numbers on the pages, against slow references."""

import numpy as np
import pytest

from shiftcast.runs.reading import read_pool
from shiftcast.site.board_tables import estimator_rows
from shiftcast.site.chart_data import UNITS, suite_data
from shiftcast.site.outputs import answers, read_outputs
from shiftcast.statistics.decomposition import decompose
from shiftcast.util.arrays import softmax


def test_the_parts_of_a_drop_add_up_to_it():
    source, right = [50, 30, 20, 0], [49, 24, 10, 0]
    target, kept = [10, 30, 40, 20], [9, 20, 16, 4]
    mixture, within = decompose(source, right, target, kept)
    assert mixture.sum() + within.sum() == pytest.approx(83 / 100 - 49 / 100)
    # were each bin as accurate as in distribution (the empty one as its neighbour), this would be lost
    assert mixture.sum() == pytest.approx(0.83 - (0.1 * 49 / 50 + 0.3 * 0.8 + 0.4 * 0.5 + 0.2 * 0.5))
    assert within[1] == pytest.approx(0.3 * (24 / 30 - 20 / 30))


def test_a_drop_of_nothing_has_no_parts():
    mixture, within = decompose([5, 5], [5, 2], [10, 10], [10, 4])
    assert np.allclose(mixture, 0)
    assert np.allclose(within, 0)


def test_answers_are_counted_as_one_would_by_hand():
    random = np.random.RandomState(0)
    logits, labels = random.normal(size=(200, 4)).astype(np.float16), random.randint(4, size=200)
    found = answers(logits, labels, bins=5)
    matrix, bins = np.zeros((4, 4), int), np.zeros((5, 3))
    for row, label in zip(softmax(logits), labels, strict=True):
        answer = max(range(4), key=lambda k: (row[k], -k))
        matrix[label, answer] += 1
        bins[min(int(row[answer] * 5), 4)] += (1, row[answer], answer == label)
    assert (found.matrix == matrix).all()
    assert np.allclose(np.stack([found.images, found.confidence, found.right], axis=1), bins)
    gap = sum(abs(sure - right) for _, sure, right in bins) / 200
    assert found.calibration_error == pytest.approx(gap)
    assert ((found + found).matrix == 2 * matrix).all()


def test_outputs_of_runs_agree_with_their_accuracies(tiny):
    suite = tiny.suite("tiny")
    pool, _ = read_pool(tiny, suite, tiny.results() / "tiny")
    outputs = read_outputs(pool)
    assert set(outputs.models) == {(run.key.architecture, "tiny") for run in pool.scored}
    for (architecture, _), sets in outputs.models.items():
        own = [run for run in pool.scored if run.key.architecture == architecture]
        for name, found in sets.items():
            right = sum(int((run.sets[name].true_rank == 0).sum()) for run in own)
            assert np.trace(found.matrix) == found.right.sum() == right
            assert found.images.sum() == found.matrix.sum() == sum(len(run.sets[name].logits) for run in own)


def test_images_that_stand_out(tiny):
    suite = tiny.suite("tiny")
    pool, _ = read_pool(tiny, suite, tiny.results() / "tiny")
    target = pool.targets[0].id
    found = read_outputs(pool).images[target]
    scores = [one.score for one in found.hardest]
    assert scores == sorted(scores, reverse=True)
    labels = pool.labels_of(target)
    classes = tiny.dataset(suite.source.test).classes
    for one in found.agreed:
        given = [classes[run.predicted(target)[one.position]] for run in pool.scored]
        assert one.answer != one.true == classes[labels[one.position]]
        assert one.share == given.count(one.answer) / len(given)
    assert [one.share for one in found.agreed] == sorted((one.share for one in found.agreed), reverse=True)


def test_figures_of_one_shift_average_to_the_boards(section):
    shifts = section.board.by_shift
    for tables in section.board.kinds:
        board = tables.overall.set_index("estimator")
        own = shifts[shifts["kind"] == tables.kind].groupby("estimator")
        for column in ("mae", "bias", "coverage", "width"):
            known = own[column].mean().index
            if column == "bias" and np.isnan(board.loc["MeanShift", "bias"]):  # 0 by construction
                known = known.drop("MeanShift")
            assert np.allclose(own[column].mean().loc[known], board[column].loc[known])


def test_rows_name_what_they_are_about(section):
    rows = estimator_rows(section.board)
    about = {row["about"] for row in rows}
    assert about == {
        *("kind:natural", "kind:synthetic"),
        *("shift:photos", "shift:sketches", "shift:fog", "shift:noise"),
    }
    assert [row["shift"] for row in section.board.shifts] == ["photos", "sketches", "fog", "noise"]


def test_charts_get_every_accuracy_and_prediction(section):
    data = suite_data(section.board, section.names)
    rows = section.scores.table
    row = rows[(rows["estimator"] == "ATC") & (rows["protocol"] == "official")].iloc[7]
    run = next(
        place
        for place, one in enumerate(data["runs"])
        if (one["model"], one["seed"]) == (row["architecture"], row["seed"])
    )
    named = f"{row['group']}, severity {row['severity']}" if row["severity"] else row["group"]
    target = [one["name"] for one in data["targets"]].index(named)
    estimator = next(one for one in data["estimators"] if one["name"] == "ATC")
    assert estimator["predicted"][target][run] == round(row["predicted"] * UNITS)
    assert data["targets"][target]["actual"][run] == round(row["actual"] * UNITS)
    assert "unseen" not in [one["name"] for one in data["targets"]]


def test_class_indices_say_nothing_of_confidence():
    logits, labels = np.eye(4, dtype=np.float16)[[0, 1, 2, 2]], np.array([0, 1, 2, 3])
    found = answers(logits, labels, bins=5, hard=True)
    assert found.images.sum() == found.right.sum() == 0
    assert np.isnan(found.calibration_error)
    assert found.matrix.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
