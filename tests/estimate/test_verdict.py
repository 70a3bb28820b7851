"""Is accuracy at most a margin below validation: by the interval that the answer shows alone."""

import json

import numpy as np
import pytest

import shiftcast
from shiftcast.cli.estimate import FailOn, exit_code
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.lead import Answer, answer_html
from shiftcast.testing import make_predictions
from support.command_line import typed


def answer(low, high, margin, source=0.9):
    sets = {
        "source": {"name": "val", "images": 50, "accuracy": source},
        "target": {"name": "new", "images": 9},
    }
    return Answer((low + high) / 2, low, high, 0.8, "COTT", "", "", (), **sets, margin=margin)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.88, 0.95, 0.03, "supported"),
        (0.80, 0.86, 0.03, "not supported"),
        (0.80, 0.88, 0.03, "cannot tell"),
        (0.5, 0.8, 0.4, "cannot tell"),  # 0.9 - 0.4 is 0.5: an end on the bound decides nothing
        (0.3, 0.5, 0.4, "cannot tell"),
        (0.2, 0.3, 0.6, "cannot tell"),  # 0.9 - 0.6 is more than 0.3 in binary
        (0.89, 1.0, 0.0, "cannot tell"),
        (0.91, 1.0, 0.0, "supported"),
        (0.80, 0.86, None, None),
    ],
)
def test_a_verdict_is_where_the_interval_lies(low, high, margin, verdict):
    given = answer(low, high, margin)
    assert given.verdict == verdict
    assert given.to_dict().get("verdict") == verdict
    assert Answer.from_dict(given.to_dict(), {"source": given.source, "target": given.target}) == given


def test_the_verdict_is_the_first_line_of_text_and_page():
    given = answer(0.80, 0.86, 0.03)
    claim = "a drop of at most 3 pp from val"
    line = f"Not supported: {claim} (at least 87.00 % needed; likely 80.00 to 86.00, 80 %)."
    assert str(given).splitlines()[0] == line
    assert answer_html(given).startswith(f'<p class="answer"><strong>{line}')
    assert "supported" not in str(answer(0.80, 0.86, None)) + answer_html(answer(0.80, 0.86, None))


@pytest.mark.parametrize("margin", [-1, 101, float("nan"), 0.03])
def test_margins_that_are_none(margin):
    with pytest.raises(InvalidInputError, match="percentage points"):
        shiftcast.estimate(SOURCE, TARGET, margin=margin)


SOURCE, TARGET = make_predictions(300, seed=1), make_predictions(300, seed=2, shift=1.5)


def test_python_and_command_agree(tmp_path):
    files = [tmp_path / "val.npz", tmp_path / "new.npz"]
    np.savez(files[0], logits=SOURCE.logits, labels=SOURCE.labels)
    np.savez(files[1], logits=TARGET.logits)
    command = ["estimate", "--source", files[0], "--target", files[1], "--estimators", "AC", "--json"]
    given = shiftcast.estimate(*files, margin=5)
    done = typed(*command, "--margin", 5, "--html", tmp_path / "page.html")
    told = json.loads(done.stdout)["answer"]
    assert (told["verdict"], told["margin"]) == (given.verdict, 0.05)
    assert done.returncode == 0
    assert given.verdict_notes[0].split(":")[0] in (tmp_path / "page.html").read_text()
    assert "verdict" not in json.loads(typed(*command).stdout)["answer"]


@pytest.mark.parametrize(
    ("verdict", "codes"), [("supported", (0, 0, 0)), ("not supported", (0, 1, 1)), ("cannot tell", (0, 0, 3))]
)
def test_exit_codes(verdict, codes):
    assert tuple(exit_code(verdict, given) for given in (None, *FailOn)) == codes


def test_a_verdict_that_fails_is_printed_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("val.npz", logits=SOURCE.logits, labels=SOURCE.labels)
    np.savez("new.npz", logits=TARGET.logits)
    command = ["estimate", "--source", "val.npz", "--target", "new.npz", "--estimators", "AC"]
    done = typed(*command, "--margin", 0, "--fail-on", "not-supported", "--out", "answer.json")
    assert done.stdout.startswith("Not supported: a drop of at most 0 pp from val.npz")
    assert done.returncode == 1
    assert json.loads((tmp_path / "answer.json").read_text())["answer"]["verdict"] == "not supported"


def test_a_failing_verdict_needs_a_margin(tmp_path):
    done = typed("estimate", "--source", "a.npz", "--target", "b.npz", "--fail-on", "cannot-tell")
    assert done.returncode == 2
    assert "--fail-on needs --margin" in done.stderr
