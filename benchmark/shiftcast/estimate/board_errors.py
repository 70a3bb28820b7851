"""What estimators got wrong on the benchmark, for intervals around answers about other people's models.

`results/residuals.json` is made with the leaderboard from committed results and checked with it; the
installed package carries a copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import conformal_interval, conformal_reach, supported_level
from shiftcast.workspace import EMBEDDED, PACKAGE

FILE = Path("results/residuals.json")
SCHEMA = 2


@dataclass(frozen=True)
class BoardErrors:
    """The errors of one estimator on the benchmark's natural shifts.

    Parameters
    ----------
    residuals
        Probit residuals, actual minus predicted, by shift.
    coverage
        How often its sampling intervals held the actual accuracy there, in [0, 1]; None without any.
    nominal
        The level that those promise.
    mae
        Mean absolute error of the predicted accuracy there, a share in [0, 1]; None where unknown.
    learned_on
        The suite that the errors are from, in words.
    architectures
        On how many architectures.
    """

    residuals: dict[str, list[float]]
    coverage: float | None
    nominal: float | None
    mae: float | None
    learned_on: str
    architectures: int

    @property
    def level(self) -> float | None:
        """Return the level that an interval from these shifts supports; None below four."""
        return supported_level(len(self.residuals))

    def interval(self, accuracy: float, n: int) -> tuple[float, float, bool] | None:
        """Return the conformal interval around a predicted accuracy on n images, and whether extended.

        None where the shifts support no level.
        """
        if self.level is None:
            return None
        return conformal_interval(accuracy, n, conformal_reach(list(self.residuals.values()), self.level))


def board_errors(path: Path | None = None) -> dict[str, BoardErrors]:
    """Return the errors on natural shifts of every estimator of the board, by name.

    Of several suites the one with the most natural shifts is read, then the one with the most
    architectures (a hundred trainings of one network say less about another), then with the most rows.

    Parameters
    ----------
    path
        The file; that of this checkout or installation when omitted. Without one there are none.

    Raises
    ------
    InvalidInputError
        If the file is not what the leaderboard makes.
    """
    found = path or _here()
    if found is None:
        return {}
    try:
        content = json.loads(found.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise InvalidInputError(f"{found}: schema is {content['schema']!r}, this version reads {SCHEMA}")
        suites = [suite for suite in content["suites"].values() if suite["natural"]]
        return _estimators(max(suites, key=_size)) if suites else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"{found}: cannot be read ({error!r}); make it again with: shiftcast leaderboard"
        ) from error


def residuals_text(suites: Mapping[str, Any]) -> str:
    """Return `results/residuals.json` from what is known of each suite, by name."""
    text = json.dumps({"schema": SCHEMA, "suites": suites}, indent=1, sort_keys=True, allow_nan=False)
    return _shorter(text) + "\n"


def _here() -> Path | None:
    places = [PACKAGE.parents[1] / FILE, EMBEDDED / FILE]
    return next((place for place in places if place.is_file()), None)


def _size(suite: dict[str, Any]) -> tuple[int, int, int]:
    shifts = {shift for own in suite["natural"].values() for shift in own["residuals"]}
    rows = sum(len(values) for own in suite["natural"].values() for values in own["residuals"].values())
    return len(shifts), suite["architectures"], rows


def _estimators(suite: dict[str, Any]) -> dict[str, BoardErrors]:
    return {
        name: BoardErrors(
            residuals={shift: [float(v) for v in values] for shift, values in own["residuals"].items()},
            coverage=own["coverage"],
            nominal=own["nominal"],
            mae=own["mae"],
            learned_on=suite["learned_on"],
            architectures=suite["architectures"],
        )
        for name, own in suite["natural"].items()
    }


def _shorter(text: str) -> str:
    """Put every list of numbers on one line."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        if inside:
            lines[-1] += line.strip() if line.strip() in ("]", "],") else line.strip() + " "
            inside = line.strip() not in ("]", "],")
        else:
            lines.append(line)
            inside = line.endswith("[")
    return "\n".join(line.replace(", ]", "]").replace(" ]", "]") for line in lines)
