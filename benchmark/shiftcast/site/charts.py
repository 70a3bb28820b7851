"""The charts as Vega-Lite specifications: plain dictionaries into which `charts.js` puts the data.

Data sets are named ("points", "line", ...); the script fills `datasets`, and on scatter charts the axes
of the chosen scale. Colours come from the style sheet, so that dark mode has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

Spec = dict[str, Any]

BACK: Mapping[str, str] = MappingProxyType(
    {
        "probit": "cumulativeNormal(datum.value)",
        "logit": "1/(1+exp(-datum.value))",
        "linear": "datum.value",
    }
)
"""For each scale, the accuracy that a place on the axis stands for, as Vega's expression."""

NUMBER_WIDTH, NUMBER_HEIGHT = 20, 12
"""Pixels that a number needs in a cell of a confusion matrix."""
RUN_TIP = ("model", "seed", "family", "shift")


def specs() -> dict[str, Any]:
    """Return every chart by its name, and how scales are read."""
    return {
        "back": dict(BACK),
        "predicted": _scatter("predicted", "actual accuracy (%)", "predicted accuracy (%)", ("estimator",)),
        "lines": _scatter("lines", "in-distribution accuracy (%)", "accuracy under shift (%)", ()),
        "errors": _errors(),
        "coverage": _coverage(),
        "bins": _bins(),
        "reliability": _reliability(),
        "matrix": _matrix(),
        "drop": _drop(),
        "histogram": _histogram(),
    }


def _spec(**parts: Any) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "autosize": {"type": "fit", "contains": "padding"},
        "background": "transparent",
        **parts,
    }


def _tips(names: Sequence[str]) -> list[Spec]:
    return [{"field": name, "type": "nominal", "title": name} for name in names]


def _place(field: str, title: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"zero": False, "nice": False},
        "axis": {"title": title},
    }


def _scatter(kind: str, x_title: str, y_title: str, more: Sequence[str]) -> Spec:
    """Points with two accuracies on axes of a chosen scale, and the line on which both are equal."""
    accuracy = ("actual", "predicted", "error") if kind == "predicted" else ("in distribution", "under shift")
    both = [_place("x", x_title), _place("y", y_title)]
    order = {"order": {"field": "place", "type": "quantitative"}}
    rule = {
        "data": {"name": "equal"},
        "mark": {"type": "line", "style": "equal", "clip": True, "tooltip": False},
        "encoding": order,
    }
    fit = {
        "data": {"name": "line"},
        "mark": {"type": "line", "style": "fit", "clip": True, "tooltip": False},
        "encoding": order,
    }
    points = {
        "data": {"name": "points"},
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.8},
        "encoding": {
            "color": {"field": "colour", "type": "nominal", "title": None, "sort": None},
            "shape": {"field": "colour", "type": "nominal", "title": None, "sort": None},
            "href": {"field": "href", "type": "nominal"},
            "tooltip": _tips([*RUN_TIP, *more, *accuracy]),
        },
    }
    layers = [rule, *([] if kind == "predicted" else [fit]), points]
    return _spec(height=380, encoding={"x": both[0], "y": both[1]}, layer=layers)


def _ranked(value: str, title: str) -> Spec:
    return {
        "y": {
            "field": "shift",
            "type": "nominal",
            "sort": None,
            "title": None,
            "axis": {"labelLimit": 170, "labelPadding": 8, "ticks": False},
        },
        "x": {"field": value, "type": "quantitative", "title": title},
    }


def _errors() -> Spec:
    colour = {"field": "kind", "type": "nominal", "title": None, "sort": None}
    return _spec(
        data={"name": "points"},
        mark={"type": "bar", "cornerRadiusEnd": 2, "height": {"band": 0.65}},
        encoding={
            **_ranked("mae", "mean absolute error (pp)"),
            "color": colour,
            "tooltip": _tips(["shift", "kind", "MAE", "bias", "sampling noise"]),
        },
    )


def _coverage() -> Spec:
    levels = {
        "data": {"name": "levels"},
        "mark": {"type": "rule", "style": "level", "tooltip": False},
        "encoding": {"x": {"field": "level", "type": "quantitative"}},
    }
    points: Spec = {
        "data": {"name": "points"},
        "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
        "encoding": {
            **_ranked("share", "intervals that hold (%)"),
            "color": {"field": "interval", "type": "nominal", "title": None, "sort": None},
            "shape": {"field": "interval", "type": "nominal", "title": None, "sort": None},
            "tooltip": _tips(["shift", "interval", "coverage", "level", "mean width"]),
        },
    }
    points["encoding"]["x"]["scale"] = {"domain": [0, 100]}
    return _spec(layer=[levels, points])


