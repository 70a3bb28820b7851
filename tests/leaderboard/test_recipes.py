"""The table on one architecture trained in several ways."""

import dataclasses
from xml.etree import ElementTree

import pandas as pd
import pytest

from shiftcast.board.build import build_board
from shiftcast.leaderboard.figures.board_data import figures
from shiftcast.leaderboard.figures.draw import draw
from shiftcast.leaderboard.model_section import recipe_axis


def with_recipes(scores, names):
    """The scores with one architecture's runs once more under other recipes, predicted 5 pp higher each."""
    frames = {}
    for field in ("runs", "accuracies", "table"):
        frame = getattr(scores, field)
        own = frame[frame["architecture"] == "net-a"]
        own = own[own["role"] == "scored"] if "role" in own else own
        copies = [own.assign(recipe=name) for name in names]
        if field == "runs":
            copies = [copy.assign(plain=False) for copy in copies]
        if field == "table":
            copies = [copy.assign(predicted=copy["predicted"] + 0.05 * k) for k, copy in enumerate(copies, 1)]
        frames[field] = pd.concat([frame, *copies], ignore_index=True)
    return dataclasses.replace(scores, **frames)


def test_one_or_two_recipes_are_no_axis(scores):
    assert recipe_axis(build_board(scores)) == []
    assert recipe_axis(build_board(with_recipes(scores, ["mixup"]))) == []


def test_differences_are_to_the_plain_recipe(scores):
    heading, _, block = recipe_axis(build_board(with_recipes(scores, ["a-mixup", "smoothing"])))
    assert heading == "## Recipes"
    assert block.startswith("<details><summary>net-a</summary>")
    lines = [line for line in block.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["plain", "a-mixup", "smoothing"]
    place = [cell.strip() for cell in lines[0].split("|")].index("NoShift")
    cells = [line.split("|")[place].strip() for line in lines[2:]]
    natural = scores.table.query("natural and protocol == 'official' and estimator == 'NoShift'")
    own = natural[(natural["architecture"] == "net-a") & natural["actual"].notna()]
    errors = 100 * (own["predicted"] - own["actual"]).abs()
    expected = errors.groupby([own["group"], own["target"]]).mean().groupby("group").mean().mean()
    assert float(cells[0]) == pytest.approx(expected, abs=0.006)
    assert "(" not in cells[0]
    assert all("(" in cell for cell in cells[1:])


def test_the_picture_shows_the_errors_of_the_table(scores):
    board = build_board(with_recipes(scores, ["a-mixup", "smoothing"]))
    picture = figures(board)["recipes"]
    (panel,) = picture.data["panels"]
    assert panel["recipes"] == ["plain", "a-mixup", "smoothing"]
    rows = board.recipes["net-a"]
    assert panel["errors"]["NoShift"] == pytest.approx([row["errors"]["NoShift"] for row in rows], abs=1e-6)
    ElementTree.fromstring(draw(picture))  # noqa: S314
    _, _, image, *_ = recipe_axis(board, {"recipes": "figures/recipes.svg"})
    assert image.endswith("](figures/recipes.svg)")
