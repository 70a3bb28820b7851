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
        self.classes, self.images = columns.shape
        self.prices = np.zeros(self.classes)
        self.eps = START * FALL

    def solve(self, eps: float) -> Floats:
        """Return the prices at a smoothing, by way of every larger one that is still to come."""
        while self.eps > eps * (1 + 1e-9):
            self.eps = max(self.eps / FALL, eps)
            self._newton(STEEPNESS if self.eps == SMOOTH else ROUGH)
        return self.prices.copy()

    def _newton(self, enough: float) -> None:
        """Move the prices until no class is farther than `enough` from its share."""
        value, masses, hessian = self._passes(self.prices)
        damping = 0.0
        for _ in range(STEPS):
            gradient = self.shares - masses
            if np.abs(gradient).max() <= enough:
                return
            scale = float(np.trace(hessian)) / self.classes
            lifted = hessian + (scale / self.classes) + (damping + 1e-10) * scale * np.eye(self.classes)
            step = -np.linalg.solve(lifted, gradient)
            length, slope = 1.0, float(gradient @ step)
            while length > 1e-4:
                tried = self.prices + length * step
                new = self._passes(tried)
                if new[0] <= value + 0.25 * length * slope + 1e-15:
                    break
                length /= 2
            else:
                if damping > 1e3:
                    return
                damping = max(10 * damping, 1e-3)
                continue
            damping = damping / 10 if length == 1.0 else max(damping, 1e-6)
            stalled = value - new[0] <= 1e-15 and np.abs(self.shares - new[1]).max() >= np.abs(gradient).max()
            if stalled:
                return
            self.prices, (value, masses, hessian) = tried, new

    def _passes(self, prices: Floats) -> tuple[float, Floats, Floats]:
        """Return the smoothed dual, the mass of each class and the second derivative, in one pass."""
        total, masses = 0.0, np.zeros(self.classes)
        gram = np.zeros((self.classes, self.classes))
        for block in self._blocks():
            reduced = block - prices[:, None]
            highest = reduced.max(axis=0)
            reduced -= highest
            reduced /= self.eps
            np.exp(reduced, out=reduced)
            sums = reduced.sum(axis=0)
            total += float(highest.sum() + self.eps * np.log(sums).sum())
            reduced /= sums
            masses += reduced.sum(axis=1)
            gram += reduced @ reduced.T
        masses /= self.images
        hessian = (np.diag(masses) - gram / self.images) / self.eps
        return total / self.images + float(self.shares @ prices), masses, hessian

    def _blocks(self) -> list[Floats]:
        width = max(BLOCK // self.classes, 1)
        return [self.columns[:, start : start + width] for start in range(0, self.images, width)]

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
        _, masses, _ = self._passes(self.prices)
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
    prices = problem.solve(SMOOTH / FALL**3)
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