def _two_sets(x: Spec, y: Spec, tips: Sequence[str], first: Sequence[Spec] = ()) -> Spec:
    encoding: Spec = {
        "x": x,
        "y": y,
        "color": {"field": "set", "type": "nominal", "title": None, "sort": None},
        "shape": {"field": "set", "type": "nominal", "title": None, "sort": None},
        "tooltip": _tips(tips),
    }
    stroke = {**encoding["color"], "legend": None}  # the points' legend shows colour and shape at once
    line = {"x": x, "y": y, "stroke": stroke}
    drawn = [
        *first,
        {"data": {"name": "points"}, "mark": {"type": "line", "tooltip": False}, "encoding": line},
        {
            "data": {"name": "points"},
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
            "encoding": encoding,
        },
    ]
    return _spec(height=280, layer=drawn)


def _share(field: str, title: str, largest: float | None = 100) -> Spec:
    scale: Spec = {} if largest is None else {"scale": {"domain": [0, largest]}}
    return {"field": field, "type": "quantitative", "title": title, **scale}


CONFUSION = "confusion score (0 to 1)"


def _confusion() -> Spec:
    """Return a confusion axis, with few enough ticks for a phone."""
    ticks = {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"}
    return {**_share("middle", CONFUSION, 1), "axis": ticks}


def _bins() -> Spec:
    return _two_sets(
        _confusion(),
        _share("accuracy", "accuracy (%)"),
        ["set", "confusion", "right", "answers", "accuracy %"],
    )


def _reliability() -> Spec:
    equal = {
        "data": {"values": [{"x": 0, "y": 0}, {"x": 100, "y": 100}]},
        "mark": {"type": "line", "style": "equal", "tooltip": False},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
        },
    }
    return _two_sets(
        _share("confidence", "mean confidence (%)"),
        _share("accuracy", "accuracy (%)"),
        ["set", "confidence %", "accuracy %", "answers"],
        [equal],
    )


def _matrix() -> Spec:
    label = {"labelLimit": 90, "ticks": False, "domain": False, "grid": False}
    axes = {
        "y": {"field": "true", "type": "nominal", "sort": None, "title": "true class", "axis": label},
        "x": {
            "field": "predicted",
            "type": "nominal",
            "sort": None,
            "title": "predicted class",
            "axis": {**label, "labelAngle": -40},
        },
        "tooltip": _tips(["true", "predicted", "answers", "share %"]),
    }
    cells = {
        "mark": {"type": "rect"},
        "encoding": {
            "color": {
                "field": "share",
                "type": "quantitative",
                "title": "% of the true class",
                "scale": {"domain": [0, 100], "range": "heatmap"},
                "legend": {"gradientLength": 160, "orient": "top"},
            },
        },
    }
    roomy = f"width >= {NUMBER_WIDTH} * classes && height >= {NUMBER_HEIGHT} * classes"
    numbers = {
        "mark": {"type": "text", "fontSize": 10},
        "transform": [{"filter": f"datum.share >= 0.5 && {roomy}"}],
        "encoding": {
            "text": {"field": "share", "type": "quantitative", "format": ".0f"},
        },
    }
    classes = {"name": "classes", "value": 0}  # the script says how many
    return _spec(height=340, params=[classes], data={"name": "points"}, encoding=axes, layer=[cells, numbers])


def _drop() -> Spec:
    zero = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "style": "zero", "tooltip": False},
        "encoding": {"y": {"field": "zero", "type": "quantitative"}},
    }
    bars = {
        "data": {"name": "points"},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {
                "field": "bin",
                "type": "nominal",
                "sort": None,
                "title": CONFUSION,
                "axis": {"labelAngle": -40},
            },
            "y": {"field": "lost", "type": "quantitative", "title": "adds to the drop (pp)"},
            "color": {"field": "part", "type": "nominal", "title": None, "sort": None},
            "tooltip": _tips(["bin", "part", "pp"]),
        },
    }
    return _spec(height=280, layer=[bars, zero])


def _histogram() -> Spec:
    spec = _two_sets(
        _confusion(),
        _share("share", "images (%)", None),
        ["set", "confusion", "images %"],
    )
    spec["layer"][0]["mark"]["interpolate"] = "step"
    return spec
