"""Pictures: what they plot, that they parse, and that equal data give equal bytes."""

import dataclasses
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from scipy.stats import linregress, norm

from shiftcast.board.build import build_board
from shiftcast.leaderboard.figures.axes import percent_ticks
from shiftcast.leaderboard.figures.board_data import (
    estimators_data,
    figures,
    lines_data,
    predicted_data,
)
from shiftcast.leaderboard.figures.draw import draw
from shiftcast.leaderboard.figures.picture import figure_hash
from shiftcast.util.hashing import hash_of


@pytest.fixture(scope="module")
def drawn(scores):
    return svgs(scores)


def svgs(scores):
    return {name: draw(picture) for name, picture in figures(build_board(scores)).items()}


def words(svg):
    """Every text in an SVG, in order."""
    root = ElementTree.fromstring(svg)  # noqa: S314
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_pictures_are_svg_whose_labels_are_text(drawn):
    assert set(drawn) == {"predicted-vs-actual", "ood-vs-id", "estimators"}
    found = words(drawn["predicted-vs-actual"])
    assert {"ConfusionPartition, natural shifts", "NoShift, synthetic shifts", "photos", "fog"} <= set(found)
    assert "unseen" not in found
    found = words(drawn["ood-vs-id"])
    assert {"sketches (natural)", "noise (synthetic)"} <= set(found)
    assert sum(text.startswith("slope ") for text in found) == 4
    assert any("10 runs, in-distribution accuracy from " in text for text in found)
    assert {"MeanShift", "natural shifts", "mean absolute error (pp)"} <= set(words(drawn["estimators"]))


def test_a_picture_carries_the_hash_of_its_data(scores, drawn):
    assert figures(build_board(scores))["estimators"].hash == hash_of(estimators_data(build_board(scores)))
    assert figure_hash(drawn["estimators"]) == hash_of(estimators_data(build_board(scores)))
    assert figure_hash(drawn["ood-vs-id"]) == hash_of(lines_data(build_board(scores)))
    assert figure_hash("<svg/>") == ""


def test_equal_data_give_equal_bytes_whatever_the_users_settings(scores, drawn):
    with mpl.rc_context({"svg.fonttype": "path", "font.size": 30, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert svgs(scores) == drawn
        assert dict(mpl.rcParams) == before  # and the user's settings stay the user's
    assert not any("dc:date" in svg for svg in drawn.values())


def test_points_are_means_over_seeds(scores):
    panels = {(p["kind"], p["estimator"]): p for p in predicted_data(build_board(scores))["panels"]}
    assert set(panels) == {
        (k, e) for k in ("natural", "synthetic") for e in ("ConfusionPartition", "NoShift")
    }
    fog = panels["synthetic", "ConfusionPartition"]["groups"]["fog"]
    assert len(fog) == 5 * 2
    own = scores.table.query(
        "estimator == 'ConfusionPartition' and protocol == 'official' and architecture == 'net-a'"
        " and target == 'corrupted/fog-1'"
    )
    assert [round(own["predicted"].mean(), 6), round(own["actual"].mean(), 6)] in fog


def test_lines_are_fitted_on_probit_axes(scores):
    for panel in lines_data(build_board(scores))["panels"]:
        assert len(panel["points"]) == 10
        x, y = zip(*panel["points"], strict=True)
        line = linregress(norm.ppf(x), norm.ppf(y))
        assert panel["line"] == pytest.approx([line.slope, line.intercept, line.rvalue**2], abs=1e-5)


def test_lines_go_through_plain_recipes(scores):
    runs = scores.runs.assign(plain=scores.runs["architecture"] != "net-a")
    bent = dataclasses.replace(scores, runs=runs)
    for panel in lines_data(build_board(bent))["panels"]:
        assert sum(panel["bent"]) == 2
        points = [pair for pair, off in zip(panel["points"], panel["bent"], strict=True) if not off]
        x, y = zip(*points, strict=True)
        line = linregress(norm.ppf(x), norm.ppf(y))
        assert panel["line"] == pytest.approx([line.slope, line.intercept, line.rvalue**2], abs=1e-5)
    assert any("hollow" in text for text in words(draw(figures(build_board(bent))["ood-vs-id"])))
    assert not any("bent" in panel for panel in lines_data(build_board(scores))["panels"])


def test_two_runs_draw_no_line(make_scores):
    scores = make_scores(architectures=("net-a", "net-b"), seeds=(0,), natural=("photos",), transforms=())
    assert [panel["line"] for panel in lines_data(build_board(scores))["panels"]] == [None]
    assert "no line" in words(draw(figures(build_board(scores))["ood-vs-id"]))


def test_many_groups_are_all_named(make_scores):
    transforms = [f"kind-{number}" for number in range(23)]
    scores = make_scores(architectures=("net-a", "net-b", "net-c"), seeds=(0,), transforms=transforms)
    drawn = svgs(scores)
    assert set(transforms) <= set(words(drawn["predicted-vs-actual"]))
    assert {f"{name} (synthetic)" for name in transforms} <= set(words(drawn["ood-vs-id"]))


def test_names_are_neither_markup_nor_mathematics(scores):
    table = scores.table.replace({"estimator": {"ATC": "<b>$x$</b>&"}})
    svg = draw(figures(build_board(dataclasses.replace(scores, table=table)))["estimators"])
    assert "<b>$x$</b>&" in words(svg)


def test_nothing_to_plot_draws_nothing(scores):
    empty = dataclasses.replace(
        scores, targets=[], table=scores.table.iloc[:0], accuracies=scores.accuracies.iloc[:0]
    )
    assert figures(build_board(empty)) == {}


@pytest.mark.parametrize(
    ("low", "high"), [(0.1, 0.99), (0.85, 0.95), (0.92, 0.935), (0.4, 0.9), (0.97, 0.999), (0.001, 0.9999)]
)
def test_percent_ticks_are_few_round_and_inside(low, high):
    ticks = percent_ticks(norm.ppf(low), norm.ppf(high))
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))
    assert 100 * low <= ticks[0]
    assert ticks[-1] <= 100 * high
