"""The page about confusion: what it says, that it says it of the figures, and its pictures."""

import dataclasses
import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from shiftcast.analysis.ensembles import ENSEMBLE_COLUMNS
from shiftcast.analysis.halves import SHARED_COLUMNS
from shiftcast.analysis.ranking import RANK_COLUMNS
from shiftcast.board.tables import ConfusionTables
from shiftcast.leaderboard.confusion_page import render_confusion
from shiftcast.leaderboard.figures.confusion_data import confusion_figures, shown_sets
from shiftcast.leaderboard.figures.draw import draw
from shiftcast.leaderboard.findings import confusion_findings
from shiftcast.leaderboard.generate import generate
from shiftcast.leaderboard.pages import check, write


def sets_table(difference=0.1):
    rows = [
        ("test-set", "", False, 1000, None, 0.2, 0.0, 0.0, 0.0, 0.1, 0.08, 0.12),
        (
            "photos",
            "photos",
            True,
            500,
            None,
            0.3,
            difference,
            difference - 0.02,
            difference + 0.02,
            0.3,
            0.2,
            0.4,
        ),
        ("sketches", "sketches", True, 200, 40, 0.4, 0.2, 0.1, 0.3, 0.5, 0.4, 0.6),
        ("corrupted/fog-1", "fog", False, 300, None, 0.25, 0.05, 0.01, 0.09, 0.2, 0.1, 0.3),
        ("corrupted/fog-5", "fog", False, 300, None, 0.35, 0.15, 0.1, 0.2, 0.4, 0.3, 0.5),
    ]
    columns = ["set", "group", "natural", "n", "clusters", "mean", "difference", "difference_low"]
    columns += ["difference_high", "above", "above_low", "above_high"]
    return pd.DataFrame(rows, columns=columns).astype({"clusters": "Int64"})


@pytest.fixture
def tables():
    """Tables in which three claims hold in part."""
    sets = sets_table()
    accuracy = pd.DataFrame(
        [
            (
                "net-a",
                "plain",
                name,
                place,
                8 * (10 - place) if name == "test-set" else 2,
                100,
                50 if place else 5,
            )
            for name in sets["set"]
            for place in range(10)
        ],
        columns=["architecture", "recipe", "set", "bin", "right", "n", "images"],
    )
    lines = pd.DataFrame(
        [
            ("photos", 10, 5, 0.8, 1.0, 0.1, 0.3, 0.6, 0.7, 0.05, 0.15, 0.97, False, 0.42, 0.92),
            ("sketches", 10, 5, 0.5, 0.6, -0.1, 0.3, 0.3, 0.35, -0.05, 0.15, 0.7, True, 0.42, 0.92),
        ],
        columns=[
            "set",
            "runs",
            "architectures",
            "slope",
            "slope_predicted",
            "slope_low",
            "slope_high",
            "middle",
            "middle_predicted",
            "middle_low",
            "middle_high",
            "r2",
            "agrees",
            "lowest",
            "highest",
        ],
    )
    pairs = pd.DataFrame(
        [
            ("photos", "NoShift", 5.0, 9.0, -4.0, -5.0, -3.0),
            ("photos", "AgreementShift", 5.0, 3.0, 2.0, 1.0, 3.0),
            ("sketches", "NoShift", 8.0, 9.0, -1.0, -3.0, 1.0),
            ("sketches", "AgreementShift", 8.0, 9.0, -1.0, -3.0, 1.0),
        ],
        columns=["set", "rival", "mae", "rival_mae", "difference", "low", "high"],
    )
    drop = pd.DataFrame(
        [
            ("photos", 0.1, 0.08, 0.12, 0.3, 0.7, 0.6, 0.8, 0.7 / 0.3, 0.5, 0.2, True),
            ("sketches", 0.4, 0.38, 0.42, 0.5, 0.4, 0.3, 0.6, 0.8, 0.55, 0.1, False),
        ],
        columns=[
            *("set", "drop", "drop_low", "drop_high", "mass", "share", "low", "high", "ratio"),
            *("uninformative", "centred", "holds"),
        ],
    )
    sensitivity = pd.DataFrame(
        [("score", "entropy", True, 6.5, 6.5, 2.0, -1.0), ("score", "gini", False, 7.5, 7.5, 3.0, 0.0)],
        columns=[
            "aspect",
            "variant",
            "default",
            "natural_mae",
            "natural_bias",
            "synthetic_mae",
            "synthetic_bias",
        ],
    )
    return ConfusionTables(
        kind="entropy",
        members=["ref-a", "ref-b"],
        threshold=0.7,
        sets=sets,
        histogram=pd.DataFrame(
            [(name, place, 0.05) for name in sets["set"] for place in range(20)],
            columns=["set", "bin", "share"],
        ),
        accuracy=accuracy,
        reliability=pd.DataFrame({"set": sets["set"], "spearman": 0.8, "splits": 4}),
        lines=lines,
        pairs=pairs,
        drop=drop,
        ranks=pd.DataFrame(columns=[*RANK_COLUMNS, "natural"]),
        ensembles=pd.DataFrame(columns=list(ENSEMBLE_COLUMNS)),
        shared=pd.DataFrame(columns=list(SHARED_COLUMNS)),
        sensitivity=sensitivity,
        human=None,
        human_note="not computed for this suite",
    )


