"""Bins of a value with equally many images: values that tie stay together, whatever the order of rows."""

from __future__ import annotations

import numpy as np

from shiftcast.errors import InvalidInputError
from shiftcast.util.types import Floats, Integers

DECIMALS = 9
"""Values are compared after rounding to 1e-9: equal ones may differ in their last bit."""


def mass_edges(values: Floats, bins: int) -> Floats:
    """Return the different largest values of the first bins (at most bins - 1,), ascending.

    Without ties each bin gets n / bins of the values (n,), to the next whole number.
    """
    levels = np.arange(1, bins) / bins
    edges: Floats = np.unique(np.quantile(np.round(values, DECIMALS), levels, method="inverted_cdf"))
    return edges


def mass_bins(values: Floats, edges: Floats) -> Integers:
    """Return each value's bin (n,) among the `len(edges) + 1` that `mass_edges` gives; edges belong below."""
    return np.searchsorted(edges, np.round(values, DECIMALS), side="left").astype(np.int64)


def at_least_one(what: str, value: object) -> None:
    """Refuse a number of bins or images that is none.

    Raises
    ------
    InvalidInputError
        If the value is no integer of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{what} must be an integer of at least 1, got {value!r}")
