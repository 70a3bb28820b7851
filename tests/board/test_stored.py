"""Tables that the leaderboard keeps: they say what scoring says, and are scored anew where they are stale."""

import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import shiftcast
from shiftcast.board.assemble import score_suite
from shiftcast.board.build import build_board
from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError
from shiftcast.scoring.harness import Scorer
from support.quick_boards import draw_nothing, use_few_estimators
from support.tiny import copy_runs
from support.workspaces import make_workspace

pytestmark = pytest.mark.usefixtures("few_estimators", "no_pictures")
KEYS = ("kind", "architecture", "recipe", "seed", "role", "target", "set", "view", "estimator", "protocol")


def leaderboard(workspace, results, *options):
    command = ["leaderboard", "--results", str(results), "--out", str(workspace.root), *options]
    return CliRunner().invoke(app, ["--workspace", str(workspace.root), *command])


@pytest.fixture(scope="module")
def written(tiny_template, tmp_path_factory):
    """A workspace with runs of suite `tiny` and the tables that the leaderboard keeps; tests get copies."""
    home = make_workspace(tmp_path_factory.mktemp("written") / "workspace")
    copy_runs(tiny_template, home.root / "results", ())
    with pytest.MonkeyPatch.context() as patch:
        use_few_estimators(patch)
        draw_nothing(patch)
        assert leaderboard(home, home.root / "results").exit_code == 0
    return home.root


@pytest.fixture
def kept(workspace, written):
    """Results of suite `tiny` below the workspace, with the tables that the leaderboard keeps."""
    shutil.copytree(written, workspace.root, dirs_exist_ok=True)
    return workspace.root / "results"


@pytest.fixture
def unscored(monkeypatch):
    """Refuse to score."""

    def refuse(*arguments, **named):
        raise AssertionError("scored anew")

    monkeypatch.setattr("shiftcast.board.assemble.score_suite", refuse)


def values(column):
    """Return a column as numbers, or as text."""
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    try:
        return column.to_numpy(dtype=float)
    except (TypeError, ValueError):
        return column.fillna("").astype(str).to_numpy(dtype=object)


def test_tables_that_are_kept_are_those_that_scoring_gives(workspace, kept):
    read = shiftcast.load_results(kept, workspace=workspace.root)
    (kept / "tiny/tables/source.csv").unlink()
    made = shiftcast.load_results(kept, workspace=workspace.root)
    assert made.estimates["seconds"].notna().all()
    for name in ("estimates", "runs", "accuracies", "skipped", "views", "signals", "reported", "boards"):
        frames = [getattr(results, name) for results in (read, made)]
        assert set(frames[0]) == set(frames[1]), name
        assert len(frames[0]) == len(frames[1]), name
        columns = [column for column in frames[1] if column != "seconds"]
        keys = [key for key in KEYS if key in columns]
        one, other = (frame[columns].sort_values(keys or columns) for frame in frames)
        for column in columns if len(one) else ():
            pair = values(one[column]), values(other[column])
            if pair[0].dtype == object:
                assert pair[0].tolist() == pair[1].tolist(), f"{name}.{column}"
            else:
                np.testing.assert_allclose(*pair, atol=6e-7, err_msg=f"{name}.{column}")


def test_what_is_kept_is_read_and_not_scored(workspace, kept, unscored):
    assert len(shiftcast.load_results(kept, workspace=workspace.root).estimates)
    card = next((workspace.root / "architectures").glob("*.toml"))
    card.write_text(card.read_text() + "\n")
    with pytest.raises(AssertionError, match="scored anew"):
        shiftcast.load_results(kept, workspace=workspace.root)


def test_a_run_that_is_gone_makes_tables_stale(workspace, kept, unscored):
    next(kept.glob("tiny/*/*/seed-*/run.json")).unlink()
    with pytest.raises(AssertionError, match="scored anew"):
        shiftcast.load_results(kept, workspace=workspace.root)


def test_progress_is_told_while_a_suite_is_scored(workspace, make_results):
    said = []
    shiftcast.load_results(make_results(), workspace=workspace.root, progress=said.append)
    assert said[0].startswith("scoring tiny: 1 of ")
    assert said[-1].split()[2] == said[-1].split()[4]


