"""The leaderboard as files: where they go, and that drift is found."""

import dataclasses
import io
import json
import re
from os.path import normpath
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from scipy.stats import norm

from shiftcast.board.build import build_board
from shiftcast.estimate.board_errors import FILE as RESIDUALS
from shiftcast.estimate.board_errors import board_errors
from shiftcast.leaderboard.generate import generate, tidy_csv
from shiftcast.leaderboard.pages import check, write
from support import REPOSITORY

pytestmark = pytest.mark.usefixtures("few_estimators", "no_pictures")

PAGE, LEGEND = Path("leaderboard.md"), Path("results/legend.md")
HOME = Path("results/sample")
BOARD, FIGURES = HOME / "board.md", HOME / "figures"
LINK = re.compile(r"(?<!\\)\]\((?!#|https?:)([^)]*)\)")
FRONT, LARGEST = 40_000, 300_000
"""Bytes of the front page and of any other page at most: code hosts do not render Markdown beyond 512 kB."""


@pytest.fixture(scope="module", autouse=True)
def boards():
    """The boards of scores that several tests look at: their tables are computed once."""
    known = {}

    def board(scores):
        if id(scores) not in known:
            known[id(scores)] = build_board(scores)  # holds the scores: no others get their number
        return known[id(scores)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shiftcast.leaderboard.generate.build_board", board)
        yield


@pytest.fixture(scope="module")
def edition(small):
    return dataclasses.replace(small, edition="recovered")


@pytest.fixture(scope="module")
def other(small):
    return dataclasses.replace(small, suite=small.suite.model_copy(update={"name": "another"}))


@pytest.fixture(scope="module")
def files(scores, tmp_path_factory):
    root = tmp_path_factory.mktemp("workspace")
    return generate([scores], root / "results", root)


@pytest.fixture(scope="module")
def small(make_scores):
    """Scores whose pictures are drawn in a moment."""
    return make_scores(natural=("photos",), transforms=(), withheld=(), seeds=(0,))


@pytest.fixture
def written(files, tmp_path):
    write(files, tmp_path)
    return tmp_path


def test_pages_and_pictures_lie_beside_their_suites_runs(files):
    names = ("estimators", "ood-vs-id", "predicted-vs-actual")
    pictures = {FIGURES / f"{name}.svg" for name in names}
    shifts = {HOME / f"shifts/{name}.md" for name in ("photos", "sketches", "fog", "noise")}
    assert set(files) == {PAGE, RESIDUALS, LEGEND, BOARD, *shifts, *pictures}
    assert all(f"(figures/{name}.svg)" in files[BOARD] for name in names)
    assert "(results/sample/figures/predicted-vs-actual.svg)" in files[PAGE]


def assert_linked(files):
    """Assert that links of generated pages lead to generated files, or are anchors of their page."""
    for path, text in files.items():
        for link in LINK.findall(text) if path.suffix == ".md" else ():
            assert Path(normpath(path.parent / unquote(link))) in files, (path, link)


def test_links_between_pages_lead_to_pages(files, small, edition, other, tmp_path):
    assert_linked(files)
    assert_linked(generate([edition, small, other], tmp_path / "results", tmp_path))
    assert_linked(generate([small, other], tmp_path / "results", tmp_path / "out"))
    assert_linked(generate([small], tmp_path / "results", tmp_path / "out"))


def test_every_page_leads_to_the_legend(files):
    pages = {path: text for path, text in files.items() if path.suffix == ".md" and path != LEGEND}
    for path, text in pages.items():
        legend = text.index("legend.md)")
        assert legend < text.index("\n|"), path


def test_a_large_board_has_no_large_page(make_scores, tmp_path):
    scores = make_scores(
        architectures=[f"network-{number}" for number in range(60)],
        seeds=(0,),
        natural=[f"natural-{number}" for number in range(8)],
        withheld=[f"blind-{number}" for number in range(8)],
        transforms=("fog", "noise", "snow", "blur"),
        estimators=dict.fromkeys(("NoShift", "MeanShift", "ATC"), ("T1", "", 0.1)),
    )
    files = generate([scores], tmp_path / "results", tmp_path)
    sizes = {path: len(text.encode()) for path, text in files.items() if path.suffix == ".md"}
    assert sizes.pop(PAGE) <= FRONT
    assert max(sizes.values()) <= LARGEST, sizes


def test_committed_pages_are_small_enough_to_be_rendered():
    sizes = {path: path.stat().st_size for path in (REPOSITORY / "results").rglob("*.md")}
    assert max(sizes.values()) <= LARGEST
    assert (REPOSITORY / PAGE).stat().st_size <= FRONT


def test_residuals_are_those_of_the_rows(files, scores, tmp_path):
    content = json.loads(files[RESIDUALS])
    own = content["suites"]["sample"]["natural"]["ATC"]
    row = scores.table.query("estimator == 'ATC' and target == 'photos'").iloc[0]
    wanted = norm.ppf(row["actual"]) - norm.ppf(row["predicted"])
    assert own["residuals"]["photos"][0] == pytest.approx(wanted, abs=1e-4)
    assert set(own["residuals"]) == {"photos", "sketches"}  # no labels, no residuals
    assert len(own["residuals"]["photos"]) == 10
    path = tmp_path / "residuals.json"
    path.write_text(files[RESIDUALS])
    assert board_errors(path)["ATC"].residuals == own["residuals"]
    assert board_errors(path)["ATC"].level is None
    board = build_board(scores).natural.overall.set_index("estimator")
    assert board_errors(path)["ATC"].mae == pytest.approx(board.loc["ATC", "mae"] / 100, abs=5e-5)


def test_other_folders_get_no_residuals(scores, tmp_path):
    assert RESIDUALS not in generate([scores], tmp_path / "results", tmp_path / "elsewhere")


def test_pictures_of_outputs_lie_beside_the_page(small, tmp_path):
    folder = tmp_path / "outputs/sample"
    elsewhere = generate([small], tmp_path / "results", folder)
    assert {Path("figures/estimators.svg"), Path("board.md"), Path("legend.md")} <= set(elsewhere)
    scratch = dataclasses.replace(small, suite=small.suite.model_copy(update={"scratch": True}))
    assert generate([scratch], folder / "results", folder) == elsewhere


def test_editions_have_sections_and_pictures_of_their_own(small, edition, tmp_path):
    both = generate([edition, small], tmp_path / "results", tmp_path)
    assert Path("results/sample@recovered/figures/estimators.svg") in both
    assert FIGURES / "estimators.svg" in both
    assert "# Sample suite (edition recovered)\n" in both[Path("results/sample@recovered/board.md")]
    assert "- [Sample suite (edition recovered)](results/sample%40recovered/board.md): " in both[PAGE]


def test_sections_come_in_order_of_name(small, other, tmp_path):
    apart = generate([small, other], tmp_path / "results", tmp_path / "out")
    assert {Path("another/figures/estimators.svg"), Path("another/board.md"), Path("legend.md")} <= set(apart)
    assert apart[PAGE].index("(another/board.md)") < apart[PAGE].index("(sample/board.md)")


def test_order_of_rows_changes_no_byte(scores, files, tmp_path):
    shuffled = {
        name: getattr(scores, name).sample(frac=1, random_state=5) for name in ("runs", "accuracies", "table")
    }
    assert generate([dataclasses.replace(scores, **shuffled)], tmp_path / "results", tmp_path) == files


def test_what_was_written_passes_the_check(files, written):
    assert check(files, written) == []
    assert not list(written.rglob("*.part"))


def test_a_changed_number_is_found(files, written):
    page = written / BOARD
    page.write_text(page.read_text().replace("10 of 10 runs", "10 of 11 runs"))
    lines = check(files, written)
    assert any(line.startswith("-") and "10 of 11 runs" in line for line in lines)
    assert any(line.startswith("+") and "10 of 10 runs" in line for line in lines)


def test_a_changed_line_ending_is_found(files, written):
    page = written / PAGE
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n", 1))
    assert check(files, written)


def test_a_figure_of_other_data_is_found(scores, files, written):
    table = scores.table.copy()
    table.loc[table["estimator"] == "ATC", "predicted"] += 0.001
    moved = generate([dataclasses.replace(scores, table=table)], written / "results", written)
    drifted = [line for line in check(moved, written) if "figure data differs" in line]
    assert drifted
    assert drifted[0].startswith("results/sample/figures/estimators.svg: figure data differs")


def test_a_figure_with_other_bytes_and_the_same_data_passes(files, written):
    picture = written / FIGURES / "estimators.svg"
    picture.write_text(picture.read_text().replace("font", "font ", 1))
    assert check(files, written) == []


def test_a_figure_without_its_hash_is_found(files, written):
    (written / FIGURES / "estimators.svg").write_text("<svg/>")
    assert any("found none" in line for line in check(files, written))


@pytest.mark.parametrize("name", [PAGE, BOARD, LEGEND, FIGURES / "estimators.svg"])
def test_a_missing_file_is_found(files, written, name):
    (written / name).unlink()
    assert check(files, written) == [f"{name.as_posix()}: missing"]


@pytest.mark.parametrize("folder", [FIGURES, Path("results/former-suite/figures")])
def test_a_left_over_picture_is_found_and_removed(files, written, folder):
    old = written / folder / "old.svg"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text((written / FIGURES / "estimators.svg").read_text())
    assert check(files, written) == [f"{(folder / 'old.svg').as_posix()}: left over; nothing makes it"]
    write(files, written)
    assert check(files, written) == []
    assert not old.exists()


@pytest.mark.parametrize(
    "name", ["sample/shifts/old.md", "former-suite/board.md", "former-suite/shifts/fog.md"]
)
def test_a_left_over_page_is_named_and_removed(files, written, name):
    old = written / "results" / name
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text(files[BOARD])
    mine = old.with_name("notes.md")
    mine.write_text("# Notes")
    assert check(files, written) == [f"results/{name}: left over; nothing makes it"]
    write(files, written)
    assert check(files, written) == []
    assert not old.exists()
    assert mine.exists()


def test_a_picture_that_is_not_ours_is_left_alone(files, written):
    own = written / FIGURES / "drawn-by-hand.svg"
    own.write_text("<svg/>")
    write(files, written)
    assert own.exists()
    assert check(files, written) == []


def test_the_csv_holds_every_row_in_a_fixed_order(scores):
    text = tidy_csv(scores)
    assert text == tidy_csv(dataclasses.replace(scores, table=scores.table.sample(frac=1, random_state=1)))
    frame = pd.read_csv(io.StringIO(text))
    assert len(frame) == len(scores.table)
    assert list(frame.columns) == list(scores.table.columns)
    assert frame["seconds"].notna().all()
