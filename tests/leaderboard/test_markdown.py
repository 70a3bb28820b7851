"""The page: what it says, what it must not say, and that order changes no byte."""

import dataclasses
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from shiftcast.analysis.ensembles import ENSEMBLE_COLUMNS
from shiftcast.analysis.ranking import RANK_COLUMNS
from shiftcast.analysis.robustness import ROBUSTNESS_COLUMNS
from shiftcast.board.build import build_board
from shiftcast.board.tables import VIEW_COLUMNS
from shiftcast.leaderboard.shifts import render_shifts
from shiftcast.leaderboard.suite_page import render_suite
from support.scores import without_runs


@pytest.fixture(scope="module")
def page(scores):
    return render_suite(build_board(scores), {"estimators": "results/sample@x/figures/estimators.svg"})


def section(page, title):
    return page.split(f"# {title}", 1)[1].split("\n#", 1)[0]


def row_of(text, name):
    return next(line for line in text.splitlines() if re.search(rf"\| {re.escape(name)}\W*\|", line))


def test_the_page_says_what_was_run(page):
    assert "- **Source**: trained on train-set; labelled test set test-set (4,000 images)." in page
    assert "10 of 10 runs complete (5 architectures; recipe plain; seeds 0, 1; 2 epochs)" in page
    assert "photos (2,000 images), sketches (2,000 images), unseen (2,000 images, labels withheld)" in page
    assert "fog, noise; severities 1, 5; 1,000 images each" in page
    assert "net-a, net-b, ref-c. They replace members of the scored model's family: ref-d." in page
    assert "    shiftcast run sample  " in page


def test_few_natural_shifts_make_a_conditional_board(page, make_scores):
    assert "### Natural shifts, *conditional on these shifts*" in page
    assert "2 labelled natural shifts, fewer than 6: no claim is made about natural shifts in" in page
    assert "conditional on" not in section(page, "Synthetic shifts")
    one = render_suite(build_board(make_scores(natural=("photos",), transforms=(), withheld=())), {})
    assert "### Natural shifts, *conditional on this shift*" in one
    six = render_suite(
        build_board(make_scores(natural=[f"photos-{n}" for n in range(6)], transforms=(), withheld=())), {}
    )
    assert "conditional on" not in six


def test_kinds_have_tables_of_their_own(page):
    assert "MAE shared" not in section(page, "Natural shifts")
    assert "MAE shared" in section(page, "Synthetic shifts")


def test_the_headline_is_compared_in_words(page):
    text = section(page, "Natural shifts")
    assert re.search(
        r"\*\*ConfusionPartition\*\* \(headline\): mean absolute error \d+\.\d\d pp, bias [+-]?\d", text
    )
    assert re.search(r"Baselines: NoShift \d+\.\d\d pp, MeanShift \d+\.\d\d pp\.", text)
    assert (
        "† Chosen with labels of the sets in brackets, or added after they were opened: AgreementShift "
        "(photos)." in text
    )
    assert row_of(text, "AgreementShift")


def test_pictures_are_embedded_by_quoted_relative_path(page):
    assert "![Mean absolute error of each estimator](results/sample%40x/figures/estimators.svg)" in page
    assert page.count("![") == 1


def test_withheld_targets_say_so(page):
    lines = [
        line for line in section(page, "Shifts whose labels").splitlines() if line.startswith("| unseen")
    ]
    assert len(lines) == 5
    assert all(line.rstrip(" |").endswith("withheld") for line in lines)


def test_nothing_missing_is_said(make_scores):
    scores = make_scores(estimators={"NoShift": ("T1", "", 0.1)})
    assert "Nothing: every run, shift and estimator of the suite is on the board." in render_suite(
        build_board(scores), {}
    )