@pytest.fixture
def small(make_scores):
    return make_scores(natural=("photos", "sketches"), transforms=("fog",), severities=(1, 5), withheld=())


def chapter(page, heading):
    return page.split(f"{heading}", 1)[1].split("\n#", 1)[0]


def test_verdicts_follow_the_figures(small, tables):
    page = render_confusion(small, tables, {})
    assert "**Holds.** Of the 2 natural sets, labelled or not, 2 are more confusing" in page
    assert "**Does not hold on all sets.** On 1 of 2 labelled natural sets (sketches)" in chapter(
        page, "### 2."
    )
    assert "spans 42.00 to 92.00 %" in chapter(page, "### 2.")
    third = chapter(page, "### 3.")
    assert "errs by 5.00 to 8.00 pp, depending on the set" in third
    assert "against NoShift the partition's error is lower on 1 and higher on 0 of 2 sets" in third
    assert "against AgreementShift the partition's error is lower on 0 and higher on 1 of 2 sets" in third
    fourth = chapter(page, "### 4.")
    assert "**Holds in part.**" in fourth
    assert "it holds on 1 of 2 labelled natural sets (photos)" in fourth
    assert "lies above it on 1." in fourth
    assert "**Not tested here.**" in chapter(page, "### 5.")


def test_what_is_not_shown_is_told_from_what_is_refuted(small, tables):
    less = dataclasses.replace(tables, sets=sets_table(difference=-0.1))
    first = chapter(render_confusion(small, less, {}), "### 1.")
    assert "**Holds in part.**" in first
    assert "1 (sketches) is more confusing" in first
    assert "1 (photos) is less." in first

    def fourth(high):
        drop = tables.drop.assign(holds=False, low=0.3, high=high)
        return chapter(render_confusion(small, dataclasses.replace(tables, drop=drop), {}), "### 4.")

    assert "**Not shown.**" in fourth([0.6, 0.4])
    assert "**Does not hold.**" in fourth([0.45, 0.4])

    def second(agrees):
        lines = tables.lines.assign(agrees=agrees)
        return chapter(render_confusion(small, dataclasses.replace(tables, lines=lines), {}), "### 2.")

    assert "**Not contradicted.** On 2 of 2" in second(True)
    assert "**Does not hold.** On 0 of 2" in second(False)


def test_what_cannot_be_tested_says_so(small, tables):
    nothing = {name: getattr(tables, name).iloc[:0] for name in ("lines", "pairs", "drop", "sensitivity")}
    bare = dataclasses.replace(tables, sets=tables.sets[~tables.sets["natural"]], **nothing)
    page = render_confusion(small, bare, {})
    for heading in ("### 1.", "### 2.", "### 3.", "### 4."):
        assert "**Not tested**" in chapter(page, heading)
    assert "**Not computed**" in page
    assert "**Not shown**: not computed for this suite." in page


