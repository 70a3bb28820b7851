"""What is to be said about the intervals around answers for other people's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def interval_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is to be said about the intervals of answered rows."""
    notes = ["Sampling intervals cover the chance of which images were drawn, and nothing else."]
    held = [row["board_coverage"] for row in rows if row.get("board_coverage") is not None]
    if held:
        span = f"{100 * min(held):.2f} to {100 * max(held):.2f}"
        notes[0] += f" On our board such intervals held on {span} % of the models under natural shifts."
    learned = sorted({row["conformal"]["learned_on"] for row in rows if row.get("conformal")})
    if learned:
        notes.append(
            "Intervals with model error add how wrong each estimator was on other shifts: learned on "
            f"{'; '.join(learned)}. They hold for a shift that is drawn like those."
        )
    alone = [row["estimator"] for row in rows if not row.get("conformal")]
    if alone:
        notes.append(f"Sampling error only: {', '.join(alone)}; what they get wrong elsewhere is not known.")
    return notes