def test_what_is_missing_has_its_reason(scores):
    runs = scores.runs.copy()
    runs.loc[(runs["architecture"] == "net-b") & (runs["seed"] == 1), "status"] = (
        "stale: its recipe has changed"
    )
    reference = runs.iloc[[0]].assign(architecture="ref-c", role="reference", seed=100, status="missing")
    less = dataclasses.replace(
        scores,
        runs=pd.concat([runs, reference]),
        targets=[target for target in scores.targets if target.id != "unseen"],
        skipped=pd.DataFrame([{"estimator": "GDE", "reason": "the run has no sibling", "rows": 3}]),
        dataset_notes={"test-set": "recovered-2026: 59,904 of 60,000 bit-exact."},
        edition="recovered-2026",
    )
    page = render_suite(build_board(less), {})
    missing = section(page, "What is missing, and notes")
    assert "- 1 scored run, stale: its recipe has changed: net-b/plain/seed-1" in missing
    assert "- 1 reference run, missing: ref-c/plain/seed-100" in missing
    assert "- no run was evaluated on unseen (optional)" in missing
    assert "- GDE skipped on 3 rows: the run has no sibling" in missing
    assert "- MeanShift notes: mean corruption drop (30 rows)" in missing
    assert "- net-b: seed 1: stale: its recipe has changed" in page
    assert "- **Edition of test-set**: recovered-2026: 59,904 of 60,000 bit-exact." in page
    assert "# Sample suite (edition recovered-2026)" in page


def test_many_notes_are_cut(scores):
    table = scores.table.copy()
    own = (table["estimator"] == "ATC") & (table["protocol"] == "official")
    table.loc[own, "note"] = [f"R2 {number}" for number in range(int(own.sum()))]
    page = render_suite(build_board(dataclasses.replace(scores, table=table)), {})
    assert re.search(
        r"- ATC notes: R2 0 \(1 row\); R2 1 \(1 row\); R2 10 \(1 row\); and 67 other notes\n", page
    )


def test_each_labelled_shift_has_a_page(scores, page):
    listed = section(page, "Details by shift").strip().splitlines()
    names = ["photos](shifts/photos.md) (natural)", "sketches](shifts/sketches.md) (natural)"]
    names += ["fog](shifts/fog.md) (synthetic)", "noise](shifts/noise.md) (synthetic)"]
    assert [line.removeprefix("- [").split(": ")[0] for line in listed] == names
    assert page.count("<details>") == page.count("</details>") == 9
    shifts = render_shifts(build_board(scores), "[above](above.md)")
    assert list(shifts) == [f"shifts/{name}.md" for name in ("photos", "sketches", "fog", "noise")]
    assert "MAE, fog-5" in shifts["shifts/fog.md"]
    assert "MAE, " not in shifts["shifts/photos.md"]
    assert "| net-a |" in shifts["shifts/photos.md"]


def test_no_seconds_and_no_negative_zero(page):
    assert "second" not in page.lower()
    assert "-0.00" not in page


def test_order_of_rows_changes_no_byte(scores, page):
    frames = ("runs", "accuracies", "table", "skipped", "ensemble")
    shuffled = {name: getattr(scores, name).sample(frac=1, random_state=3) for name in frames}
    links = [{"estimators": "results/sample@x/figures/estimators.svg"}]
    assert render_suite(build_board(dataclasses.replace(scores, **shuffled)), links[0]) == page
    assert render_suite(build_board(scores), links[0]) == page


def test_seconds_change_no_byte(scores, page):
    links = [{"estimators": "results/sample@x/figures/estimators.svg"}]
    assert (
        render_suite(
            build_board(dataclasses.replace(scores, table=scores.table.assign(seconds=9.0))), links[0]
        )
        == page
    )


