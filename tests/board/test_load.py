"""All stored results as tables, in one line."""

import subprocess
import sys

import pytest

import shiftcast
from shiftcast.board.load import joined, tables_of
from shiftcast.errors import InvalidInputError, UnknownNameError

pytestmark = pytest.mark.usefixtures("few_estimators")


def test_one_line_gives_every_table(workspace, make_results):
    make_results()
    results = shiftcast.load_results(workspace=workspace.root)
    rows = results.estimates
    assert rows.columns[:2].tolist() == ["suite", "edition"]
    assert not rows.columns.duplicated().any()
    assert set(rows["suite"]) == {"tiny"}
    official = rows[rows["protocol"] == "official"]
    assert len(official.groupby(["architecture", "seed"])) == 6
    gap = rows["predicted"].astype(float) - rows["actual"].astype(float)
    assert rows["error"].equals(gap.rename("error"))
    assert set(results.runs["status"]) == {"ok"}
    assert len(results.runs) == 10
    assert results.seeds.empty


def test_folder_and_suite_choose(workspace, make_results, tmp_path):
    folder = make_results()
    one = shiftcast.load_results(folder, suite="tiny", workspace=workspace.root)
    assert len(one.accuracies)
    with pytest.raises(InvalidInputError, match="holds no results"):
        shiftcast.load_results(tmp_path, workspace=workspace.root)
    with pytest.raises(UnknownNameError, match="'tin'; did you mean tiny"):
        shiftcast.load_results(suite="tin", workspace=workspace.root)


def test_several_suites_are_named_in_a_list(workspace, make_results):
    make_results()
    one = shiftcast.load_results(suite="tiny", workspace=workspace.root)
    for names in (["tiny"], ("tiny", "tiny")):
        whole = shiftcast.load_results(suite=names, workspace=workspace.root)
        assert len(whole.estimates) == len(one.estimates)
    with pytest.raises(UnknownNameError, match="'tin'"):
        shiftcast.load_results(suite=["tiny", "tin"], workspace=workspace.root)


@pytest.mark.parametrize("suite", [[], 7, [None], {"tiny": 1}, b"tiny"])
def test_what_is_no_name_is_refused(workspace, suite):
    with pytest.raises(InvalidInputError, match="expected the name of a suite, a list of names"):
        shiftcast.load_results(suite=suite, workspace=workspace.root)


def test_a_suite_where_the_folder_goes_is_named(workspace):
    with pytest.raises(InvalidInputError, match=r"'tiny' is a suite, not a folder; write .*\(suite='tiny'\)"):
        shiftcast.load_results("tiny", workspace=workspace.root)


def test_printed_results_name_their_tables(workspace, make_results):
    make_results()
    results = shiftcast.load_results(suite="tiny", workspace=workspace.root)
    shown = repr(results)
    assert shown.startswith(f"Results(estimates={len(results.estimates):,} rows, runs=10 rows, ")
    assert "seeds=0 rows" in shown
    assert "\n" not in shown


def test_suites_stand_one_below_the_other(workspace, make_results):
    from shiftcast.board.assemble import score_suite

    folder = make_results()
    scores = score_suite(workspace, workspace.suite("tiny"), folder)
    whole = joined([tables_of(scores), tables_of(scores)])
    assert len(whole.estimates) == 2 * len(scores.table)
    assert whole.seeds.columns[:2].tolist() == ["suite", "edition"]


def test_importing_the_package_reads_no_pandas():
    code = "import sys, shiftcast; assert 'pandas' not in sys.modules; print(shiftcast.load_results.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "load_results\n"
