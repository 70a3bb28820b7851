"""What estimators and tracks are, in words of the code itself."""

from shiftcast.board.build import build_board
from shiftcast.board.words import citation, what_it_is
from shiftcast.estimators import official_estimators
from shiftcast.leaderboard.estimator_section import glossary


def test_every_official_estimator_says_what_it_is_and_where_it_comes_from():
    for name, estimator in official_estimators().items():
        assert what_it_is(name).endswith("."), name
        assert citation(name) == estimator.citation != "", name


def test_estimators_of_others_are_named_without_a_word_and_inject_nothing():
    text = glossary(["NoShift", "<b>|x"])
    assert "Source accuracy a" in text
    assert "| Baseline" in text
    assert "<b>" not in text
    assert "T5 labels of other shifts." in text


def test_the_page_says_what_the_headline_is(scores):
    from shiftcast.leaderboard.suite_section import render_section

    page = render_section(build_board(scores), {})
    assert "What each estimator and track is" in page
    assert page.index("What each estimator and track is") < page.index("#### Natural shifts")
