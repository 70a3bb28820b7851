"""A page for each shift: what it is, how confusing it is, and which images stand out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from shiftcast.board.models import model_groups
from shiftcast.board.tables import SuiteScores
from shiftcast.cards.suite import Target
from shiftcast.site import columns as shown
from shiftcast.site.board_tables import withheld_section
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import SCALES, choice, facts, page, paragraph, section, tiles
from shiftcast.site.links import link
from shiftcast.site.outputs import NotableImage, SetImages
from shiftcast.site.rows import estimator_shifts, shift_rows, shift_value
from shiftcast.site.suite import Section
from shiftcast.site.tables import Column, filter_of, table
from shiftcast.util.text import count, interval, percent, points, predicted, score, signed


def shift_pages(suite: Section) -> dict[str, str]:
    """Return the page of every shift by its path below the suite's folder."""
    groups: dict[str, list[Target]] = {}
    for target in suite.scores.targets:
        groups.setdefault(target.group, []).append(target)
    return {
        f"shifts/{suite.names.shifts[group]}.html": _page(suite, group, targets)
        for group, targets in groups.items()
    }


def _page(suite: Section, group: str, targets: list[Target]) -> str:
    scores = suite.scores
    row = {one["shift"]: one for one in shift_rows(scores)}.get(group)
    histogram = _histograms(scores, targets)
    blocks: list[Child] = [
        tag("h1", group),
        paragraph(_headline(suite, group, row), class_="lead"),
        tiles(_tiles(scores, row, targets)),
        facts(_facts(suite, group, targets)),
    ]
    data: dict[str, Any] = {"page": "shift", "shift": shift_value(group), "headline": scores.suite.headline}
    data["sets"] = histogram
    blocks.append(_charts(scores, row is not None, histogram))
    blocks += [_images(suite, target, len(targets) > 1) for target in targets]
    if row is not None:
        blocks += [_estimators(suite, group), _models(suite, group)]
    for target in targets:
        blocks += withheld_section(scores, suite.names, target.id)
    return page(group, blocks, depth=2, trail=suite.trail, data=data, scripts=[suite.data])


