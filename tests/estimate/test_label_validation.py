"""The page on few labels shows what the script makes of the committed tables, and no blind set is in them."""

import sys

import numpy as np
import pandas as pd
import pytest

from shiftcast.cli.labels import RESTS
from shiftcast.statistics.labelling import planned_half_width
from support import REPOSITORY

SCRIPTS = REPOSITORY / "docs" / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import label_validation

    yield label_validation
    sys.modules.pop("label_validation")


def test_the_page_shows_the_report(script):
    assert script.report(script.read("natural"), script.read("synthetic")) in script.PAGE.read_text()


def test_the_command_quotes_the_medians_of_the_table(script):
    frame = script.read("natural")
    own = frame[(frame["design"] == "strata") & frame["ensemble"]]
    planned, saved = (script.points(100 * own[key].median(), 0) for key in ("planned_saving", "saving"))
    assert f"with an ensemble, plans expected to save {planned} % of the labels, and {saved} % were" in RESTS


def test_natural_and_synthetic_sets_are_apart_and_none_is_withheld(script):
    natural, synthetic = (set(script.read(kind)["target"]) for kind in ("natural", "synthetic"))
    assert len(natural) == 7
    assert not natural & synthetic
    assert not (natural | synthetic) & {"blind-f", "blind-g", "blind-h"}


def test_widths_of_the_table_follow_from_its_counts(script):
    """The labels that uniform draws need are those whose planned interval is as wide as the drawn ones."""
    frame = script.read("natural")
    for row in frame.sample(20, random_state=0).itertuples():
        chances = np.full(row.images, row.actual)
        half = planned_half_width(chances, row.uniform_labels, stratified=False)
        assert half == pytest.approx(row.half_width, rel=0.02)


def test_a_chance_that_tells_all_saves_labels_and_one_that_tells_nothing_does_not(script):
    random = np.random.RandomState(0)
    right = (random.uniform(size=1000) < 0.7).astype(float)
    told = script.drawn(right, 0.02 + 0.96 * right, 100, True, random)
    blind = script.drawn(right, random.uniform(0.6, 0.8, size=1000), 100, True, random)
    frame = script.with_savings(pd.DataFrame([{**one, "labels": 100} for one in (told, blind)]))
    assert frame["saving"][0] > 0.5
    assert abs(frame["saving"][1]) < 0.1
    assert (frame["mean"] - 0.7).abs().max() < 0.05
