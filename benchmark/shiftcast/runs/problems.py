"""What is wrong with a stored run, one thing at a time: where, what was expected, what came, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftcast.errors import NewerSchemaError, RunError
from shiftcast.util.text import printable

LONGEST = 400
"""Characters of anything that a submission made us say."""
MOST_TOLD = 5
"""Problems that an error lists."""
UPDATE = "update shiftcast"
"""What to do about files of a newer version."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    file
        Where: a path, with the key or array in it.
    expected, found
        What should be there, and what is.
    remedy
        What to do about it.
    """

    file: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        """Return four lines of printable characters."""
        said = {"expected": self.expected, "found": self.found, "to do": self.remedy}
        lines = [f"  {name + ':':<10}{_line(text)}" for name, text in said.items()]
        return "\n".join([_line(self.file), *lines])

    @property
    def sentence(self) -> str:
        """The same in one line."""
        file, expected, found, remedy = map(_line, (self.file, self.expected, self.found, self.remedy))
        return f"{file}: expected {expected}, found {found}; {remedy}"


def _line(text: str) -> str:
    return printable(text.replace("\n", "\\n"), LONGEST)


def refusal(problems: Sequence[Problem]) -> RunError:
    """Return the error that says what is wrong with a run."""
    lines = [problem.sentence for problem in problems[:MOST_TOLD]]
    if len(problems) > MOST_TOLD:
        lines.append(f"and {len(problems) - MOST_TOLD} more problems: see shiftcast validate")
    newer = any(problem.remedy == UPDATE for problem in problems)
    return (NewerSchemaError if newer else RunError)("\n".join(lines))
