"""The section on self-reported models, and that nothing else on the page knows of them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shiftcast.board.assemble import score_suite
from shiftcast.board.build import build_board
from shiftcast.board.tables import REPORTED_COLUMNS
from shiftcast.errors import RunError
from shiftcast.leaderboard.generate import generate
from shiftcast.leaderboard.self_reported import self_reported
from shiftcast.leaderboard.suite_page import render_suite
from shiftcast.runs.folder import RunFolder
from shiftcast.statistics import wilson
from shiftcast.submission.create import import_run, make_claim

TEST = "test-set"
BOARD = "results/tiny/board.md"
RIGHT = {TEST: 3_600, "photos": 1_500, "sketches": 1_000}
SYNTHETIC = {"fog-1": 900, "fog-5": 700, "noise-1": 800, "noise-5": 500}


def rows_of(name="theirs", seed=0, leave=(), stale="", note="by hand", parameters=12_000, guess=0.7):
    own = {"architecture": name, "seed": seed, "family": "mixer", "parameters": parameters, "note": note}
    own |= {"outputs": "logits", "trust": "self-reported"}
    sets = RIGHT | {f"corrupted/{key}": right for key, right in SYNTHETIC.items()} | {"unseen": pd.NA}
    return [
        {
            **own,
            "stale": stale,
            "set": key,
            "right": right,
            "n": (n := 4_000 if key == TEST else 1_000 if "/" in key else 2_000),
            "effective": float(n),
            "predicted": float("nan") if key == TEST else guess,
        }
        for key, right in sets.items()
        if key not in leave
    ]


def with_rows(scores, *runs):
    frame = pd.DataFrame([row for run in runs for row in run], columns=list(REPORTED_COLUMNS))
    return dataclasses.replace(scores, reported=frame.astype({"parameters": "Int64", "right": "Int64"}))


def table_of(scores):
    lines = [line for line in self_reported(build_board(scores))[2].splitlines() if not line.startswith("|:")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]] if cells else []


def squeezed(row):
    return {key.strip(" |"): value.strip(" |") for key, value in row.items()}


def test_there_is_no_section_without_such_runs(scores):
    assert self_reported(build_board(scores)) == []
    assert "elf-reported" not in render_suite(build_board(scores), {})


def test_a_row_says_what_the_logits_do(scores):
    (row,) = map(squeezed, table_of(with_rows(scores, rows_of())))
    low, high = wilson(3_600, 4_000)
    assert row == {
        "model": "theirs",
        "family": "mixer",
        "parameters": "12,000",
        "note": "by hand",
        "ID accuracy %": f"90.00 [{100 * low:.2f}, {100 * high:.2f}]",
        "photos %": "75.00",
        "sketches %": "50.00",
        "synthetic mean %": "72.50",  # fog 80 and noise 65
        "predicted % (error)": "70.00 (+7.50)",  # of the natural shifts, 62.5 on average
    }
    sentence = self_reported(build_board(with_rows(scores, rows_of())))[1]
    assert sentence.startswith("1 run trained elsewhere.")
    assert sentence.endswith("Predicted by ConfusionPartition: the mean over photos, sketches.")


def test_images_in_clusters_widen_the_interval(scores):
    rows = [row | {"effective": row["n"] / 10} for row in rows_of()]
    (row,) = map(squeezed, table_of(with_rows(scores, rows)))
    low, high = wilson(360, 400)
    assert row["ID accuracy %"] == f"90.00 [{100 * low:.2f}, {100 * high:.2f}]"


def test_nothing_is_averaged_over_missing_sets(scores):
    partial = rows_of("partial", leave=("sketches", "corrupted/fog-5", "unseen"))
    one, other = map(squeezed, table_of(with_rows(scores, rows_of(), partial)))
    assert (one["model"], other["model"]) == ("partial", "theirs")
    assert (one["photos %"], one["sketches %"]) == ("75.00", "–")
    assert (one["synthetic mean %"], one["predicted % (error)"]) == ("–", "–")
    assert other["synthetic mean %"] == "72.50"
    alone = with_rows(scores, partial)
    (only,) = map(squeezed, table_of(alone))
    assert only["synthetic mean %"] == "–"  # other runs were run on more
    assert not {"sketches %", "predicted % (error)"} & set(only)


def test_runs_come_by_name_and_seed_and_never_ranked(scores):
    found = with_rows(scores, rows_of("b", 10), rows_of("b", 9), rows_of("a", 4, note="", parameters=None))
    rows = [squeezed(row) for row in table_of(found)]
    assert [row["model"] for row in rows] == ["a", "b (seed 9)", "b (seed 10)"]
    assert (rows[0]["note"], rows[0]["parameters"]) == ("–", "–")
    shuffled = dataclasses.replace(found, reported=found.reported.sample(frac=1, random_state=3))
    assert self_reported(build_board(shuffled)) == self_reported(build_board(found))


def test_stale_runs_are_named_and_not_shown(scores):
    both = with_rows(scores, rows_of(), rows_of("old", stale="its suite has another version now"))
    blocks = self_reported(build_board(both))
    assert [squeezed(row)["model"] for row in table_of(both)] == ["theirs"]
    assert blocks[-1] == ("Not shown:\n\n- old (seed 0): its suite has another version now; submit it again")
    alone = self_reported(
        build_board(with_rows(scores, rows_of("old", stale="its suite has another version now")))
    )
    assert len(alone) == 2


def test_what_people_write_is_shown_as_they_wrote_it(scores):
    note = "| <b>*best*</b> [x](http://x.y) `a` #1"
    text = self_reported(build_board(with_rows(scores, rows_of(note=note))))[2]
    assert r"\| &lt;b&gt;\*best\*&lt;/b&gt; \[x\](http&#58;//x.y) \`a\` \#1" in text


@pytest.fixture
def board(workspace, make_results, few_estimators):
    """The files of the board as results are now, and what is reported."""
    results = make_results()

    def made():
        scores = score_suite(workspace, workspace.suite("tiny"), results)
        files = generate([scores], results, workspace.root)
        return {str(path): getattr(file, "hash", file) for path, file in files.items()}, scores

    return made, results


def nearly(logits):
    """Return logits that are another model's, with the same predicted classes and ranks of the first ones."""
    other = logits.copy()
    other[0, logits[0].argmin()] -= 1
    return other


