"""A picture of the leaderboard before it is drawn, and the hash by which its drawing is known.

A picture carries the SHA-256 of what it plots: two pictures of the same data compare equal even
where another machine's fonts move a label, and comparing takes no drawing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shiftcast.util.hashing import hash_of

Data = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture that is not drawn yet.

    Parameters
    ----------
    name
        Which drawing it is; also the name of its file.
    data
        What it plots.
    """

    name: str
    data: Data

    @property
    def hash(self) -> str:
        """SHA-256 of the data."""
        return hash_of(self.data)


def figure_hash(svg: str) -> str:
    """Return the SHA-256 of the data that an SVG says it was drawn from; empty if it says nothing."""
    found = re.search(r"<!-- data-sha256: ([0-9a-f]{64}) -->", svg)
    return found.group(1) if found else ""
