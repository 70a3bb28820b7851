"""Optimal transport to many classes: approximate, with bounds on the value from both sides.

The smoothed dual of `shiftcast.statistics.transport`, on what matters of each image: its larger
probabilities, and one level for all the others. Replacing probabilities below a limit by their mean moves no
worth by more than the limit, and the bounds are taken on the probabilities as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from shiftcast.util.blocks import in_order
from shiftcast.util.types import Floats, Integers

LEAST = 1e-4
"""Probabilities below this count with the others of their image."""
MOST = 64
"""Probabilities an image that are kept on average, at most; of flat ones the limit is higher."""
SAMPLE = 2000
"""Images that the limit is learned from."""
BLOCK = 1 << 18
"""Probabilities that are in work at once."""
START = 0.256
"""First smoothing."""
FALL = 4.0
"""By how much the next smoothing is smaller."""
BEHIND = 18.0
"""Smoothings by which a class is out of the question: its part would be 2e-8."""
REACH = 6.0
"""Smoothings by which a price may move in one step: beyond, the curvature says nothing."""
NARROW = 2_000_000
"""Probabilities above which the kept ones are float32: sums and bounds are float64 all the same."""
FIRST_STEPS = 2
"""Steps of Sinkhorn's at the first smoothing, where they almost solve the problem."""
STEPS, TRIES = 40, 8
ROUGH, FINE = 0.1, 0.01
"""How far a class may be from its share, as a part of it: on the way, and at the last smoothing."""
CELLS = 1 << 17
"""Kept probabilities whose choice is made at once."""
CURVING, CURVING_NARROW = 1e-4, 1e-3
"""Parts of an image below this are left out of the curvature, which only the direction depends on; of float32
below the second."""


@dataclass(frozen=True, eq=False)
class _Choice:
    """The smoothed choice of classes: image i gives `excess` to its kept classes, `tail[i] spread` to all."""

    value: float
    masses: Floats
    rows: NDArray[np.integer]
    classes: NDArray[np.integer]
    cells: Floats
    excess: Floats
    tail: Floats
    spread: Floats


