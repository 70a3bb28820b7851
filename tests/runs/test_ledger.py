"""Who vouches for which run, and that a file which has changed since is nobody's but its author's."""

import pytest

from shiftcast.errors import RunError
from shiftcast.runs.ledger import LEVELS, Ledger, read_ledger
from shiftcast.util.hashing import sha256


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "suite" / "net" / "recipe" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_levels_go_from_the_most_to_the_least_that_is_known():
    assert LEVELS == ("reproduced", "recomputed", "self-reported")


def test_a_run_has_the_level_that_the_ledger_states_until_it_changes(tmp_path, place):
    assert read_ledger(tmp_path).level(place) == "self-reported"
    path = read_ledger(tmp_path).with_runs([place], "reproduced").write()
    digest = sha256(b"{}")
    assert f'[reproduced]\n"suite/net/recipe/seed-0/run.json" = "{digest}"\n' in path.read_text()
    assert read_ledger(tmp_path).level(place) == "reproduced"
    assert not read_ledger(tmp_path).changed(place)
    (place / "run.json").write_text("{ }")
    assert read_ledger(tmp_path).level(place) == "self-reported"
    assert read_ledger(tmp_path).changed(place)
    (place / "run.json").unlink()
    assert read_ledger(tmp_path).level(place) == "self-reported"


def test_a_run_moves_between_levels_and_out_again(tmp_path, place):
    ledger = read_ledger(tmp_path).with_runs([place], "reproduced").with_runs([place], "recomputed")
    assert ledger.level(place) == "recomputed"
    assert "[reproduced]" not in ledger.text()
    assert ledger.with_runs([place], "self-reported").entries == {}


def test_equal_entries_are_equal_text(tmp_path):
    one = {f"s/{name}/r/seed-0/run.json": ("reproduced", "0" * 64) for name in "ab"}
    other = dict(reversed(one.items()))
    assert Ledger(tmp_path, one).text() == Ledger(tmp_path, other).text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[reproduced", "is not valid TOML"),
        ("a = " + "[" * 100_000, "is not valid TOML"),
        ('[trusted]\n"s/a/r/seed-0/run.json" = "x"', "expected paths and SHA-256"),
        ('[reproduced]\n"s/a/r/seed-0/run.json" = "x"', "should match pattern"),
        (f'[reproduced]\n"../a/r/seed-0/run.json/../../x" = "{"0" * 64}"', "should match pattern"),
        (
            "".join(f'[{level}]\n"s/a/r/seed-0/run.json" = "{"0" * 64}"\n' for level in LEVELS[:2]),
            "names 's/a/r/seed-0/run.json' twice",
        ),
    ],
)
def test_what_is_no_ledger_is_refused(tmp_path, text, message):
    (tmp_path / "ledger.toml").write_text(text)
    with pytest.raises(RunError, match=message):
        read_ledger(tmp_path)


def test_a_linked_ledger_is_refused(tmp_path):
    (tmp_path / "other").write_text("")
    (tmp_path / "ledger.toml").symlink_to(tmp_path / "other")
    with pytest.raises(RunError, match="is a symbolic link"):
        read_ledger(tmp_path)
