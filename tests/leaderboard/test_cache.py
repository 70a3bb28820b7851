"""Parts of the leaderboard that are kept until anything they are made from changes."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest

from shiftcast.board import assemble as scoring
from shiftcast.cli.leaderboard import check_leaderboard, write_leaderboard
from shiftcast.errors import CheckFailedError
from shiftcast.leaderboard import cache
from shiftcast.runs.ledger import read_ledger
from shiftcast.workspace import Workspace, cache_folder
from support.quick_boards import use_few_estimators
from support.tiny import copy_runs
from support.workspaces import make_workspace

pytestmark = pytest.mark.usefixtures("few_estimators")


class ScoredAgainError(Exception):
    """A suite is scored although a test only asks whether it is."""


@pytest.fixture
def scored(monkeypatch):
    """Names of the suites that are scored, as they are."""
    names = []
    really = scoring.score_suite

    def score(workspace, suite, *rest, **keywords):
        names.append(suite.name)
        return really(workspace, suite, *rest, **keywords)

    monkeypatch.setattr(scoring, "score_suite", score)
    return names


@pytest.fixture
def ask_only(monkeypatch):
    """Have an exception tell that a suite is scored: to score it takes seconds."""

    def score(*_, **__):
        raise ScoredAgainError

    monkeypatch.setattr(scoring, "score_suite", score)


@pytest.fixture
def finished(workspace, make_results):
    """A workspace with all runs of suite `tiny`."""
    make_results()
    return workspace


@pytest.fixture(scope="module")
def template(tiny_template, tmp_path_factory):
    """A workspace whose leaderboard has been written, and its cache; tests get copies."""
    folder = tmp_path_factory.mktemp("written")
    home = make_workspace(folder / "workspace")
    copy_runs(tiny_template, home.results(), ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIFTCAST_CACHE", str(folder / "cache"))
        use_few_estimators(patch)
        write_leaderboard(home, home.results(), home.home)
    return SimpleNamespace(home=home, kept=next((folder / "cache" / "board").glob("*.json")))


@pytest.fixture
def written(template, tmp_path):
    """A workspace whose leaderboard has just been written."""
    shutil.copytree(template.home.root, tmp_path / "written")
    copied = Workspace(tmp_path / "written", tmp_path / "written")
    place = cache._place(copied, copied.results(), copied.home, copied.suite("tiny"), "")
    place.parent.mkdir(parents=True)
    shutil.copy(template.kept, place)
    return copied


@pytest.fixture
def scored_pages(template, monkeypatch):
    """Take what scoring gives from the template."""
    key = template.kept.read_text().split()[0]
    pages = cache._read(template.kept, key)
    assert pages is not None
    monkeypatch.setattr(cache, "_scored_pages", lambda *_: pages)


def again(workspace):
    fresh = Workspace(workspace.root, workspace.home)
    write_leaderboard(fresh, fresh.results(), fresh.home)


def kept():
    (place,) = (cache_folder() / "board").glob("*.json")
    return place


def test_what_has_not_changed_is_not_scored_again(written, scored, capsys):
    files = {path: path.stat() for path in written.home.rglob("*") if path.is_file()}
    capsys.readouterr()
    again(written)
    assert scored == []
    same = {path: path.stat() for path in written.home.rglob("*") if path.is_file()}
    assert {path: found.st_mtime_ns for path, found in same.items()} == {
        path: found.st_mtime_ns for path, found in files.items()
    }
    assert "wrote" not in capsys.readouterr().out


def test_a_file_that_was_changed_is_written_again_without_scoring(written, scored):
    page = written.home / "leaderboard.md"
    before = page.read_text()
    page.write_text(before.replace("MAE", "mae"))
    picture = next(written.results().glob("*/figures/*.svg"))
    drawn = picture.read_text()
    picture.unlink()
    again(written)
    assert scored == []
    assert (page.read_text(), picture.read_text()) == (before, drawn)


@pytest.mark.parametrize("what", ["run", "card", "suite", "code", "package"])
def test_whatever_it_is_made_from_counts(written, ask_only, what, monkeypatch):
    if what == "run":
        record = next(written.results().glob("tiny/*/*/seed-*/run.json"))
        record.write_text(record.read_text() + "\n")
    elif what == "card":
        card = next((written.root / "architectures").glob("*.toml"))
        card.write_text(card.read_text() + "# a word\n")
    elif what == "suite":
        card = written.root / "benchmark/suites/tiny.toml"
        card.write_text(card.read_text().replace('title = "Tiny"', 'title = "Small"'))
    elif what == "code":
        monkeypatch.setattr(cache, "source_hash", lambda: "another")
    else:
        monkeypatch.setattr(cache.platform, "python_version", lambda: "3.99.0")
    with pytest.raises(ScoredAgainError):
        again(written)


def test_what_is_damaged_in_the_cache_is_not_taken(written, ask_only):
    whole = kept().read_text()
    for damaged in (whole[:-9], whole.replace("Tiny", "Evil"), "\x00"):
        kept().write_text(damaged)
        with pytest.raises(ScoredAgainError):
            again(written)


def test_what_is_damaged_in_the_cache_is_made_again(written, scored):
    whole = kept().read_text()
    expected = (written.home / "leaderboard.md").read_text()
    kept().write_text(whole.replace("Tiny", "Evil"))
    again(written)
    assert scored == ["tiny"]
    assert (written.home / "leaderboard.md").read_text() == expected
    assert kept().read_text() == whole


def test_checking_reads_no_cache(written, scored):
    head, _, body = kept().read_text().partition("\n")
    found = json.loads(body)
    found["front"]["state"] = "nonsense"
    kept().write_text(f"{head}\n{json.dumps(found)}")
    page = written.home / "leaderboard.md"
    page.write_text(page.read_text() + "more\n")
    with pytest.raises(CheckFailedError, match=r"\+\+\+ leaderboard.md \(expected\)") as refused:
        check_leaderboard(written, written.results(), written.home)
    assert scored == ["tiny"]
    changed = [line for line in str(refused.value).splitlines() if re.match(r"[+-](?![+-])", line)]
    assert changed == ["-more"]


def test_a_cache_that_cannot_be_written_does_no_harm(finished, scored_pages, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_atomic", full)
    write_leaderboard(finished, finished.results(), finished.home)
    assert (finished.home / "leaderboard.md").exists()
    assert not (cache_folder() / "board").exists()


def test_who_vouches_for_runs_counts(finished):
    suite, results = finished.suite("tiny"), finished.results()
    before = cache.content_key(finished, results, suite, "")
    place = next((results / "tiny").glob("*/*/seed-*"))
    read_ledger(results).with_runs([place], "reproduced").write()
    assert cache.content_key(finished, results, suite, "") != before


def test_boards_and_checks_say_what_takes_them_long(workspace, make_results, scored_pages, capsys):
    from shiftcast.submission import validate

    results, said = make_results(), []
    write_leaderboard(workspace, results, results.parent / "board")
    assert "Scoring tiny (suite 1 of 1) …" in capsys.readouterr().err
    write_leaderboard(workspace, results, results.parent / "board")
    assert capsys.readouterr().err == ""  # from the cache, in no time
    validate(workspace, results, results.parent / "no-data", say=said.append)
    assert said[0].startswith("Checking ")
    assert said[0].endswith(" runs of tiny …")
