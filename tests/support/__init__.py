"""What tests share: workspaces, runs and scores made up, and command lines."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
