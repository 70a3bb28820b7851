"""What is wrong with a submission, one thing at a time: where, what was expected, what came, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from shiftcast.util.text import printable

LONGEST = 400
"""Characters of anything that a submission made us say."""


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


def _line(text: str) -> str:
    return printable(text.replace("\n", "\\n"), LONGEST)
