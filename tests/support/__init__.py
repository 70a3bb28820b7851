"""What tests share: workspaces, runs and scores made up, and command lines."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
SLOW = (
    *("engines", "faults", "performance", "training"),
    *("analysis/test_human.py", "board/test_build.py", "board/test_candidate.py", "board/test_changes.py"),
    *(
        "blind/test_blind.py",
        "cli/test_cli.py",
        "cli/test_diff.py",
        "cli/test_import.py",
        "cli/test_submit.py",
    ),
    *("data/test_real_data.py", "estimators/test_conformance.py", "estimators/test_properties.py"),
    *("leaderboard/test_cache.py", "leaderboard/test_confusion.py", "leaderboard/test_figures.py"),
    *("leaderboard/test_generate.py", "leaderboard/test_reported.py", "repository/test_wheel.py"),
    *("scoring/test_controls.py", "scoring/test_scoring.py", "site/test_browser.py", "site/test_site.py"),
)
"""Folders and files that `make test-fast` leaves out: each takes eight seconds of a processor or more."""
