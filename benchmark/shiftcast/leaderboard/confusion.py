"""The page about a suite's confusion score, as Markdown: figures, the source's claims, sensitivity.

A pure function of the tables; every sentence that judges is chosen by the figures beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from shiftcast.analysis.tables import ConfusionTables
from shiftcast.leaderboard.text import BLANK, count, escape, percent, points, ratio, score, signed, table
from shiftcast.scores import SuiteScores

CAPTIONS = {
    "confusion-distribution": "Distribution of the confusion score on each set; outline: in distribution",
    "accuracy-by-confusion": "Accuracy of each model by confusion, on each set",
    "predicted-lines": "Lines through actual and through predicted accuracies, on probit axes",
    "partition-against-rivals": "Mean absolute error of the partition minus that of its rivals",
    "where-accuracy-is-lost": "Share of the drop in accuracy that comes from images of high confusion",
}
FEWEST = 20
"""Images that an accuracy in a bin needs to be printed."""
SOURCE = (
    "Simsek, Hall & Sagun (2022), *Understanding out-of-distribution accuracies through quantifying "
    "difficulty of test samples*"
)
Row = Mapping[Any, Any]


def render_confusion(scores: SuiteScores, tables: ConfusionTables, figures: Mapping[str, str]) -> str:
    """Return the page's Markdown.

    Parameters
    ----------
    scores, tables
        A suite's scores and the tables about its confusion.
    figures
        Path of every picture relative to the page, by name.
    """
    blocks = [
        f"# Confusion: {escape(scores.suite.title)}",
        _head(scores, tables),
        "## How confusing is each set?",
        *_pictures(figures, "confusion-distribution"),
        _sets(tables),
        "## Accuracy by confusion",
        *_pictures(figures, "accuracy-by-confusion"),
        *_accuracy(tables, scores.suite.source.test),
        "## The claims of the source's abstract, tested",
        f"The idea comes from {SOURCE}. Intervals are 95 % percentiles of a bootstrap over images (or over "
        "the objects that images show) and, where models are compared, over architectures with their seeds; "
        "predictions, bins and thresholds stay fixed.",
        *_claims(tables, figures),
        "## How much does the partition depend on its choices?",
        *_sensitivity(tables),
        "## Is it what people find confusing?",
        *_human(tables),
    ]
    return "\n\n".join(blocks) + "\n"


def _pictures(figures: Mapping[str, str], *names: str) -> list[str]:
    return [f"![{CAPTIONS[name]}]({quote(figures[name])})" for name in names if name in figures]


def _head(scores: SuiteScores, tables: ConfusionTables) -> str:
    members = ", ".join(map(escape, tables.members))
    return (
        f"The confusion score of an image is the normalised entropy of the mean class probabilities of "
        f"{count(len(tables.members), 'network')} that are never scored ({members}): 0 where they agree "
        f"and are sure, 1 where every class is as likely. No label enters it. *High confusion* means above "
        f"{score(tables.threshold)}, the 90th percentile on {escape(scores.suite.source.test)}. The formula "
        "is inferred: the source is certain about an entropy of an ensemble's class probabilities, but its "
        "exact formula, members and bins were not to be had. This page is generated from `results/` by "
        "`shiftcast leaderboard`; the score of every image: "
        f"`shiftcast difficulty {escape(scores.suite.name)}`."
    )


def _ci(low: float, high: float, show: Any = ratio) -> str:
    return BLANK if low != low else f"[{show(low)}, {show(high)}]"


def _sets(tables: ConfusionTables) -> str:
    headings = {"set": "left", "images": "right", "mean score": "right"}
    headings |= {"difference from ID": "right", "high confusion %": "right"}
    agree = dict(zip(tables.reliability["set"], tables.reliability["spearman"], strict=True))
    headings |= {"split-half ρ": "right"} if agree else {}
    cells = []
    for place, row in enumerate(tables.sets.to_dict("records")):
        size = f"{row['n']:,}" + ("" if pd.isna(row["clusters"]) else f" ({row['clusters']} objects)")
        change, ends = row["difference"], (row["difference_low"], row["difference_high"])
        difference = f"{'+' if score(change) > '0.000' else ''}{score(change)} {_ci(*ends, score)}"
        high = f"{percent(row['above'])} {_ci(row['above_low'], row['above_high'], percent)}"
        cells.append(
            [escape(row["set"]), size, score(row["mean"]), difference if place else BLANK, high]
            + ([ratio(agree[row["set"]])] if agree else [])
        )
    note = (
        "Corrupted sets are compared with their own base images. "
        "Split-half ρ: Spearman correlation between the scores by two disjoint halves of the ensemble."
    )
    return f"{table(headings, cells)}\n\n{note}"


def _accuracy(tables: ConfusionTables, source: str) -> list[str]:
    blocks = []
    natural = set(tables.sets.loc[tables.sets["natural"], "set"])
    for name, rows in tables.accuracy.groupby("set", sort=False):
        if name != source and name not in natural:
            continue
        bins = sorted(rows["bin"].unique())
        shares = rows.groupby("bin")["n"].first()
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
                        percent(right / n) if n >= FEWEST else BLANK
                        for right, n in own.sort_values("bin")[["right", "n"]].itertuples(index=False)
                    ),
                ]
            )
        blocks.append(
            f"<details><summary>Accuracy (%) by confusion on {escape(str(name))}</summary>\n\n"
            f"{table(headings, cells)}\n\n</details>"
        )
    return [
        "Mean over seeds; bins with fewer than 20 predictions are left out. Where the curve of a set lies "
        "below the in-distribution curve, images of equal confusion are harder there: that is what the "
        "partition cannot see.",
        *blocks,
    ]


# The claims


def _claims(tables: ConfusionTables, figures: Mapping[str, str]) -> list[str]:
    return [
        *_more_confusing(tables),
        *_relation(tables, figures),
        *_pairs(tables, figures),
        *_drop(tables, figures),
        "### 5. The natures of the errors",
        "**Not tested here.** That errors at high confusion mix weak evidence for several classes is "
        "circular when confusion is computed from the spread over classes. Whether errors at low confusion "
        "come from class-specific spurious correlations needs ensembles trained on disjoint halves of the "
        "training images, or planted correlations; this suite trains neither.",
    ]


def _more_confusing(tables: ConfusionTables) -> list[str]:
    natural = tables.sets[tables.sets["natural"]]
    heading = "### 1. Images out of distribution are more confusing"
    if natural.empty:
        return [heading, "**Not tested**: the suite has no natural shift."]
    more = natural[natural["difference_low"] > 0]
    less = natural[natural["difference_high"] < 0]
    text = f"**{_verdict(len(more), len(natural))}** " + _counted(
        more["set"], natural["set"], "natural set is more confusing on average than the in-distribution set"
    )
    text += f" Less confusing: {_names(less['set'])}." if len(less) else ""
    first = natural.sort_values("above")
    low, high = first.iloc[0], first.iloc[-1]
    text += (
        f" Of their images {percent(low['above'])} % ({escape(low['set'])}) to {percent(high['above'])} % "
        f"({escape(high['set'])}) are of high confusion, against 10 % in distribution."
    )
    synthetic = tables.sets[~tables.sets["natural"]].iloc[1:]
    if len(synthetic):
        up = synthetic[synthetic["difference_low"] > 0]
        among = count(len(synthetic), "other set")
        text += f" Of the {among} (corrupted or unlabelled), {len(up)} are more confusing as well."
    if len(tables.reliability):
        rho = tables.reliability["spearman"]
        text += (
            f" The score is a property of images more than of members: two disjoint halves of the ensemble "
            f"rank them with ρ from {ratio(rho.min())} to {ratio(rho.max())}."
        )
    return [heading, text]


def _verdict(found: int, among: int) -> str:
    return "Holds." if found == among else "Does not hold." if not found else "Holds in part."


def _counted(found: Iterable[Any], among: Iterable[Any], what: str) -> str:
    found, among = list(found), list(among)
    names = f" ({_names(found)})" if found and len(found) < len(among) else ""
    verb = what.replace(" set is ", " sets are ") if len(among) != 1 else what
    return f"{len(found)} of {len(among)}{names} {verb}."


def _names(names: Iterable[Any]) -> str:
    return ", ".join(escape(str(name)) for name in names)


def _relation(tables: ConfusionTables, figures: Mapping[str, str]) -> list[str]:
    heading = "### 2. The partition predicts how accuracy under shift depends on accuracy in distribution"
    frame = tables.lines
    if frame.empty:
        return [heading, "**Not tested**: it takes a natural shift and four architectures."]
    agrees = frame[frame["agrees"].astype(bool)]
    text = f"**{_verdict(len(agrees), len(frame))}** " + _counted(
        agrees["set"],
        frame["set"],
        "set is compatible with equal lines (joint 95 % region of both differences)",
    ).replace("set is compatible", "sets are compatible")
    text += (
        " Lines are least squares on probit axes over "
        f"{count(int(frame['runs'].iloc[0]), 'run')} of {int(frame['architectures'].iloc[0])} architectures; "
        "the intercept is the probit of the accuracy under shift where that in distribution is 50 %."
    )
    headings = {"set": "left"} | dict.fromkeys(
        ("slope", "predicted", "difference", "intercept", "predicted ", "difference ", "R²"), "right"
    )
    cells = [
        [
            escape(row["set"]),
            *(ratio(row["slope"]), ratio(row["slope_predicted"])),
            f"{signed(row['slope_predicted'] - row['slope'])} {_ci(row['slope_low'], row['slope_high'])}",
            *(ratio(row["intercept"]), ratio(row["intercept_predicted"])),
            f"{signed(row['intercept_predicted'] - row['intercept'])} "
            f"{_ci(row['intercept_low'], row['intercept_high'])}",
            ratio(row["r2"]),
        ]
        for row in frame.to_dict("records")
    ]
    return [heading, text, *_pictures(figures, "predicted-lines"), table(headings, cells)]


def _pairs(tables: ConfusionTables, figures: Mapping[str, str]) -> list[str]:
    heading = "### 3. Accuracy under shift can be predicted from in-distribution labels alone"
    frame = tables.pairs
    if frame.empty:
        return [heading, "**Not tested**: the suite has no natural shift."]
    said = []
    for rival, rows in frame.groupby("rival", sort=False):
        better, worse = rows[rows["high"] < 0], rows[rows["low"] > 0]
        said.append(
            f"against {rival} its error is lower on {len(better)} and higher on {len(worse)} "
            f"of {count(len(rows), 'set')}"
        )
    errors = frame.drop_duplicates("set")
    text = (
        f"The partition's own mean absolute error is {points(errors['mae'].min())} to "
        f"{points(errors['mae'].max())} pp. In pairs, where the interval excludes zero: {'; '.join(said)}. "
        "Below: its error minus the rival's in pp, so that negative favours the partition. "
        "AgreementShift and OwnLabelPartition read the same ensemble, and the model's own answer too."
    )
    headings = {"set": "left", "partition's MAE": "right"}
    rivals = list(dict.fromkeys(frame["rival"]))
    headings |= {f"minus {rival}": "right" for rival in rivals}
    cells = []
    for name, rows in frame.groupby("set", sort=False):
        by_rival = {row["rival"]: row for row in rows.to_dict("records")}
        cells.append(
            [
                escape(str(name)),
                points(rows["mae"].iloc[0]),
                *(
                    f"{signed(by_rival[rival]['difference'])} "
                    f"{_ci(by_rival[rival]['low'], by_rival[rival]['high'], points)}"
                    if rival in by_rival
                    else BLANK
                    for rival in rivals
                ),
            ]
        )
    return [heading, text, *_pictures(figures, "partition-against-rivals"), table(headings, cells)]


def _drop(tables: ConfusionTables, figures: Mapping[str, str]) -> list[str]:
    heading = "### 4. Most of the drop comes from images of high confusion"
    frame = tables.drop
    if frame.empty:
        return [heading, "**Not tested**: the suite has no natural shift."]
    holds = frame[frame["holds"].astype(bool)]
    text = f"**{_verdict(len(holds), len(frame))}** " + (
        f"On {len(holds)} of {count(len(frame), 'natural set')}"
        + (f" ({_names(holds['set'])})" if 0 < len(holds) < len(frame) else "")
        + " more than half of the drop comes from high confusion (lower end of the interval above 50 %) and "
        "more than its share of the images. A share near the mass says that confusion explains nothing; the "
        "centred share compares both masses and accuracies with the model's own mean accuracy."
    )
    headings = {"set": "left"} | dict.fromkeys(
        (
            "drop pp",
            "images of high confusion %",
            "their share of the drop %",
            "share / mass",
            "centred share %",
        ),
        "right",
    )
    cells = [
        [
            escape(row["set"]),
            *(points(100 * row["drop"]), percent(row["mass"])),
            f"{percent(row['share'])} {_ci(row['low'], row['high'], percent)}",
            *(ratio(row["ratio"]), percent(row["centred"])),
        ]
        for row in frame.to_dict("records")
    ]
    return [heading, text, *_pictures(figures, "where-accuracy-is-lost"), table(headings, cells)]


# Sensitivity


def _sensitivity(tables: ConfusionTables) -> list[str]:
    frame = tables.sensitivity
    if frame.empty:
        return ["**Not computed**: a scored run has no complete ensemble, or the suite no labelled shift."]
    headings = {"choice": "left", "variant": "left"}
    kinds = {kind: f"{kind}_mae" for kind in ("natural", "synthetic") if frame[f"{kind}_mae"].notna().any()}
    for kind in kinds:
        headings |= {f"{kind} MAE": "right", f"{kind} bias": "right"}
    cells = []
    last = ""
    for row in frame.to_dict("records"):
        variant = escape(str(row["variant"]))
        cells.append(
            [
                escape(row["aspect"]) if row["aspect"] != last else "",
                f"**{variant}**" if row["default"] else variant,
                *(
                    text
                    for kind in kinds
                    for text in (points(row[f"{kind}_mae"]), signed(row[f"{kind}_bias"]))
                ),
            ]
        )
        last = row["aspect"]
    text = (
        "Errors of ConfusionPartition in pp, averaged as on the board; one choice is changed at a time and "
        "**bold** is what the board uses. *members*: mean over ensembles of that many neighbours in the "
        "suite's order, taken as a ring. *isotonic*: accuracy as a falling function of the score in place of "
        "bins. *run let in*: the scored run joins the ensemble that judges it. *shared*: fitted on the very "
        "base images whose corrupted copies are predicted; natural sets have no such images."
    )
    return [text, table(headings, cells)]


# People


def _human(tables: ConfusionTables) -> list[str]:
    figures = tables.human
    if figures is None:
        return [f"**Not shown**: {escape(tables.human_note)}."]
    entropy, errors = figures["entropy"], figures["label_errors"]
    own, wrong = entropy[tables.kind], errors[tables.kind]
    side = "higher" if wrong["low"] > 0.5 else "lower" if wrong["high"] < 0.5 else "neither higher nor lower"
    text = (
        f"On {figures['images']:,} test images the score's rank correlation with the entropy of human labels "
        f"(CIFAR-10H, Peterson et al. 2019) is {ratio(own['spearman'])} {_ci(own['low'], own['high'])}. "
        f"The {figures['errors']} known label errors (of {figures['reviewed']} reviewed candidates, those "
        "whose label fewer than three of five reviewers stand by; Northcutt et al. 2021) have "
        f"{side} confusion than other images: a label error outscores another image with probability "
        f"{ratio(wrong['auc'])} {_ci(wrong['low'], wrong['high'])}, and their median percentile is "
        f"{points(wrong['median_percentile'])}. Candidates were proposed by a network's disagreement with "
        "the label, so images that networks find hard were likelier to be reviewed."
    )
    headings = {"score": "left"} | dict.fromkeys(
        ("ρ with human entropy", "P(error scores higher)", "median percentile of errors"), "right"
    )
    cells = [
        [
            escape(kind),
            f"{ratio(entropy[kind]['spearman'])} {_ci(entropy[kind]['low'], entropy[kind]['high'])}",
            f"{ratio(errors[kind]['auc'])} {_ci(errors[kind]['low'], errors[kind]['high'])}",
            points(errors[kind]["median_percentile"]),
        ]
        for kind in entropy
    ]
    return [text, table(headings, cells)]
