"""The one answer that leads `shiftcast estimate`, the same in the terminal, on the page and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from shiftcast.errors import InvalidInputError
from shiftcast.util.text import count

CANNOT_SEE = (
    "Not seen: errors as confident as right answers were, by a shortcut that fails, a new class, or labels "
    "that follow another rule."
)
WIDE = 0.05
"""Width of an interval from which on decimals say nothing."""
SUPPORTED, NOT_SUPPORTED, CANNOT_TELL = "supported", "not supported", "cannot tell"
LEAST_MARGIN = 0.1
"""Margins between 0 and this many pp are refused: they look like shares."""


@dataclass(frozen=True)
class Answer:
    """The likely accuracy on a target, and how far to trust it.

    Parameters
    ----------
    accuracy
        In [0, 1]; None where the source has no error to learn from, and `low` alone is known.
    low, high
        Ends of the interval for the accuracy on exactly the target's images, in [0, 1].
    level
        Its nominal level, e.g. 0.8: sampling and model error together.
    estimator
        What answers, by its name on the board.
    reason
        Why it was chosen, a sentence.
    direction
        In which direction such answers err most, a sentence.
    warnings
        What is to be looked at before the answer is believed.
    source, target
        `name` and `images` of both, `accuracy` of the source.
    cannot_see
        What no such answer can know, a sentence.
    margin
        How far below the source's accuracy is still accepted, a share; None where nobody asked.
    """

    accuracy: float | None
    low: float
    high: float
    level: float
    estimator: str
    reason: str
    direction: str
    warnings: tuple[str, ...]
    source: Mapping[str, Any]
    target: Mapping[str, Any]
    cannot_see: str = CANNOT_SEE
    margin: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], whole: Mapping[str, Any]) -> Answer:
        """Return the answer from JSON's object `answer` and the whole that it stands in."""
        known = {key: value for key, value in values.items() if key != "verdict"}
        return cls(
            **{**known, "warnings": tuple(values["warnings"])},
            source=whole["source"],
            target=whole["target"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON's object `answer`; shares are in [0, 1]. Without a margin there is no verdict."""
        values = asdict(self)
        del values["source"], values["target"]
        if self.margin is None:
            del values["margin"]
        else:
            values["verdict"] = self.verdict
        return {**values, "warnings": list(self.warnings)}

    @property
    def verdict(self) -> str | None:
        """Whether accuracy is at most the margin below the source's: by where the interval lies.

        "supported" where its lower end is above that, "not supported" where its upper end is below, else
        "cannot tell"; None without a margin.
        """
        if self.margin is None:
            return None
        least = round(self.source["accuracy"] - self.margin, 9)  # 0.8 - 0.1 is not 0.7 in binary
        return SUPPORTED if self.low > least else NOT_SUPPORTED if self.high < least else CANNOT_TELL

    @property
    def verdict_notes(self) -> list[str]:
        """The verdict as a sentence, with what it follows from; nothing without a margin."""
        if self.margin is None:
            return []
        least = 100 * (self.source["accuracy"] - self.margin)
        claim = f"a drop of at most {100 * self.margin:g} pp from {self.source['name']}"
        interval = f"likely {100 * self.low:.2f} to {100 * self.high:.2f}, {100 * self.level:g} %"
        return [f"{_upper(str(self.verdict))}: {claim} (at least {least:.2f} % needed; {interval})."]

    @property
    def headline(self) -> str:
        """About how much, likely from where to where, and what it was: the first line."""
        known, unknown = self.source["name"], self.target["name"]
        was = f"it was {_digits(self.source['accuracy'], 1)} % on {known}"
        if self.accuracy is None:
            low = _digits(self.low, 1)
            return f"at least {low} % on {unknown} ({100 * self.level:g} %), no estimate; {was}"
        places = 0 if self.high - self.low >= WIDE else 1
        about, low, high = (_digits(share, places) for share in (self.accuracy, self.low, self.high))
        return f"about {about} % on {unknown}, likely {low} to {high} ({100 * self.level:g} %); {was}"

    @property
    def notes(self) -> list[str]:
        """What stands below the first line: which estimator and why, its direction, what it cannot see."""
        return [f"From {self.estimator}. {self.reason}", self.direction, self.cannot_see]

    def __str__(self) -> str:
        """Return the first line, what stands below it, and the warnings."""
        warnings = [f"warning: {text}" for text in self.warnings]
        return "\n".join([*self.verdict_notes, _upper(self.headline) + ".", *self.notes, *warnings])

    def _repr_html_(self) -> str:
        """Return the answer as notebooks show it: a gauge from 0 to 100 %, the words, the warnings."""
        return f'<div class="shiftcast-answer">{answer_html(self)}</div>'


def margin_of(points: float) -> float:
    """Return a margin in percentage points as a share.

    Raises
    ------
    InvalidInputError
        If it is not in [0, 100], or so small that it looks like a share.
    """
    if not isinstance(points, float | int | np.number) or not 0 <= points <= 100:
        raise InvalidInputError(f"margin: expected percentage points from 0 to 100, got {points!r}")
    if 0 < points < LEAST_MARGIN:
        raise InvalidInputError(
            f"margin: it is in percentage points, and {points:g} looks like a share; write {100 * points:g}"
        )
    return points / 100


def answer_html(answer: Answer) -> str:
    """Return the header of the page: the verdict, the first line, the interval on a scale, and the notes."""
    sets = (
        f"{count(answer.source['images'], 'image')} in {answer.source['name']}, "
        f"{count(answer.target['images'], 'image')} in {answer.target['name']}."
    )
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in [*answer.notes, sets])
    warnings = "".join(f'<p class="warning">Warning: {escape(text)}.</p>' for text in answer.warnings)
    verdict = "".join(
        f'<p class="answer"><strong>{escape(text)}</strong></p>\n' for text in answer.verdict_notes
    )
    return (
        f'{verdict}<p class="answer"><strong>{escape(_upper(answer.headline))}.</strong></p>\n'
        f"{_scale(answer)}\n"
        f"{notes}\n{warnings}"
    )


def _scale(answer: Answer) -> str:
    """Return a bar from 0 to 100 % with the interval, the estimate and the source's accuracy, as SVG."""
    low, high, was = (100 * share for share in (answer.low, answer.high, answer.source["accuracy"]))
    dot = "" if answer.accuracy is None else f'<circle cx="{6 * 100 * answer.accuracy:.1f}" cy="14" r="6"/>'
    said = escape(answer.headline)
    anchor = "start" if was < 15 else "end" if was > 85 else "middle"
    return (
        f'<svg role="img" aria-label="{said}" viewBox="-10 -14 620 48" width="100%" style="max-width:40rem" '
        'fill="currentColor"><rect x="0" y="12" width="600" height="4" opacity="0.15"/>'
        f'<rect x="{6 * low:.1f}" y="8" width="{6 * (high - low):.1f}" height="12" opacity="0.4"/>{dot}'
        f'<rect x="{6 * was - 1:.1f}" y="4" width="2" height="20"/>'
        '<text x="0" y="33" font-size="11">0 %</text><text x="600" y="33" font-size="11" '
        f'text-anchor="end">100 %</text><text x="{6 * was:.1f}" y="-2" font-size="11" '
        f'text-anchor="{anchor}">source: {_digits(answer.source["accuracy"], 1)} %</text></svg>'
    )


def _digits(share: float, places: int) -> str:
    """Return a share in percent; one that is not 0 or 1 is not rounded to it if a decimal helps."""
    text = f"{100 * share:.{places}f}"
    return f"{100 * share:.1f}" if text in ("0", "100") and 0 < share < 1 else text


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
