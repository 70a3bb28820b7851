"""Whether parallel inputs have their classes in the order of the scored model's columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shiftcast.predictions import Predictions
from shiftcast.statistics.agreement import interchanged
from shiftcast.util.text import printable

OTHERS = (("reference", "--ensemble"), ("peers", "--peers"), ("siblings", "--siblings"))
"""Outputs of other models among predictions, and the options that give them."""
SHOWN = 6
"""Classes that are named at most."""


def about_class_order(source: Predictions, target: Predictions, names: Sequence[str] = ()) -> list[str]:
    """Return a warning for labels and for each input of other models in which classes look interchanged."""
    return [text for own in (source, target) for text in _about(own, names)]


def _about(own: Predictions, names: Sequence[str]) -> Iterator[str]:
    given = [("labels", None if own.labels is None else own.labels[None])]
    for key, option in OTHERS:
        others = getattr(own, key)
        given.append((option, others.argmax(axis=2) if key == "reference" and others is not None else others))
    for what, others in given:
        moved = {} if others is None else interchanged(own.predicted, others, own.classes)
        if moved:
            pairs = [f"{_called(k, names)} as {_called(j, names)}" for k, j in moved.items()]
            more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
            yield (
                f"{what}: classes look interchanged: what {own.name} puts into one is mostly another there "
                f"({', '.join(pairs[:SHOWN])}{more}); classes must be in the order of its columns"
            )


def _called(place: int, names: Sequence[str]) -> str:
    return printable(names[place], 40) if names else f"class {place}"
