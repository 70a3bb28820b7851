"""The page about a suite's confusion score, as Markdown: figures, the source's claims, sensitivity.

A pure function of the tables; every sentence that judges is chosen by the figures beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from shiftcast.board.columns import Column, Row, figure, figures
from shiftcast.board.tables import ConfusionTables, SuiteScores
from shiftcast.leaderboard.figures.confusion_data import FEWEST
from shiftcast.leaderboard.findings import confusion_findings, opening
from shiftcast.leaderboard.legend import MARKER
from shiftcast.leaderboard.markup import escape, fold, grid, once, pictures, table
from shiftcast.util.text import BLANK, count, percent, points, ratio, score, signed

CAPTIONS = {
    "confusion-by-set": "Mean confusion score and share of images of high confusion on each set",
    "confusion-distribution": "Distribution of the confusion score on the source, the labelled natural "
    "sets and one corruption",
    "accuracy-by-confusion": "Accuracy of each model by confusion on the same sets",
    "predicted-lines": "Lines through actual and through predicted accuracies, on probit axes",
    "partition-against-rivals": "Mean absolute error of the partition minus that of its rivals",
    "where-accuracy-is-lost": "Share of the drop in accuracy that comes from images of high confusion",
    "shared-errors": "How often pairs of networks make the same error, by what they share",
    "partition-choices": "Mean absolute error of the partition under other choices",
}
HALF = 0.5
SOURCE = (
    "Simsek, Hall & Sagun (2022), *Understanding out-of-distribution accuracies through quantifying "
    "difficulty of test samples*"
)


def render_confusion(
    scores: SuiteScores, tables: ConfusionTables, links: Mapping[str, str], above: str = ""
) -> str:
    """Return the page's Markdown.

    Parameters
    ----------
    scores, tables
        A suite's scores and the tables about its confusion.
    links
        Path of every picture relative to the page, by name.
    above
        The line with links to other pages.
    """
    blocks = [
        MARKER,
        f"# Confusion: {escape(scores.suite.title)}",
        *([above] if above else []),
        *opening(confusion_findings(tables)),
        "## The score",
        _head(scores, tables),
        "## How confusing is each set?",
        *pictures(CAPTIONS, links, "confusion-by-set", "confusion-distribution"),
        _sets(tables),
        "## Accuracy by confusion",
        *pictures(CAPTIONS, links, "accuracy-by-confusion"),
        *_accuracy(tables, scores.suite.source.test),
        "## The claims of the paper's abstract, tested",
        f"The paper is {SOURCE}. Intervals are 95 % bootstrap percentiles. Images are resampled, or the "
        "objects that images show. Where models are compared and there are at least five architectures, "
        "architectures are resampled too, with their seeds. Predictions, bins and thresholds stay fixed. "
        "Intervals are not adjusted for the number of comparisons.",
        *_claims(tables, links),
        "## How much does the partition depend on its choices?",
        *_sensitivity(tables, links),
        "## Is it what people find confusing?",
        *_human(tables),
    ]
    return "\n\n".join(blocks) + "\n"


def _head(scores: SuiteScores, tables: ConfusionTables) -> str:
    members = ", ".join(map(escape, tables.members))
    return (
        f"The confusion score of an image is the normalised entropy of the mean class probabilities of "
        f"{count(len(tables.members), 'network')} that are never scored ({members}). It is 0 where they "
        "agree and are certain, and 1 where all classes are equally likely. No label is used. *High "
        f"confusion* means a score above {score(tables.threshold)}, the 90th percentile on "
        f"{escape(scores.suite.source.test)}. The paper takes an entropy of an ensemble's class "
        "probabilities; "
        "its exact formula, members and bins are not published, and those used here are our choice. "
        f"`shiftcast difficulty {escape(scores.suite.name)}` writes the score of every image."
    )


def _ci(low: float, high: float, show: Callable[[float], str] = ratio) -> str:
    return BLANK if low != low else f"[{show(low)}, {show(high)}]"


def _with_ends(row: Row, key: str, show: Callable[[float], str], ends: str = "") -> str:
    """Return a figure with its interval, whose ends are `KEY_low` and `KEY_high`."""
    low, high = (row[f"{ends or key}_{end}"] for end in ("low", "high"))
    return f"{show(row[key])} {_ci(low, high, show)}"


def _bounded(key: str, heading: str, show: Callable[[float], str]) -> Column:
    return figures(key, heading, lambda row: _with_ends(row, key, show))


def _share(heading: str) -> Column:
    text = lambda row: f"{percent(row['share'])} {_ci(row['low'], row['high'], percent)}"  # noqa: E731
    return figures("share", heading, text)


def _in_points(share: float) -> str:
    return signed(100 * share)


def _sets(tables: ConfusionTables) -> str:
    source = tables.sets["set"].iloc[0]
    agree = dict(zip(tables.reliability["set"], tables.reliability["spearman"], strict=True))

    def size(row: Row) -> str:
        return f"{row['n']:,}" + ("" if pd.isna(row["clusters"]) else f" ({row['clusters']} objects)")

    def difference(row: Row) -> str:
        if row["set"] == source:
            return BLANK
        sign = "+" if score(row["difference"]) > "0.000" else ""
        return f"{sign}{_with_ends(row, 'difference', score)}"

    def above(row: Row) -> str:  # the source's own share is 10 % by definition
        return percent(row["above"]) if row["set"] == source else _with_ends(row, "above", percent)

    columns = [
        Column("set", "set"),
        figures("n", "images", size),
        figures("mean", "mean score", lambda row: score(row["mean"])),
        figures("difference", "difference from ID", difference),
        figures("above", "high confusion %", above),
    ]
    if agree:
        columns.append(figures("agree", "split-half ρ", lambda row: ratio(agree[row["set"]])))
    note = (
        "Corrupted sets are compared with their own base images. "
        "Split-half ρ: Spearman correlation between the scores by two disjoint halves of the ensemble."
    )
    return fold("Scores of all sets", f"{table(columns, tables.sets.to_dict('records'))}\n\n{note}")


def _accuracy(tables: ConfusionTables, source: str) -> list[str]:
    blocks = []
    natural = set(tables.sets.loc[tables.sets["natural"], "set"])
    for name, rows in tables.accuracy.groupby("set", sort=False):
        if name != source and name not in natural:
            continue
        bins = sorted(rows["bin"].unique())
        shares = rows.groupby("bin")["images"].first()
        total = shares.sum()
        headings = {"model": "left"} | {
            f"{b / len(bins):.1f}–{(b + 1) / len(bins):.1f}": "right" for b in bins
        }
        cells = [["*images %*", *(f"*{percent(shares[b] / total)}*" for b in bins)]]
        for (architecture, recipe), own in rows.groupby(["architecture", "recipe"], sort=False):
            several = rows["recipe"].nunique() > 1
            label = escape(str(architecture)) + (f" ({escape(str(recipe))})" if several else "")
            cells.append(
                [
                    label,
                    *(
                        percent(right / n) if images >= FEWEST else BLANK
                        for right, n, images in own.sort_values("bin")[["right", "n", "images"]].itertuples(
                            index=False
                        )
                    ),
                ]
            )
        blocks.append(fold(f"Accuracy (%) by confusion on {escape(str(name))}", grid(headings, cells)))
    return [
        "Mean over seeds; bins with fewer than 20 images are left out. Where the curve of a set lies "
        "below the in-distribution curve, images of equal confusion are harder there. The partition cannot "
        "detect this.",
        *blocks,
    ]


# The claims


def _claims(tables: ConfusionTables, links: Mapping[str, str]) -> list[str]:
    return [
        *_more_confusing(tables),
        *_relation(tables, links),
        *_pairs(tables, links),
        *_drop(tables, links),
        *_natures(tables, links),
    ]


def _natures(tables: ConfusionTables, links: Mapping[str, str]) -> list[str]:
    heading = "### 5. The causes of the errors"
    circular = (
        "The claim that errors at high confusion come from weak evidence for several classes is circular "
        "here: confusion is itself computed from the spread over classes."
    )
    if tables.shared.empty:
        return [
            heading,
            f"**Not tested here.** {circular} Whether errors at low confusion come from spurious features of "
            "a class can only be tested with networks trained on disjoint halves of the training images, or "
            "with planted features. This suite has neither.",
        ]
    frame = tables.shared[tables.shared["level"] == "low"]
    same = frame[frame["pairs"] == "same half"]["share"]
    other = frame[frame["pairs"] == "other half"]
    fewer = other["difference_high"] < 0
    text = (
        f"**Tested in part.** {circular} At low confusion (up to the in-distribution median), two seeds of a "
        "network that are trained on the same half of the training images share, with the same wrong class, "
        f"{_span(same)} % of their errors, depending on the set. Two that are trained on disjoint halves "
        "share "
        f"{_span(other['share'])} %, which is clearly less on {int(fewer.sum())} of "
        f"{count(len(other), 'set')}. Errors that disjoint halves share come from the data in general or "
        "from "
        "the network, and not from single training images. Errors that another network shares too do not "
        "come from the network. Neither result shows that the cause is a spurious feature."
    )

    def apart(row: Row) -> str:
        return BLANK if pd.isna(row["difference"]) else _with_ends(row, "difference", _in_points)

    columns = [
        Column("set", "set"),
        Column("level", "confusion"),
        Column("pairs", "pairs"),
        figures("errors", "errors", lambda row: f"{row['errors']:,.0f}"),
        _share("same wrong class %"),
        figures("difference", "minus same half", apart),
    ]
    note = (
        "Errors: number of errors of one network, mean over pairs. High confusion: above the "
        "in-distribution 90th percentile."
    )
    body = fold("Shares of common errors", f"{table(columns, once(tables.shared, 'set'))}\n\n{note}")
    return [heading, text, *pictures(CAPTIONS, links, "shared-errors"), body]


def _span(shares: pd.Series[float]) -> str:
    low, high = percent(shares.min()), percent(shares.max())
    return low if low == high else f"{low} to {high}"


def _more_confusing(tables: ConfusionTables) -> list[str]:
    natural = tables.sets[tables.sets["natural"]]
    heading = "### 1. Images out of distribution are more confusing"
    if natural.empty:
        return [heading, "**Not tested**: the suite has no labelled natural shift."]
    more = natural["difference_low"] > 0
    less = natural["difference_high"] < 0
    text = (
        f"**{_verdict(more, less)}** Of the {count(len(natural), 'natural set')}, labelled or not, "
        f"{_which(natural['set'], more)} more confusing on average than the in-distribution set"
    )
    text += f", {_which(natural['set'], less)} less." if less.any() else "."
    ends = natural.sort_values("above").iloc[[0, -1]].to_dict("records")
    said = [f"{percent(row['above'])} % ({escape(row['set'])})" for row in ends[: len(natural)]]
    text += f" Of their images {' to '.join(said)} are of high confusion, against 10 % in distribution."
    altered = tables.sets[~tables.sets["natural"]].iloc[1:]
    if len(altered):
        up, down = altered["difference_low"] > 0, altered["difference_high"] < 0
        text += (
            f" Of the {count(len(altered), 'set')} made from test images, {int(up.sum())} are more confusing "
            f"than the images that they were made from and {int(down.sum())} are less confusing."
        )
    if len(tables.reliability):
        rho = tables.reliability["spearman"]
        text += (
            " Two disjoint halves of the ensemble rank the images of a set with ρ from "
            f"{ratio(rho.min())} to "
            f"{ratio(rho.max())}."
        )
    return [heading, text]


def _verdict(holds: pd.Series[bool], fails: pd.Series[bool]) -> str:
    """Return a verdict from what the figures show, and what they refute, on each set."""
    if holds.all():
        return "Holds."
    if holds.any():
        return "Holds in part."
    return "Does not hold." if fails.all() else "Not shown."


def _which(names: pd.Series[str], chosen: pd.Series[bool]) -> str:
    """Return how many sets are chosen, with their names where that says more, and the verb."""
    number = int(chosen.sum())
    named = f" ({_names(names[chosen])})" if 0 < number < len(names) else ""
    return f"{number}{named} {'is' if number == 1 else 'are'}"


def _names(names: Iterable[Any]) -> str:
    return ", ".join(escape(str(name)) for name in names)


def _relation(tables: ConfusionTables, links: Mapping[str, str]) -> list[str]:
    heading = "### 2. The partition predicts how accuracy under shift depends on accuracy in distribution"
    frame = tables.lines
    if frame.empty:
        return [heading, "**Not tested**: it takes a labelled natural shift and five architectures."]
    agrees = frame["agrees"].astype(bool)
    verdict = "Not contradicted." if agrees.all() else "Does not hold."
    verdict = "Does not hold on all sets." if agrees.any() and not agrees.all() else verdict
    text = (
        f"**{verdict}** On {int(agrees.sum())} of {count(len(frame), 'labelled natural set')}"
        + (f" ({_names(frame.loc[agrees, 'set'])})" if agrees.any() and not agrees.all() else "")
        + " the predicted line cannot be distinguished from the actual one (joint 95 % region of both "
        "differences). On a small set this is easier to reach than on a large one. Lines are least-squares "
        f"fits on probit axes over {count(int(frame['runs'].iloc[0]), 'run')} of "
        f"{int(frame['architectures'].iloc[0])} architectures. They are compared at the models' mean "
        "in-distribution accuracy, which is held fixed. In-distribution accuracy spans "
        f"{percent(frame['lowest'].iloc[0])} to {percent(frame['highest'].iloc[0])} %; slope and R² depend "
        "on "
        "this range."
    )

    def slopes(row: Row) -> str:
        apart = signed(row["slope_predicted"] - row["slope"])
        return f"{apart} {_ci(row['slope_low'], row['slope_high'])}"

    def middles(row: Row) -> str:
        apart = signed(100 * (row["middle_predicted"] - row["middle"]))
        return f"{apart} {_ci(row['middle_low'], row['middle_high'], percent)}"

    columns = [
        Column("set", "set"),
        figure("slope", "actual slope"),
        figure("slope_predicted", "predicted slope"),
        figures("slopes", "slope difference", slopes),
        figure("middle", "actual", "%"),
        figure("middle_predicted", "predicted", "%"),
        figures("middles", "difference pp", middles),
        figure("r2", "R² of the actual line"),
    ]
    body = fold("Slopes and accuracies of the lines", table(columns, frame.to_dict("records")))
    return [heading, text, *pictures(CAPTIONS, links, "predicted-lines"), body]


def _pairs(tables: ConfusionTables, links: Mapping[str, str]) -> list[str]:
    heading = "### 3. Accuracy under shift can be predicted from in-distribution labels alone"
    frame = tables.pairs
    if frame.empty:
        return [heading, "**Not tested**: the suite has no labelled natural shift."]
    said = []
    for rival, rows in frame.groupby("rival", sort=False):
        better, worse = rows[rows["high"] < 0], rows[rows["low"] > 0]
        said.append(
            f"against {rival} the partition's error is lower on {len(better)} and higher on {len(worse)} "
            f"of {count(len(rows), 'set')}"
        )
    errors = frame.drop_duplicates("set")["mae"]
    low, high = points(errors.min()), points(errors.max())
    span = f"{low} pp" if low == high else f"{low} to {high} pp, depending on the set"
    text = (
        f"**To a degree.** The partition errs by {span} (mean absolute error). Counting only "
        f"differences whose interval excludes zero: {'; '.join(said)}. The figure shows the partition's "
        "error "
        "minus the rival's, in pp; below zero the partition is better. AgreementShift and OwnLabelPartition "
        "use the same ensemble, and the model's predictions too."
    )

    def minus(rival: str) -> Column:
        def text(row: Row) -> str:
            if rival not in row:
                return BLANK
            return f"{signed(row[rival]['difference'])} {_ci(row[rival]['low'], row[rival]['high'], points)}"

        return figures(rival, f"minus {rival}", text)

    columns = [
        Column("set", "set"),
        figure("mae", "partition's MAE"),
        *map(minus, dict.fromkeys(frame["rival"])),
    ]
    by_set = [
        {"set": name, "mae": own["mae"].iloc[0], **{row["rival"]: row for row in own.to_dict("records")}}
        for name, own in frame.groupby("set", sort=False)
    ]
    body = fold("Differences on each set", table(columns, by_set))
    return [heading, text, *pictures(CAPTIONS, links, "partition-against-rivals"), body]


def _drop(tables: ConfusionTables, links: Mapping[str, str]) -> list[str]:
    heading = "### 4. Most of the drop comes from images of high confusion"
    frame = tables.drop
    if frame.empty:
        return [heading, "**Not tested**: the suite has no labelled natural shift."]
    holds = frame["holds"].astype(bool)
    more = (frame["low"] > frame["uninformative"]) & frame["share"].notna()
    text = (
        f"**{_verdict(holds, frame['high'] < HALF)}** By the criterion fixed beforehand (the share's "
        "interval "
        f"above 50 %, and more than the share of the images) it holds on {int(holds.sum())} of "
        f"{count(len(frame), 'labelled natural set')}"
        + (f" ({_names(frame.loc[holds, 'set'])})" if holds.any() and not holds.all() else "")
        + ". This criterion is lenient: where accuracy falls equally at every confusion, a larger number of "
        "images of high confusion still raises their share of the drop. *Without information* is the share "
        "that a score unrelated to accuracy would give with the same numbers of images; the measured "
        f"share's interval lies above it on {int(more.sum())}. The *centred share* is computed from numbers "
        "of images and accuracies relative to the model's mean accuracy; for a score without information it "
        "equals the share of the images."
    )

    columns = [
        Column("set", "set"),
        _bounded("drop", "drop pp", percent),
        figure("mass", "images of high confusion", "%"),
        _share("their share of the drop %"),
        figure("uninformative", "without information", "%"),
        figure("ratio", "share / images"),
        figure("centred", "centred share", "%"),
    ]
    body = fold("Shares of the drop on each set", table(columns, frame.to_dict("records")))
    return [heading, text, *pictures(CAPTIONS, links, "where-accuracy-is-lost"), body]


# Sensitivity


def _sensitivity(tables: ConfusionTables, links: Mapping[str, str]) -> list[str]:
    frame = tables.sensitivity
    if frame.empty:
        return ["**Not computed**: a scored run has no complete ensemble, or the suite no labelled shift."]
    columns = [
        Column("aspect", "choice"),
        Column("variant", "variant", strong=lambda row: bool(row["default"])),
    ]
    for kind in ("natural", "synthetic"):
        if frame[f"{kind}_mae"].notna().any():
            columns.append(figure(f"{kind}_mae", f"{kind} MAE"))
            columns.append(figure(f"{kind}_bias", f"{kind} bias", show=signed))
    text = (
        "Errors of ConfusionPartition in pp, averaged as on the board. One choice is changed at a time; "
        "**bold** is what the board uses. *members*: mean over ensembles of that many members, consecutive "
        "in "
        "the suite's order (after the last comes the first). *isotonic*: accuracy as a falling function of "
        "the score, in place of bins. *family kept out*: no member comes from the scored run's family. *let "
        "in*: the scored run replaces one member of its ensemble. *shared*: fitted on the base images whose "
        "corrupted copies are predicted; natural sets have no such images."
    )
    body = fold("Errors under each choice", table(columns, once(frame, "aspect")))
    return [text, *pictures(CAPTIONS, links, "partition-choices"), body]


# People


def _human(tables: ConfusionTables) -> list[str]:
    people = tables.human
    if people is None:
        return [f"**Not shown**: {escape(tables.human_note)}."]
    entropy, errors = people["entropy"], people["label_errors"]
    own, wrong = entropy[tables.kind], errors[tables.kind]
    side = "higher" if wrong["low"] > 0.5 else "lower" if wrong["high"] < 0.5 else "neither higher nor lower"
    text = (
        f"On {people['images']:,} test images the score's rank correlation with the entropy of human labels "
        f"(CIFAR-10H, Peterson et al. 2019) is {ratio(own['spearman'])} {_ci(own['low'], own['high'])}. "
        f"There are {people['errors']} known label errors among {people['reviewed']} reviewed "
        'candidates: images whose label fewer than three of five reviewers chose, where "both" is not '
        f"counted (Northcutt et al. 2021). They have {side} confusion than other images: a label error has "
        "the higher score of the two with probability "
        f"{ratio(wrong['auc'])} {_ci(wrong['low'], wrong['high'])}, and their median percentile is "
        f"{points(wrong['median_percentile'])}. Candidates were proposed by a network's disagreement with "
        "the label, so images that are hard for networks were more likely to be reviewed."
    )
    columns = [
        Column("score", "score"),
        figures("spearman", "ρ with human entropy", lambda row: f"{ratio(row['spearman'])} {row['entropy']}"),
        figures("auc", "P(error scores higher)", lambda row: f"{ratio(row['auc'])} {row['errors']}"),
        figure("median_percentile", "median percentile of errors"),
    ]
    rows = [
        {
            "score": kind,
            **entropy[kind],
            **errors[kind],
            "entropy": _ci(entropy[kind]["low"], entropy[kind]["high"]),
            "errors": _ci(errors[kind]["low"], errors[kind]["high"]),
        }
        for kind in entropy
    ]
    return [text, table(columns, rows)]