def test_names_inject_no_markdown(scores):
    evil = "x|y](http://evil)<img src=x>\n\n# Title"
    runs = scores.runs.assign(status=evil)
    skipped = pd.DataFrame([{"estimator": evil, "reason": evil, "rows": 1}])
    table = scores.table.replace({"estimator": {"ATC": evil}}).assign(note=evil)
    page = render_suite(
        build_board(
            dataclasses.replace(
                scores, runs=runs, skipped=skipped, table=table, dataset_notes={"test-set": evil}
            )
        ),
        {},
    )
    assert "<img" not in page
    assert not re.search(r"(?<!\\)\]\(http", page)
    assert "\n# Title" not in page
    widths = [
        len(re.findall(r"(?<!\\)\|", line))
        for line in section(page, "Natural shifts").splitlines()
        if "|" in line
    ]
    assert len(set(widths)) == 4  # the board, its other figures, its coverage and its evidence


def test_a_suite_without_runs_is_still_a_page(scores):
    empty = without_runs(scores)
    page = render_suite(build_board(empty), {})
    assert "0 of 10 runs complete" in page
    assert "- 10 scored runs, missing: net-a/plain/seed-0" in page
    assert "## Estimators" not in page


def test_several_recipes_are_told_apart(scores):
    other = {name: getattr(scores, name).assign(recipe="other") for name in ("runs", "accuracies", "table")}
    both = {name: pd.concat([getattr(scores, name), frame]) for name, frame in other.items()}
    page = render_suite(build_board(dataclasses.replace(scores, **both)), {})
    assert "| net-e (other) " in page
    assert "| net-e (plain) " in page
    assert "recipe other, plain" in page


def test_parts_of_sets_stand_beside_the_whole(scores):
    rows = [
        (f"net-{name}", "plain", seed, "photos", "clean", "the clean half", right, 100)
        for name, right in (("a", 80), ("b", 60))
        for seed in (0, 1)
    ]
    views = pd.DataFrame(rows, columns=list(VIEW_COLUMNS))
    page = render_suite(build_board(dataclasses.replace(scores, views=views)), {})
    part = page.split("Accuracy on parts of the sets", 1)[1].split("</details>", 1)[0]
    assert "- **photos: clean**: the clean half (100 images)." in part
    sets = scores.accuracies
    own = sets[(sets["set"] == "photos") & (sets["architecture"] == "net-a")]
    whole = f"{100 * (own['right'].astype(float) / own['n']).mean():.2f}"
    row = next(line for line in part.splitlines() if line.startswith("| net-a"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == [whole, "80.00"]
    assert "Accuracy on parts of the sets" not in render_suite(build_board(scores), {})


def test_the_headline_table_says_which_ranks_noise_leaves_open(scores):
    rows = [
        ("NoShift", "T1", 7.0, 6.0, 8.25, 2, 3, *[float("nan")] * 4, True),
        ("ATC", "T1", 5.0, 4.5, 5.5, 1, 1, 2.0, 1.0, 3.0, 0.0004, True),
    ]
    columns = [
        *("estimator", "track", "mae", "mae_low", "mae_high", "rank_low", "rank_high"),
        *("difference", "low", "high", "p", "natural"),
    ]
    ranks = pd.DataFrame(rows, columns=columns)
    assert set(RANK_COLUMNS) | {"natural"} == set(columns)
    confusion = SimpleNamespace(
        ranks=ranks,
        ensembles=pd.DataFrame(columns=list(ENSEMBLE_COLUMNS)),
        robustness=pd.DataFrame(columns=list(ROBUSTNESS_COLUMNS)),
        sets=pd.DataFrame(columns=["set", "group", "natural", "mean"]).astype({"natural": bool}),
    )
    page = render_suite(build_board(dataclasses.replace(scores, confusion=confusion)), {})
    natural, synthetic = section(page, "Natural shifts"), section(page, "Synthetic shifts")
    assert " 2-3 |" in row_of(natural, "NoShift")
    assert "[6.00, 8.25]" in row_of(natural, "NoShift")
    folded = natural.split("Which differences from the headline")[1]
    assert "+2.00 [+1.00, +3.00]" in folded
    assert "< 0.001" in folded
    assert "ranks" not in synthetic.split("<details>")[0]
