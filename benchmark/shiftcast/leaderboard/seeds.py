"""How far apart the seeds of one model lie, on the images and on what they were drawn from."""

from __future__ import annotations

from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.statistics import signed_root
from shiftcast.util.text import count, percent, points


def seed_spreads(scores: SuiteScores) -> list[str]:
    """Return the blocks on models with many seeds; none where there are none."""
    frame = scores.seeds
    if frame.empty:
        return []
    home = scores.suite.source.test
    models = count(len(frame.drop_duplicates(["architecture", "recipe"])), "model")
    text = (
        f"**Spread of seeds**, in pp, of {models} with at least four. Raw: standard deviation of the "
        "accuracies on these images. Distribution-wise: what is left of it on the distribution that the "
        "images were drawn from, where seeds that differ on single images only are alike (Jordan 2024): "
        "the root of a variance that may come out negative, with its sign. In brackets 95 % intervals, "
        "from chi-square; one that holds 0 says: not distinguishable from none."
    )
    headings = {"model": "left", "seeds": "right", "set": "left", "images": "right", "accuracy %": "right"}
    headings |= {"raw": "right", "distribution-wise": "right"}
    cells = []
    for (architecture, recipe), own in frame.groupby(["architecture", "recipe"], sort=True):
        for row in own.to_dict("records"):
            name = escape(f"{architecture} ({recipe})")
            cells.append(
                [
                    name if row["set"] == home else "",
                    str(row["seeds"]) if row["set"] == home else "",
                    escape(row["set"]),
                    f"{row['n']:,}",
                    percent(row["accuracy"]),
                    _spread(row["raw"], row["raw_low"], row["raw_high"]),
                    _spread(row["wise"], row["wise_low"], row["wise_high"]),
                ]
            )
    return [text, table(headings, cells)]


def _spread(*variances: float) -> str:
    middle, low, high = (points(100 * signed_root(value)) for value in variances)
    return f"{middle} [{low}, {high}]"