def _headline(suite: Section, group: str, row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return f"{group} is a {suite.kind(group)} shift whose labels are withheld: no accuracy is known."
    text = (
        f"{group} is a {row['kind']} shift. {count(row['models'], 'model')} are right on "
        f"{percent(row['accuracy'])} % of its images on average, from {percent(row['lowest'])} to "
        f"{percent(row['highest'])} %."
    )
    if row["best"]:
        text += f" {row['best']} comes closest to predicting that: it misses by {points(row['best_mae'])} pp."
    return text


def _tiles(
    scores: SuiteScores, row: Mapping[Any, Any] | None, targets: list[Target]
) -> list[tuple[str, str, str]]:
    figures = []
    if row is not None:
        figures.append(
            ("mean accuracy", f"{percent(row['accuracy'])} %", f"of {count(row['models'], 'model')}")
        )
        figures.append(("lowest error", f"{points(row['best_mae'])} pp", str(row["best"])))
    if scores.confusion is not None:
        sets = scores.confusion.sets
        own = sets[sets["set"].isin([target.id for target in targets])]
        home = sets[sets["set"] == scores.suite.source.test]
        if len(own):
            figures.append(
                (
                    "mean confusion",
                    score(own["mean"].mean()),
                    f"in distribution {score(home['mean'].iloc[0])}",
                )
            )
            above = f"{percent(own['above'].mean())} %"
            figures.append(("high confusion", above, "of images; in distribution 10 %"))
    return figures


def _facts(suite: Section, group: str, targets: list[Target]) -> dict[str, Child]:
    card = suite.cards.get(targets[0].dataset)
    sets = suite.scores.accuracies
    sizes = sets[sets["set"].isin([target.id for target in targets])]["n"]
    levels = ", ".join(str(target.severity) for target in targets if target.severity)
    values: dict[str, Child] = {
        "kind": suite.kind(group),
        "dataset": targets[0].dataset,
        "images": f"{int(sizes.min()):,}" if len(sizes) else "",
        "severities": levels,
        "level in the suite": targets[0].level,
    }
    if card is not None:
        values |= {
            "what it is": card.title,
            "description": card.description,
            "licence": card.licence,
            "to cite": card.citation,
        }
    return values


def _charts(scores: SuiteScores, labelled: bool, histogram: list[dict[str, Any]]) -> Html:
    drawn, controls = [], []
    if len(histogram) > 1:
        options = [(str(place), one["name"]) for place, one in enumerate(histogram) if place]
        if len(options) > 1:
            controls.append(choice("Severity", "set", options))
        drawn.append(chart("histogram"))
    if labelled:
        families = sorted(set(scores.runs[scores.runs["status"] == "ok"]["family"]))
        controls += [
            choice("Family", "family", [("", "all"), *((name, name) for name in families)]),
            choice("Axes", "scale", SCALES),
        ]
        drawn.append(chart("lines"))
    if not drawn:
        return section("Charts", paragraph("The reference ensemble is incomplete, so there is none."))
    bar = tag("div", *controls, class_="controls filters", role="group", aria_label="Filters of charts")
    return section("Charts", bar if controls else None, tag("div", *drawn, class_="pair"))


def _histograms(scores: SuiteScores, targets: list[Target]) -> list[dict[str, Any]]:
    """Return shares of images by bin of confusion: in distribution, then each target."""
    known = _shares(scores)
    names = [scores.suite.source.test, *(target.id for target in targets)]
    return [{"name": name, "shares": known[name]} for name in names if name in known]


@lru_cache(maxsize=16)
def _shares(scores: SuiteScores) -> dict[str, list[float]]:
    if scores.confusion is None:
        return {}
    frame = scores.confusion.histogram.sort_values(["set", "bin"])
    return {
        str(name): [round(float(share), 5) for share in own["share"]] for name, own in frame.groupby("set")
    }


# Images


def _images(suite: Section, target: Target, several: bool) -> Html | None:
    if suite.outputs is None or target.id not in suite.outputs.images:
        return None
    found: SetImages = suite.outputs.images[target.id]
    pictures = suite.pictures.get(target.id, {})
    heading = f"Images that stand out: {target.id}" if several else "Images that stand out"
    numbers = "Numbers are positions in the dataset, from 0"
    if target.derived:
        numbers = (
            f"Numbers are those of the images of {suite.scores.suite.source.test} that they are made from"
        )
    unseen = suite.unseen.get(target.id, "the images are not on this page")
    note = f"{numbers}." if pictures else f"{numbers}; {unseen}."
    blocks: list[Child] = [paragraph(note, class_="note")]
    for title, said, share, images in (
        (
            "Hardest",
            "The highest confusion scores: class (where it is known) → the reference ensemble's answer.",
            "right",
            found.hardest,
        ),
        ("Most agreed wrong", "True class → the wrong answer that most runs share.", "agree", found.agreed),
    ):
        if images:
            blocks += [tag("h3", title), paragraph(said), _gallery(images, pictures, share)]
    if len(blocks) == 1:
        return None
    if pictures and target.dataset in suite.cards:
        card = suite.cards[target.dataset]
        blocks.append(paragraph(f"Images: {card.citation} Licence: {card.licence}.", class_="note"))
    return section(heading, *blocks)


def _gallery(images: list[NotableImage], pictures: Mapping[int, str], said: str) -> Html:
    items = [tag("li", _picture(one, pictures), tag("p", *_words(one, said))) for one in images]
    return tag("ol", *items, class_="gallery" if pictures else "gallery plain")


def _picture(one: NotableImage, pictures: Mapping[int, str]) -> Html | None:
    if one.position not in pictures:
        return None
    said = f"Image {one.image}: {one.true or 'class withheld'}, answered {one.answer}"
    return tag("img", src=pictures[one.position], alt=said, width=64, height=64, loading="lazy")


def _words(one: NotableImage, said: str) -> list[Child]:
    share = "" if one.share != one.share else f", {100 * one.share:.0f} % of runs {said}"
    place = tag("strong", f"{one.image}")
    true = f" {one.true} → {one.answer}" if one.true else f" → {one.answer}"
    more = f"confusion {score(one.score)}" if one.score == one.score else ""
    return [place, true, tag("small", f"{more}{share if more else share.removeprefix(', ')}")]


# Tables


def _estimators(suite: Section, group: str) -> Html:
    frame = estimator_shifts(suite.scores)
    own = frame[(frame["shift"] == group) & frame["mae"].notna()].sort_values(["mae", "estimator"])
    names = suite.names
    columns = [
        Column("estimator", lambda row: link(row["estimator"], names.estimator(row["estimator"]))),
        Column("track", lambda row: row["track"], help=shown.TRACK),
        *(column for column in shown.error_columns() if column.heading in ("MAE pp", "bias pp", "RMSE pp")),
        *shown.coverage_columns(),
    ]
    made = table(
        "estimators",
        "Estimators, by error on this shift",
        columns,
        own.to_dict("records"),
        keys={"track": lambda row: row["track"]},
        filters=[filter_of("Track", "track", sorted(own["track"]))],
        search="Find in estimators",
    )
    return section("Estimators", made)


def _models(suite: Section, group: str) -> Html:
    frame = model_groups(suite.scores)
    own = frame[frame["group"] == group].sort_values("accuracy", ascending=False)
    names = suite.names
    runs = suite.scores.runs.drop_duplicates("architecture")
    families = dict(zip(runs["architecture"], runs["family"], strict=True))
    columns = [
        Column("model", lambda row: link(names.model_title(row["architecture"], row["recipe"]),
                                         names.model((row["architecture"], row["recipe"])))),
        Column("family", lambda row: families[row["architecture"]]),
        Column("accuracy %", lambda row: interval(row["accuracy"], row["low"], row["high"]),
               lambda row: row["accuracy"], "with Wilson's 95 % interval", high_first=True),
        Column("predicted % (error)", lambda row: predicted(row["predicted"], row["accuracy"]),
               lambda row: row["predicted"], f"by {suite.scores.suite.headline}", high_first=True),
        Column("robustness pp", lambda row: signed(row["robustness"]), lambda row: row["robustness"],
               shown.ROBUSTNESS, high_first=True),
    ]  # fmt: skip
    made = table(
        "models",
        "Models, by accuracy on this shift",
        columns,
        own.to_dict("records"),
        keys={"family": lambda row: families[row["architecture"]]},
        search="Find in models",
    )
    return section("Models", made)
