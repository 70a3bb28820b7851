"""The committed widths and the printed validation are what the script makes of the committed table."""

import json
import math
import sys
from dataclasses import asdict

import pandas as pd
import pytest

from shiftcast.estimate.choice import WIDTHS
from shiftcast.estimate.signals import signals_of
from support import REPOSITORY

SCRIPTS = REPOSITORY / "docs" / "scripts"
CHEAP = ("gaussian 2 label 50 50", "iris none bayes", "wine noise logistic", "separable 2 hidden 60")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import answer_validation

    yield answer_validation
    for name in ("answer_validation", "answer_tasks"):
        sys.modules.pop(name)


def test_the_page_shows_the_report_of_the_other_half(script):
    text = script.report(pd.read_csv(script.TABLE), json.loads(WIDTHS.read_text()))
    assert text in script.PAGE.read_text()


def test_no_family_is_in_both_halves(script):
    frame = pd.read_csv(script.TABLE)
    assert (frame.groupby("family")["half"].nunique() == 1).all()
    assert frame["half"].value_counts().min() >= 200
    assert not frame["name"].str.contains("blind").any()


def test_tasks_are_read_as_the_table_has_them(script):
    frame = pd.read_csv(script.TABLE).set_index("name")
    tasks = [task for task in script.all_tasks() if task.name.startswith(CHEAP)]
    assert len(tasks) == len(CHEAP)
    for task in tasks:
        source, target = task.make()
        row = frame.loc[task.name]
        assert row["half"] == script.halves(script.all_tasks())[task.family]
        assert row["actual"] == pytest.approx(target.accuracy, rel=1e-5)
        for key, value in asdict(signals_of(source, target)).items():
            known = math.nan if value is None else value
            assert row[key] == pytest.approx(known, rel=1e-3, abs=1e-4, nan_ok=True), (task.name, key)


@pytest.mark.slow
def test_widths_are_learned_from_the_chosen_half(script):
    found, known = script.fit(pd.read_csv(script.TABLE)), json.loads(WIDTHS.read_text())
    for side in ("low", "high", "bound"):
        assert found[side] == pytest.approx(known[side], abs=0.02)
    assert found["factor"] == known["factor"]
    assert found["learned_on"] == known["learned_on"]
