"""A page for each shift: what it is, how confusing it is, and which images stand out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shiftcast.board.build import Board
from shiftcast.board.columns import ERRORS, ESTIMATORS, INTERVALS, group_columns, pick
from shiftcast.cards.suite import Target
from shiftcast.site.board_tables import withheld_section
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import (
    SCALES,
    choice,
    facts,
    families,
    filters,
    page,
    paragraph,
    section,
    shift_value,
    tiles,
)
from shiftcast.site.outputs import NotableImage, SetImages
from shiftcast.site.suite import Section
from shiftcast.site.tables import filter_of, table
from shiftcast.util.text import count, percent, points, score


def shift_pages(suite: Section) -> dict[str, str]:
    """Return the page of every shift by its path below the suite's folder."""
    groups: dict[str, list[Target]] = {}
    for target in suite.scores.targets:
        groups.setdefault(target.group, []).append(target)
    shares = _shares(suite.board)
    return {
        f"shifts/{suite.names.shifts[group]}.html": _page(suite, group, targets, shares)
        for group, targets in groups.items()
    }


def _page(suite: Section, group: str, targets: list[Target], shares: Mapping[str, list[float]]) -> str:
    board = suite.board
    row = next((row for row in board.shifts if row["shift"] == group), None)
    sets = [suite.scores.suite.source.test, *(target.id for target in targets)]
    histogram = [{"name": name, "shares": shares[name]} for name in sets if name in shares]
    blocks: list[Child] = [
        tag("h1", group),
        paragraph(_headline(suite, group, row), class_="lead"),
        tiles(_tiles(board, row, targets)),
        facts(_facts(suite, group, targets)),
    ]
    data: dict[str, Any] = {"page": "shift", "shift": shift_value(group), "headline": board.headline}
    data["sets"] = histogram
    blocks.append(_charts(board, row is not None, histogram))
    blocks += [_images(suite, target, len(targets) > 1) for target in targets]
    if row is not None:
        blocks += [_estimators(suite, group), _models(suite, group)]
    for target in targets:
        blocks += withheld_section(board, suite.names, target.id)
    return page(group, blocks, depth=2, trail=suite.trail, data=data, scripts=[suite.data])


def _headline(suite: Section, group: str, row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return (
            f"{group} is a {suite.board.kind(group)} shift whose labels are withheld: no accuracy is known."
        )
    text = (
        f"{group} is a {row['kind']} shift. {count(row['models'], 'model')} are right on "
        f"{percent(row['accuracy'])} % of its images on average, from {percent(row['lowest'])} to "
        f"{percent(row['highest'])} %."
    )
    if row["best"]:
        text += f" {row['best']} predicts this best: it errs by {points(row['best_mae'])} pp."
    return text


def _tiles(board: Board, row: Mapping[Any, Any] | None, targets: list[Target]) -> list[tuple[str, str, str]]:
    scores = board.scores
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
        "kind": suite.board.kind(group),
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


def _charts(board: Board, labelled: bool, histogram: list[dict[str, Any]]) -> Html:
    drawn, choices = [], []
    if len(histogram) > 1:
        options = [(str(place), one["name"]) for place, one in enumerate(histogram) if place]
        if len(options) > 1:
            choices.append(choice("Severity", "set", options))
        drawn.append(chart("histogram"))
    if labelled:
        choices += [families(board.scores.runs), choice("Axes", "scale", SCALES)]
        drawn.append(chart("lines"))
    if not drawn:
        return section("Charts", paragraph("The reference ensemble is incomplete, so there is none."))
    bar = filters("Filters of charts", *choices) if choices else None
    return section("Charts", bar, tag("div", *drawn, class_="pair"))


def _shares(board: Board) -> dict[str, list[float]]:
    """Return shares of images by bin of confusion, by set."""
    if board.scores.confusion is None:
        return {}
    frame = board.scores.confusion.histogram.sort_values(["set", "bin"])
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
    frame = suite.board.by_shift
    own = frame[(frame["shift"] == group) & frame["mae"].notna()].sort_values(["mae", "estimator"])
    made = table(
        "estimators",
        "Estimators, by error on this shift",
        pick(ESTIMATORS, "estimator", "track", *ERRORS, *INTERVALS),
        own.to_dict("records"),
        cells=suite.names.cells,
        keys={"track": lambda row: row["track"]},
        filters=[filter_of("Track", "track", sorted(own["track"]))],
        search="Find in estimators",
    )
    return section("Estimators", made)


def _models(suite: Section, group: str) -> Html:
    models = suite.board.models
    family = dict(zip(models.overall["architecture"], models.overall["family"], strict=True))
    own = models.by_group[models.by_group["group"] == group].sort_values("accuracy", ascending=False)
    made = table(
        "models",
        "Models, by accuracy on this shift",
        pick(group_columns(suite.board), "model", "family", "accuracy", "predicted", "robustness"),
        [{**row, "family": family[row["architecture"]]} for row in own.to_dict("records")],
        cells=suite.names.cells,
        keys={"family": lambda row: str(row["family"])},
        search="Find in models",
    )
    return section("Models", made)