def test_a_copy_is_named_and_not_shown(workspace, board, tmp_path):
    made, results = board
    _, sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read()
    np.savez(tmp_path / "logits.npz", **{name: one.logits for name, one in sets.items()})
    for name, keep in (("copy", None), ("part", "digits-test")):
        if keep:
            np.savez(tmp_path / "logits.npz", **{keep: sets[keep].logits})
        claim = make_claim(workspace, name, 0, None, None, "")
        import_run(workspace, workspace.suite("tiny"), tmp_path / "logits.npz", claim, results)
    files, _ = made()
    page = files[BOARD]
    section = page[page.index("## Self-reported models") : page.index("## Confusion")]
    assert "- copy (seed 0): its outputs are those of test_vit/tiny/seed-0" in section
    assert "- part (seed 0): its outputs are those of test_vit/tiny/seed-0" in section
    assert "|" not in section


def test_what_is_known_of_outputs_and_trust_is_said(scores):
    rows = [row | {"outputs": "classes", "trust": "recomputed"} for row in rows_of("hard")]
    found = with_rows(scores, rows, rows_of("soft"))
    names = [squeezed(row)["model"] for row in table_of(found)]
    assert names == ["hard‡", "soft"]
    sentence = self_reported(build_board(found))[1]
    assert "Of 1 run only the predicted classes are known, marked ‡." in sentence
    assert "Maintainers vouch for hard (seed 0) recomputed." in sentence


def test_the_board_gains_a_section_and_changes_nowhere_else(workspace, board, tmp_path):
    made, results = board
    before, scores = made()
    _, sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read()
    np.savez(tmp_path / "logits.npz", **{name: nearly(one.logits) for name, one in sets.items()})
    claim = make_claim(workspace, "theirs", 0, workspace.architecture("test_vit").family, None, "the same")
    import_run(workspace, workspace.suite("tiny"), tmp_path / "logits.npz", claim, results)
    after, with_theirs = made()
    page, changed = before.pop(BOARD), after.pop(BOARD)
    start = changed.index("## Self-reported models")
    end = changed.index("\n## ", start) + 1
    assert changed[:start] + changed[end:] == page
    assert after == before
    assert "| theirs" in changed[start:end]
    frame = with_theirs.reported.set_index("set")
    twin = scores.accuracies.query("architecture == 'test_vit' and seed == 0").set_index("set")
    assert frame["right"].to_dict() == twin["right"].to_dict()
    assert frame["effective"].to_dict() == twin["effective"].to_dict()
    rows = scores.table.query("architecture == 'test_vit' and seed == 0 and protocol == 'official'")
    rows = rows[rows["estimator"] == "ConfusionPartition"].set_index("target")["predicted"]
    assert frame["predicted"].dropna().to_dict() == rows.to_dict()  # no peers in it: the same prediction


def test_accuracies_are_those_of_the_logits_and_a_record_that_boasts_is_refused(workspace, board, tmp_path):
    made, results = board
    _, sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read()
    np.savez(tmp_path / "logits.npz", **{name: one.logits for name, one in sets.items()})
    claim = make_claim(workspace, "theirs", 0, None, None, "")
    found = import_run(workspace, workspace.suite("tiny"), tmp_path / "logits.npz", claim, results)
    _, scores = made()
    right = scores.reported.set_index("set")["right"].to_dict()
    assert right == {name: (one.true_rank == 0).sum() for name, one in sets.items()}
    boasting = {name: one.model_copy(update={"accuracy": 1.0}) for name, one in found.record.targets.items()}
    found.place.write_record(found.record.model_copy(update={"targets": boasting}))
    with pytest.raises(RunError, match=r"as recomputed from the outputs, found 1\.000000"):
        made()