class SparseTransport:
    """The smoothed dual on the larger probabilities of each image.

    Parameters
    ----------
    probabilities
        (m, K).
    shares
        Class shares q (K,), above 0 for the `wanted` classes and summing to one over them.
    wanted
        Classes that receive something, in order.
    """

    def __init__(self, probabilities: Floats, shares: Floats, wanted: Integers) -> None:
        self.probabilities, self.wanted = probabilities, wanted
        self.shares = shares[wanted] / shares[wanted].sum()
        self.images, self.classes = len(probabilities), len(wanted)
        self.prices = np.zeros(self.classes)
        self.eps = START * FALL
        self._keep(self._limit())

    def _block(self, start: int) -> Floats:
        block = self.probabilities[start : start + self._height].astype(np.float64, copy=False)
        return block if len(self.wanted) == block.shape[1] else block[:, self.wanted]

    @property
    def _height(self) -> int:
        return max(BLOCK // int(self.probabilities.shape[1]), 1)

    def _starts(self) -> range:
        return range(0, self.images, self._height)

    def _limit(self) -> float:
        """Return the probability from which on cells are kept, by a sample of images."""
        if self.classes <= MOST:
            return LEAST
        sample = self.probabilities[:: -(-self.images // SAMPLE)]
        return max(LEAST, float(np.quantile(sample, 1 - MOST / self.classes)))

    def _keep(self, limit: float) -> None:
        """Keep the cells (image, class) above the limit, each image's largest, and the mean of the others."""
        classes, values, counts, levels = [], [], [], []
        dtype = np.float32 if self.probabilities.size > NARROW else np.float64
        for start in self._starts():
            block = self._block(start)
            kept = block > limit
            kept[np.arange(len(block)), block.argmax(axis=1)] = True
            rows, columns = np.nonzero(kept)
            cells = block[rows, columns]
            number = np.bincount(rows, minlength=len(block))
            left = block.sum(axis=1) - np.bincount(rows, weights=cells, minlength=len(block))
            classes.append(columns.astype(np.int32))
            values.append(cells.astype(dtype, copy=False))
            counts.append(number)
            full = number == self.classes
            levels.append(np.where(full, -np.inf, np.maximum(left, 0) / np.maximum(self.classes - number, 1)))
        self.cell_classes, self.cells = np.concatenate(classes), np.concatenate(values)
        self.levels, count = np.concatenate(levels).astype(dtype, copy=False), np.concatenate(counts)
        self.cell_rows = np.repeat(np.arange(self.images, dtype=np.int32), count)
        self.first_cells = np.cumsum(count) - count
        edges = np.searchsorted(self.first_cells, np.arange(0, len(self.cells), CELLS))
        self.parts = [slice(a, b) for a, b in pairwise([*edges.tolist(), self.images]) if a < b]

    def solve(self, eps: float) -> Floats:
        """Return the prices of the wanted classes at a smoothing, by way of the larger ones to come."""
        while self.eps > eps * (1 + 1e-9):
            first = self.eps > START
            self.eps = max(self.eps / FALL, eps)
            self._newton(FIRST_STEPS if first else 0, FINE if self.eps == eps else ROUGH)
        return self.prices

    def _choose(self, prices: Floats) -> _Choice:
        """Return the smoothed dual and choice at some prices."""
        spread = np.exp((prices.min() - prices) / self.eps)
        some = partial(self._choose_some, prices, float(spread.sum()), spread.astype(self.cells.dtype))
        parts = in_order(some, self.parts)
        value = sum(part.value for part in parts)
        masses: Floats = np.add.reduce([part.masses for part in parts], axis=0)
        rows, classes, cells, excess, tail = (
            np.concatenate([getattr(part, key) for part in parts])
            for key in ("rows", "classes", "cells", "excess", "tail")
        )
        return _Choice(
            value / self.images + float(self.shares @ prices),
            (masses + spread * tail.sum()) / self.images,
            rows,
            classes,
            cells,
            excess,
            tail,
            spread,
        )

    def _choose_some(self, prices: Floats, total: float, spread: Floats, images: slice) -> _Choice:
        """Return the same of a few images: sums instead of means, and without what the tail gives."""
        starts = self.first_cells[images]
        own = slice(starts[0], self.first_cells[images.stop] if images.stop < self.images else None)
        outer = self.levels[images] - prices.min()  # what the best of the others is worth, or a little less
        all_rows, all_classes = self.cell_rows[own] - images.start, self.cell_classes[own]
        ahead = self.cells[own] - prices.astype(self.cells.dtype)[all_classes]
        best = np.maximum(np.maximum.reduceat(ahead, starts - starts[0]), outer)
        ahead -= best.astype(ahead.dtype)[all_rows]
        near = np.flatnonzero(ahead > -BEHIND * self.eps)
        rows, classes = all_rows[near], all_classes[near]
        excess = np.exp(ahead[near] / self.eps)
        tail = np.exp((outer - best) / self.eps)
        excess -= tail.astype(excess.dtype)[rows] * spread[classes]
        np.maximum(excess, 0.0, out=excess)
        sums = tail * total + np.bincount(rows, weights=excess, minlength=len(tail))
        excess /= sums.astype(excess.dtype)[rows]
        masses = np.asarray(np.bincount(classes, excess, minlength=self.classes), dtype=np.float64)
        value, cells = float((best + self.eps * np.log(sums)).sum()), self.cells[own][near]
        return _Choice(value, masses, rows + images.start, classes, cells, excess, tail / sums, spread)

    def _newton(self, first: int, enough: float) -> None:
        """Move the prices until no class is farther from its share than a part of it (Levenberg's steps)."""
        least, damping = np.maximum(self.shares, 0.1 / self.classes), 0.0
        chosen = self._choose(self.prices)
        for _ in range(first):
            self.prices = self.prices + self.eps * np.log(np.maximum(chosen.masses, 1e-12) / self.shares)
            chosen = self._choose(self.prices)
        for _ in range(STEPS):
            gradient = self.shares - chosen.masses
            if (np.abs(gradient) <= enough * least).all():
                return
            curvature = self._curvature(chosen)
            diagonal = np.diag(curvature).copy()
            for _ in range(TRIES):
                np.fill_diagonal(curvature, diagonal * (1 + damping) + 1e-10 * diagonal.mean())
                step = _solved(curvature, -gradient)
                step = np.clip(step - step.mean(), -REACH * self.eps, REACH * self.eps)
                tried = self._choose(self.prices + step)
                if tried.value <= chosen.value + 1e-15:
                    break
                damping = max(10 * damping, 1e-2)
            else:
                return
            damping = damping / 10 if damping > 1e-6 else 0.0
            self.prices, chosen = self.prices + step, tried

    def _curvature(self, chosen: _Choice) -> Floats:
        """Return the second derivative of the smoothed dual (K, K), and what makes constants count."""
        large = chosen.excess > (CURVING_NARROW if chosen.excess.dtype == np.float32 else CURVING)
        cells = chosen.excess[large].astype(np.float32)
        parts = csr_array(
            (cells, (chosen.rows[large], chosen.classes[large])), shape=(self.images, self.classes)
        )
        gram: Floats = (parts.T @ parts).toarray(order="C").astype(np.float64)
        across = np.outer(chosen.spread, parts.T @ chosen.tail.astype(np.float32))
        gram += across + across.T + np.outer(chosen.spread, chosen.spread) * (chosen.tail @ chosen.tail)
        gram *= -1 / (self.images * self.eps)
        gram[np.diag_indices(self.classes)] += chosen.masses / self.eps
        gram += np.trace(gram) / self.classes**2
        return gram

    def bounds(self) -> tuple[float, float]:
        """Return an upper and a lower bound on the value, on all probabilities.

        Above is the dual without smoothing. Below is a coupling made of the smoothed choice: classes that
        received too much are scaled down, and what is then left of images and classes is joined in
        proportion (Altschuler, Weed & Rigollet 2017).
        """
        chosen = self._choose(self.prices)
        factors = np.minimum(self.shares / np.maximum(chosen.masses, 1e-300), 1.0)
        excess, spread = chosen.excess * factors[chosen.classes], chosen.spread * factors
        given = np.bincount(chosen.rows, weights=excess, minlength=self.images) + chosen.tail * spread.sum()
        left = np.maximum(1 - given, 0.0)
        upper, joined = 0.0, np.zeros(self.classes)
        lower = float(excess @ chosen.cells.astype(np.float64, copy=False))
        for start in self._starts():
            block = self._block(start)
            here = slice(start, start + len(block))
            upper += float((block - self.prices).max(axis=1).sum())
            lower += float(chosen.tail[here] @ (block @ spread))
            joined += left[here] @ block
        if (total := float(left.sum())) > 0:
            lacking = np.maximum(self.shares - chosen.masses * factors, 0.0)
            lower += float(joined @ lacking) * self.images / total
        return upper / self.images + float(self.shares @ self.prices), lower / self.images

    def gains(self) -> Floats:
        """Return max_k (p_ik - u_k) of each image (m,)."""
        return np.concatenate([(self._block(start) - self.prices).max(axis=1) for start in self._starts()])


def _solved(curvature: Floats, slope: Floats) -> Floats:
    """Return the solution of a system that is almost always positive definite."""
    try:
        step: Floats = cho_solve(cho_factor(curvature, lower=True, check_finite=False), slope)
    except np.linalg.LinAlgError:  # parts that are left out of the curvature count where it is nearly flat
        step = np.asarray(np.linalg.solve(curvature, slope), dtype=np.float64)
    return step
