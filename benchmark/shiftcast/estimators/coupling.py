"""Optimal transport from predicted probabilities to class shares: exact, or bounded from both sides.

The largest sum_ik pi_ik p_ik over couplings pi with rows 1/m and columns q_k. Its dual puts a price
on every class: min over u of q.u + 1/m sum_i max_k (p_ik - u_k). The dual is first smoothed (the
maximum by eps log-sum-exp) and solved by Newton's method for falling eps, at a cost of one pass
over the images a step. Prices then tell where almost every image goes; the few that hesitate are a
small linear programme, and its own prices prove that the whole is solved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Floats, Integers

EXACT_CLASSES = 100
"""Up to this many classes the solution is exact; above, it carries its gap."""
EXACT_GAP = 1e-10
LARGE_GAP = 1e-5
SMOOTH = 1e-3
"""Smoothing at which prices are unique and steady: those by which images are told apart."""
SMALLEST = 1e-7
START = 0.256
FALL = 4.0
STEPS = 40
STEEPNESS = 1e-11
"""How far a class may be from its share where prices must be steady."""
ROUGH = 1e-4
"""How far it may be elsewhere: what is left of it is settled exactly."""
COARSE = 3e-3
FEW = 1000
"""Images that are enough above the coarse smoothing."""
BLOCK = 1 << 21
"""Numbers that are in work at once."""


@dataclass(frozen=True, eq=False)
class Transport:
    """A solved transport.

    Parameters
    ----------
    value
        The largest coupled probability, in [0, 1]: exact, or the upper end where `gap` says so.
    gap
        Upper minus lower bound on the value.
    prices
        Price of each class (K,) at smoothing 1e-3, with mean 0 by class share; infinite where q is 0.
    gains
        What each image is worth at those prices (m,), max_k (p_ik - u_k): up to the smoothing its
        coupled probability plus what it costs others. Its mean is the value, up to the smoothing.
    """

    value: float
    gap: float
    prices: Floats
    gains: Floats


def transport(probabilities: Floats, shares: Floats) -> Transport:
    """Return the best coupling of images with classes of given shares.

    Parameters
    ----------
    probabilities
        (m, K), each row summing to one.
    shares
        Class shares q (K,), summing to one; a class of share 0 receives nothing.

    Raises
    ------
    InvalidInputError
        If shapes do not match, or shares are no shares.
    """
    q = np.asarray(shares, dtype=np.float64)
    if probabilities.ndim != 2 or q.shape != probabilities.shape[1:]:
        raise InvalidInputError(
            f"transport: expected probabilities (m, K) and shares (K,), got {probabilities.shape} "
            f"and {q.shape}"
        )
    if not (q.min() >= 0 and abs(float(q.sum()) - 1) <= 1e-9):
        raise InvalidInputError(f"transport: expected class shares that sum to one, got sum {q.sum():.9g}")
    wanted = np.flatnonzero(q > 0)
    columns, q_wanted = np.ascontiguousarray(probabilities[:, wanted].T), q[wanted]
    problem = _Smoothed(columns, q_wanted)
    smooth = problem.solve(SMOOTH)
    exact = len(wanted) <= EXACT_CLASSES
    value, gap = (_exact if exact else _bounded)(problem, smooth)
    prices = np.full(len(q), np.inf)
    prices[wanted] = smooth - float(q_wanted @ smooth)
    return Transport(min(max(value, 0.0), 1.0), gap, prices, problem.gains(prices[wanted]))


class _Smoothed:
    """The dual with its maximum replaced by a log-sum-exp; probabilities come as columns (K, m)."""

    def __init__(self, columns: Floats, shares: Floats) -> None:
        self.columns, self.shares = columns, shares
        self.classes, self.images = len(columns), int(columns.shape[1])
        self.prices = np.zeros(self.classes)
        self.eps = START * FALL

    def solve(self, eps: float) -> Floats:
        """Return the prices at a smoothing, by way of every larger one that is still to come."""
        while self.eps > eps * (1 + 1e-9):
            self.eps = max(self.eps / FALL, eps)
            self._newton(self._enough())
        return self.prices.copy()

    def _enough(self) -> float:
        """How far a class may be from its share at the present smoothing."""
        if self.classes > EXACT_CLASSES:  # what is not in its place counts into the gap
            return (100 * ROUGH if self.eps > SMOOTH else LARGE_GAP) / self.classes
        return STEEPNESS if self.eps == SMOOTH else ROUGH

    def _newton(self, enough: float) -> None:
        """Move the prices until no class is farther than `enough` from its share."""
        value, masses = self._passes(self.prices)
        damping = 0.0
        for _ in range(STEPS):
            gradient = self.shares - masses
            if np.abs(gradient).max() <= enough:
                return
            hessian = self._curvature(self.prices, masses)
            scale = float(np.trace(hessian)) / self.classes
            while True:
                lift = (damping + 1e-10) * scale * np.eye(self.classes)
                step = -np.asarray(
                    np.linalg.solve(hessian + scale / self.classes + lift, gradient), dtype=np.float64
                )
                length, slope = 1.0, float(gradient @ step)
                found = self._shorter(value, step, slope)
                if found is not None or damping > 1e3:
                    break
                damping = max(10 * damping, 1e-3)
            if found is None:
                return
            length, new_value, new_masses = found
            damping = damping / 10 if length == 1.0 else max(damping, 1e-6)
            worse = np.abs(self.shares - new_masses).max() >= np.abs(gradient).max()
            if value - new_value <= 1e-15 and worse:
                return
            self.prices, value, masses = self.prices + length * step, new_value, new_masses

    def _shorter(self, value: float, step: Floats, slope: float) -> tuple[float, float, Floats] | None:
        """Return the first of shorter and shorter steps that lowers the dual enough, and what it gives."""
        length = 1.0
        while length > 1e-4:
            new_value, masses = self._passes(self.prices + length * step)
            if new_value <= value + 0.25 * length * slope + 1e-15:
                return length, new_value, masses
            length /= 2
        return None

    def _soft(self, block: Floats, prices: Floats) -> tuple[Floats, float]:
        """Return the smoothed choice of classes (K, b) of a block, and the sum of its smoothed maxima."""
        reduced = block - prices[:, None]
        highest = reduced.max(axis=0)
        reduced -= highest
        reduced /= self.eps
        np.exp(reduced, out=reduced)
        sums = reduced.sum(axis=0)
        reduced /= sums
        return reduced, float(highest.sum()) + self.eps * float(np.log(sums).sum())

    def _passes(self, prices: Floats) -> tuple[float, Floats]:
        """Return the smoothed dual and the mass of each class, in one pass over the images."""
        total, masses = 0.0, np.zeros(self.classes)
        for block in self._blocks():
            soft, part = self._soft(block, prices)
            total += part
            masses += soft.sum(axis=1)
        images = self._present().shape[1]
        value: float = total / images + float(self.shares @ prices)
        return value, masses / images

    def _curvature(self, prices: Floats, masses: Floats) -> Floats:
        """Return the second derivative of the smoothed dual (K, K)."""
        gram = np.zeros((self.classes, self.classes))
        for block in self._blocks():
            soft, _ = self._soft(block, prices)
            if self.classes > EXACT_CLASSES:  # half the time, and only the direction depends on it
                narrow = soft.astype(np.float32)
                gram += narrow @ narrow.T
            else:
                gram += soft @ soft.T
        hessian: Floats = (np.diag(masses) - gram / self._present().shape[1]) / self.eps
        return hessian

    def _blocks(self) -> list[Floats]:
        columns, width = self._present(), max(BLOCK // self.classes, 1)
        return [columns[:, start : start + width] for start in range(0, columns.shape[1], width)]

    def _present(self) -> Floats:
        """Return the images in use: some of them while the prices are still far from where they will be."""
        step = self.images // max(FEW, 10 * self.classes)
        return self.columns[:, ::step] if self.eps > COARSE and step > 1 else self.columns

    def gains(self, prices: Floats) -> Floats:
        """Return max_k (p_ik - u_k) of each image (m,)."""
        return np.concatenate([(block - prices[:, None]).max(axis=0) for block in self._blocks()])

    def dual(self, prices: Floats) -> float:
        """Return the dual without smoothing: an upper bound on the value, whatever the prices."""
        mean = float(self.gains(prices).mean())
        return mean + float(self.shares @ prices)

    def primal(self) -> float:
        """Return the value of a coupling made from the smoothed one: a lower bound.

        Classes that received too much are scaled down, and what is then left of images and classes
        is joined in proportion (Altschuler, Weed & Rigollet 2017).
        """
        _, masses = self._passes(self.prices)
        factors = np.minimum(self.shares / np.maximum(masses, 1e-300), 1.0)
        kept, lacking, value, joined = 0.0, self.shares - masses * factors, 0.0, np.zeros(self.classes)
        for block in self._blocks():
            reduced = (block - self.prices[:, None]) / self.eps
            reduced -= reduced.max(axis=0)
            np.exp(reduced, out=reduced)
            reduced *= factors[:, None] / reduced.sum(axis=0)
            left = np.maximum(1 - reduced.sum(axis=0), 0.0)
            value += float((reduced * block).sum())
            joined += block @ left
            kept += float(left.sum())
        if kept > 0:
            value += float(joined @ np.maximum(lacking, 0.0)) * self.images / kept
        bound: float = value / self.images
        return bound


def _bounded(problem: _Smoothed, prices: Floats) -> tuple[float, float]:
    """Return the value from above and its gap, smoothing less until the gap is 1e-5."""
    while True:
        upper, lower = problem.dual(prices), problem.primal()
        if upper - lower <= LARGE_GAP or problem.eps <= SMALLEST:
            return upper, max(upper - lower, 0.0)
        prices = problem.solve(problem.eps / FALL)


def _exact(problem: _Smoothed, prices: Floats) -> tuple[float, float]:
    """Return the exact value: almost every image goes where the prices send it, the rest is solved.

    Cells (image, class) whose worth is close to the image's best are open. Images with one open
    cell go there, those with several make a linear programme, and cells that would be worth more at
    its prices are opened until there are none: then no coupling whatever is worth more.
    """
    prices = problem.solve(SMOOTH / FALL**2)
    columns, everyone = problem.columns, np.arange(problem.images)
    worth = columns - prices[:, None]
    home = worth.argmax(axis=0)
    behind = worth[home, everyone] - worth
    margin = 30 * problem.eps
    opened = behind <= margin
    while True:
        solved = _settle(problem, home, opened)
        if solved is None and opened.all():
            raise InvalidInputError("transport: the linear programme found no solution")
        if solved is None:  # too many images had nowhere else to go
            margin *= 4
            opened |= behind <= margin
            continue
        value, prices = solved
        worth = columns - prices[:, None]
        best = np.where(opened, worth, -np.inf).max(axis=0)
        gap = float(worth.max(axis=0).mean() + problem.shares @ prices) - value
        better = worth > best
        if gap <= EXACT_GAP or not better.any():
            return value, max(gap, 0.0)
        opened |= better


def _settle(problem: _Smoothed, home: Integers, opened: NDArray[np.bool_]) -> tuple[float, Floats] | None:
    """Couple images with classes through open cells alone: value and prices, or None where no way is."""
    hesitant = np.count_nonzero(opened, axis=0) > 1
    sure = np.flatnonzero(~hesitant)
    room = problem.shares * problem.images - np.bincount(home[sure], minlength=problem.classes)
    if room.min() < -1e-9 * problem.images:
        return None
    value = float(problem.columns[home[sure], sure].sum())
    if not hesitant.any():
        return value / problem.images, problem.prices
    worths = np.where(opened, np.round(problem.columns, 12), -1.0)[:, hesitant]
    rows, copies = np.unique(worths.T, axis=0, return_counts=True)
    image, klass = np.nonzero(rows >= 0)
    cells, ones = np.arange(len(image)), np.ones(len(image))
    shape = (len(rows) + problem.classes, len(cells))
    sums = csr_array((np.tile(ones, 2), (np.r_[image, len(rows) + klass], np.tile(cells, 2))), shape=shape)
    room = np.maximum(room, 0.0)
    room *= copies.sum() / room.sum()
    found = linprog(
        -rows[image, klass],
        A_eq=sums,
        b_eq=np.r_[copies, room],
        bounds=(0, None),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not found.success:
        return None
    prices = -np.asarray(found.eqlin.marginals[len(rows) :])
    return (value - float(found.fun)) / problem.images, prices
