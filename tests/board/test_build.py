"""A board's tables are computed once, whatever shows them."""

from collections import Counter
from functools import wraps
from shutil import copytree, rmtree

import pytest

from shiftcast.board import build, estimators, models
from shiftcast.cli.leaderboard import write_leaderboard
from support.command_line import typed

pytestmark = pytest.mark.usefixtures("few_estimators", "no_pictures")

BUILDERS = (
    (estimators, "kind_rows", 6),  # two kinds of shift, three protocols
    (estimators, "details", 4),  # two kinds of shift, by group and by target
    *((estimators, name, 2) for name in ("estimator_board", "shift_figures", "model_errors", "coverage_by")),
    *((models, name, 1) for name in ("model_board", "model_groups", "withheld")),
    *((build, name, 1) for name in ("shift_rows", "recipe_axes", "self_reported", "suite_residuals")),
    *((build, name, 1) for name in ("label_views", "parts_of_sets")),
)
"""What builds a board's tables, and how often it is called for one board, at most."""
MOST = {name: most for _, name, most in BUILDERS}


@pytest.fixture
def calls(monkeypatch):
    """How often each builder has been called."""
    counted = Counter()

    def count(module, name):
        really = getattr(module, name)

        @wraps(really)
        def builder(*arguments):
            counted[name] += 1
            return really(*arguments)

        monkeypatch.setattr(module, name, builder)

    for module, name, _ in BUILDERS:
        count(module, name)
    return counted


def assert_once(calls, boards, needed):
    assert {name: n for name, n in calls.items() if n > MOST[name] * boards} == {}
    assert all(calls[name] >= boards for name in needed)


def test_the_leaderboard_computes_each_table_once(workspace, make_results, calls):
    write_leaderboard(workspace, make_results(), workspace.home)
    assert_once(calls, 1, ("kind_rows", "details", "estimator_board", "coverage_by", "model_board"))


def test_the_site_computes_each_table_once(workspace, make_results, calls, monkeypatch, tmp_path):
    monkeypatch.setattr("shiftcast.site.build.vega_bundle", lambda: "")
    make_results()
    done = typed("--workspace", workspace.root, "page", "--suite", "tiny", "--out", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert_once(calls, 1, ("estimator_board", "shift_figures", "model_errors", "model_board", "shift_rows"))


def test_a_difference_computes_each_table_of_both_boards_once(workspace, make_results, calls, tmp_path):
    results, other = make_results(), tmp_path / "other"
    copytree(results, other)
    rmtree(other / "tiny/test_vit/tiny/seed-0")
    command = ("diff", results, other, "--suite", "tiny", "--json", "--exit-code")
    assert typed("--workspace", workspace.root, *command).returncode == 1
    assert_once(calls, 2, ("estimator_board", "model_errors", "model_board", "model_groups"))
