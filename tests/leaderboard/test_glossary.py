"""What estimators and columns are, in words of the code itself."""

from shiftcast.board.words import citation, what_it_is
from shiftcast.estimators import official_estimators, unranked_estimators
from shiftcast.leaderboard.legend_page import glossary, render_legend


def test_every_official_estimator_says_what_it_is_and_where_it_comes_from():
    page = render_legend()
    for name, estimator in (official_estimators() | unranked_estimators()).items():
        assert what_it_is(name).endswith("."), name
        assert citation(name) == estimator.citation != "", name
        assert f"\n| {name} |" in page


def test_estimators_of_others_are_named_without_a_word_and_inject_nothing():
    text = glossary(["NoShift", "<b>|x"])
    assert "Source accuracy a" in text
    assert "| Baseline" in text
    assert "<b>" not in text


def test_the_legend_explains_tracks_and_marks():
    page = render_legend()
    assert "T5: labels of other shifts" in page
    assert "after a blind set in the table was opened" in " ".join(page.split())