def test_the_check_finds_a_changed_table_and_one_that_nothing_makes(workspace, kept):
    assert leaderboard(workspace, kept, "--check").exit_code == 0
    table = next(kept.glob("tiny/tables/estimates-*.csv"))
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], ""]))
    (table.parent / "more.csv").write_text("a\n1\n")
    done = leaderboard(workspace, kept, "--check")
    assert done.exit_code == 1
    said = f"{done.output}{done.exception}"
    assert f"{table.name}: 0 lines not expected, 1 missing" in said
    assert "tables/more.csv: left over" in said


def test_the_board_in_python_is_that_of_the_leaderboard(workspace, kept):
    given = shiftcast.load_results(kept, workspace=workspace.root).board(kind="synthetic")
    given = given.set_index("estimator")
    own = build_board(score_suite(workspace, workspace.suite("tiny"), kept))
    expected = own.synthetic.overall.set_index("estimator")
    assert len(given)
    assert given.index.tolist() == expected.index.tolist()
    for name in ("mae", "bias", "coverage", "abstained", "cells", "all_cells", "mae_low"):
        np.testing.assert_allclose(values(given[name]), values(expected[name]), atol=6e-7)
    page = (kept / "tiny/board.md").read_text().splitlines()
    for estimator, mae in given["mae"].dropna().items():
        assert any(estimator in line and f" {mae:.2f} " in line for line in page), estimator


def test_a_board_that_is_not_there_is_refused(workspace, kept):
    results = shiftcast.load_results(kept, workspace=workspace.root)
    for wanted in ({"suite": "tin"}, {"kind": "both"}):
        with pytest.raises(InvalidInputError, match="expected a suite among tiny and a kind among"):
            results.board(**wanted)


def test_a_sample_is_scored_and_the_rest_is_what_is_kept(workspace, kept, monkeypatch):
    scored, cell = set(), Scorer.cell

    def seen(scorer, *arguments):
        scored.add(scorer.view.run.key)
        return cell(scorer, *arguments)

    monkeypatch.setattr(Scorer, "cell", seen)
    for count in (0, 1):
        assert leaderboard(workspace, kept, "--check", "--sample", str(count), "--jobs", "1").exit_code == 0
        assert len(scored) == count
    (run,) = scored
    path = next(kept.glob("tiny/tables/estimates-*.csv"))
    table = pd.read_csv(path)
    of_run = (table["architecture"] == run.architecture) & (table["seed"] == run.seed)
    for changed in (of_run, ~of_run):  # one is computed, the others make other pages
        table.assign(predicted=table["predicted"].where(~changed, table["predicted"] + 0.01)).to_csv(
            path, index=False
        )
        done = leaderboard(workspace, kept, "--check", "--sample", "1", "--jobs", "1")
        assert done.exit_code == 1, done.output
        assert "has drifted" in str(done.exception)


def test_a_sample_without_tables_of_these_runs_is_refused(workspace, kept):
    (kept / "tiny/tables/source.csv").write_text("source\nother\n")
    done = leaderboard(workspace, kept, "--check", "--sample", "1")
    assert "stored tables are not of these runs; run without --sample" in str(done.exception)
    assert leaderboard(workspace, kept, "--sample", "1").exit_code == 2


def test_a_suite_without_scored_runs_has_nothing_to_sample(workspace, tiny_template):
    results = workspace.root / "results"
    copy_runs(tiny_template, results, tuple(map(str, workspace.suite("tiny").scored_runs())))
    assert leaderboard(workspace, results).exit_code == 0
    assert pd.read_csv(results / "tiny/tables/unranked.csv").empty
    done = leaderboard(workspace, results, "--check", "--sample", "1")
    assert done.exit_code == 0, done.exception


def test_a_table_that_was_merged_badly_is_made_anew(workspace, kept, unscored):
    path = next(kept.glob("tiny/tables/estimates-*.csv"))
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}")
    with pytest.raises(AssertionError, match="scored anew"):
        shiftcast.load_results(kept, workspace=workspace.root)