def test_figures_from_people_are_shown(small, tables):
    one = {"spearman": 0.31, "low": 0.29, "high": 0.33}
    wrong = {"auc": 0.8, "low": 0.7, "high": 0.9, "median_percentile": 88.0}
    human = {"images": 10000, "reviewed": 275, "errors": 54, "entropy": {"entropy": one}}
    page = render_confusion(
        small, dataclasses.replace(tables, human={**human, "label_errors": {"entropy": wrong}}), {}
    )
    said = chapter(page, "## Is it what people find confusing?")
    assert "is 0.31 [0.29, 0.33]" in said
    assert "have higher confusion than other images" in said


def test_sizes_are_objects_where_images_come_in_clusters(small, tables):
    table = chapter(render_confusion(small, tables, {}), "## How confusing is each set?")
    assert "200 (40 objects)" in table
    assert "+0.100 [0.080, 0.120]" in table


def test_bins_with_few_images_are_left_out(small, tables):
    table = chapter(render_confusion(small, tables, {}), "## Accuracy by confusion")
    row = next(line for line in table.splitlines() if line.startswith("| net-a"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["–", "72.00"]  # 5 images, 50 images


def test_names_are_escaped(small, tables):
    names = ("sets", "accuracy", "reliability", "lines", "pairs", "drop")
    renamed = {name: getattr(tables, name).replace("photos", "<b>|photos") for name in names}
    page = render_confusion(small, dataclasses.replace(tables, **renamed), {})
    assert "<b>" not in page.replace("</b>", "")
    assert "&lt;b&gt;\\|photos" in page


def test_one_corruption_is_shown_at_its_worst(small, tables):
    assert shown_sets(small, tables) == ["test-set", "photos", "sketches", "corrupted/fog-5"]


def test_the_page_and_its_pictures_are_written_linked_and_checked(small, tables, tmp_path):
    scores = dataclasses.replace(small, confusion=tables)
    files = generate([scores], tmp_path / "results", tmp_path)
    write(files, tmp_path)
    page = tmp_path / "results" / "sample" / "confusion.md"
    assert "](confusion.md)" in (page.parent / "board.md").read_text()
    for name in confusion_figures(scores, tables):
        assert f"](figures/{name}.svg)" in page.read_text()
        ElementTree.fromstring((page.parent / "figures" / f"{name}.svg").read_text())  # noqa: S314
    assert check(files, tmp_path) == []
    page.write_text(page.read_text().replace("7.50", "7.49"))
    assert any("7.49" in line for line in check(files, tmp_path))


def test_a_page_that_nothing_makes_any_more_is_found_and_removed(small, tables, tmp_path, no_pictures):
    root = tmp_path / "workspace"
    files = generate([dataclasses.replace(small, confusion=tables)], root / "results", root)
    write(files, root)
    mine = root / "results" / "former" / "confusion.md"
    mine.parent.mkdir()
    mine.write_text((root / "results" / "sample" / "confusion.md").read_text())
    other = root / "results" / "notes" / "confusion.md"
    other.parent.mkdir()
    other.write_text("# Somebody's own page")
    assert check(files, root) == ["results/former/confusion.md: left over; nothing makes it"]
    without = generate([small], root / "results", root)
    assert "results/sample/confusion.md: left over; nothing makes it" in check(without, root)
    write(without, root)
    assert not mine.exists()
    assert other.exists()
    assert check(without, root) == []


def test_two_suites_have_pages_of_their_own(small, tables, tmp_path, no_pictures):
    scores = dataclasses.replace(small, confusion=tables)
    other = dataclasses.replace(scores, suite=small.suite.model_copy(update={"name": "another"}))
    files = generate([scores, other], tmp_path / "results", tmp_path / "out")
    pages = [path for path in files if path.name == "confusion.md"]
    assert len(pages) == 2
    for page in pages:
        write(files, tmp_path / "out")
        links = [line.split("](")[1][:-1] for line in files[page].splitlines() if line.startswith("![")]
        assert links
        assert all((tmp_path / "out" / page.parent / link).exists() for link in links)


def test_what_halves_share_is_said_with_its_figures(small, tables):
    rows = [
        ("id", "low", "same half", 120.0, 0.42, 0.38, 0.46, *[float("nan")] * 3),
        ("id", "low", "other half", 120.0, 0.35, 0.31, 0.39, -0.07, -0.1, -0.04),
        ("photos", "low", "same half", 300.0, 0.5, 0.47, 0.53, *[float("nan")] * 3),
        ("photos", "low", "other half", 300.0, 0.49, 0.46, 0.52, -0.01, -0.03, 0.01),
        ("photos", "high", "same half", 300.0, 0.2, 0.17, 0.23, *[float("nan")] * 3),
    ]
    shared = pd.DataFrame(rows, columns=list(SHARED_COLUMNS))
    page = render_confusion(small, dataclasses.replace(tables, shared=shared), {})
    fifth = chapter(page, "### 5.")
    assert "**Tested in part.**" in fifth
    assert "share, with the same wrong class, 42.00 to 50.00 % of their errors" in fifth
    assert "on disjoint halves share 35.00 to 49.00 %, which is clearly less on 1 of 2 sets" in fifth
    assert "-7.00 [-10.00, -4.00]" in fifth
    assert "**Not tested here.**" in chapter(render_confusion(small, tables, {}), "### 5.")


def findings_of(page):
    return chapter(page, "## Findings").strip().splitlines()


def test_the_page_opens_with_three_findings_from_its_tables(small, tables):
    page = render_confusion(small, tables, {})
    assert page.index("## Findings") < page.index("## The score")
    first, second, third = findings_of(page)
    assert "on 2 of 2 sets: 30.00 to 50.00 % of their images are of high confusion" in first
    assert "**ConfusionPartition errs** by 5.00 to 8.00 pp on 2 natural shifts." in second
    assert "lower than that of NoShift on 1 and lower than that of AgreementShift on 0 of them" in second
    assert "on 1 of 2 natural shifts" in third


def test_findings_without_natural_shifts_are_about_the_others(small, tables):
    nothing = {name: getattr(tables, name).iloc[:0] for name in ("lines", "pairs", "drop", "sensitivity")}
    bare = dataclasses.replace(tables, sets=tables.sets[~tables.sets["natural"]], **nothing)
    altered, easy, reliable = findings_of(render_confusion(small, bare, {}))
    assert "in 2 of 2 sets: 20.00 to 40.00 % of their images" in altered
    assert "**Accuracy at equal confusion** differs most on" in easy
    assert "the models have 2.00 %, against 72.00 % in distribution" in easy
    assert "rank correlation of 0.80 to 0.80" in reliable


def test_the_choice_that_matters_most_is_found(small, tables):
    rows = [
        ("score", "entropy", True, float("nan"), 0.0, 6.0, 0.0),
        ("score", "gini", False, float("nan"), 0.0, 6.5, 0.0),
        ("members", "2", False, float("nan"), 0.0, 9.0, 0.0),
        ("members", "8", True, float("nan"), 0.0, 6.0, 0.0),
    ]
    frame = pd.DataFrame(rows, columns=list(tables.sensitivity.columns))
    found = confusion_findings(dataclasses.replace(tables, sensitivity=frame))
    assert any(
        "choice of *members*: its error on synthetic shifts is 6.00 to 9.00 pp" in one for one in found
    )


def test_tables_with_a_figure_are_folded(small, tables):
    page = render_confusion(small, tables, {})
    shown = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "\n|" in page
    assert "\n|" not in shown


def test_figures_hold_the_numbers_of_the_folded_tables(small, tables):
    rows = [("id", "low", "same half", 120.0, 0.42, 0.38, 0.46, *[float("nan")] * 3)]
    shared = pd.DataFrame(rows, columns=list(SHARED_COLUMNS))
    drawn = confusion_figures(small, dataclasses.replace(tables, shared=shared))
    first = drawn["confusion-by-set"].data["panels"][0]["rows"][0]
    assert (first["set"], first["natural"], first["difference"], first["above"]) == ("photos", True, 0.1, 0.3)
    assert drawn["shared-errors"].data["panels"] == [
        {"level": "low", "points": [["id", "same half", 0.42, 0.38, 0.46]]}
    ]
    natural, synthetic = drawn["partition-choices"].data["panels"]
    assert natural["rows"] == [["score", "entropy", True, 6.5], ["score", "gini", False, 7.5]]
    assert [row[3] for row in synthetic["rows"]] == [2.0, 3.0]
    for name in ("confusion-by-set", "shared-errors", "partition-choices"):
        ElementTree.fromstring(draw(drawn[name]))  # noqa: S314
