"""Optimal transport from predicted probabilities to class shares: exact, or bounded from both sides.

The largest sum_ik pi_ik p_ik over couplings pi with rows 1/m and columns q_k. Its dual puts a price
on every class: min over u of q.u + 1/m sum_i max_k (p_ik - u_k). The dual is first smoothed (the
maximum by eps log-sum-exp) and solved by Newton's method for falling eps, at a cost of one pass
over the images a step. Prices then tell where almost every image goes; the few that hesitate are a
small linear programme, and its own prices prove that the whole is solved. For more than 100 classes,
`sparse_transport` bounds the value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csc_array

from shiftcast.errors import InvalidInputError
from shiftcast.statistics.sparse_transport import SparseTransport
from shiftcast.util.types import Floats, Integers

EXACT_CLASSES = 100
"""Up to this many classes the solution is exact; above, it carries its gap."""
EXACT_GAP = 1e-10
LARGE = 2_000_000
"""Probabilities (m K) above which a transport to more classes is settled for less."""
SMALL_GAP, LARGE_GAP = 1e-5, 1e-3
"""Gap at which no more is smoothed away, for more than `EXACT_CLASSES` classes."""
STALLED = 0.9
"""Part of the last gap that is left where less smoothing is of no more use."""
SMOOTH = 1e-3
"""Smoothing at which prices are unique and steady: those by which images are told apart."""
LARGE_SMOOTH = 4 * SMOOTH
"""The same for large transports to more than `EXACT_CLASSES` classes."""
FINAL = SMOOTH / 4
"""Smoothing at which the few images that still hesitate are settled exactly."""
OPEN = 20.0
"""Smoothings by which a class may be behind and still be one that an image could go to."""
MANY = 25
"""Images a class that a linear programme settles in no time."""
SMALLEST = 1e-9
NOTHING = 1e-12
"""Shares below this are none: they could not change the twelfth digit."""
START, FALL = 0.08, 5.0
"""First smoothing, and by how much the next one is smaller."""
STEPS = 40
STEEPNESS = 1e-13
"""How far a class may be from its share where prices must be steady."""
ROUGH = 1e-3
"""How far it may be elsewhere: what is left of it is settled exactly."""
COARSE = 1e-2
FEW = 1000
"""Images that are enough above the coarse smoothing, for few classes."""
TRUST = 6.0
"""How many of the last smoothings prices may move before images are chosen anew."""
SURE = 32.0
"""Smoothings by which a class must be ahead to be an image's only one: what is left is 1e-14."""
NARROW = 10_000_000
"""Numbers above which the work is done in float32."""
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
        Price of each class (K,), with mean 0 by class share; infinite where q is 0. At smoothing 1e-3, or
        4e-3 for more than 100 classes and 2,000,000 probabilities.
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
    q, wanted = _checked("transport", probabilities, shares)
    solved = _exact_transport if len(wanted) <= EXACT_CLASSES else _bounded_transport
    return solved(probabilities, q, wanted)


def transport_prices(probabilities: Floats, shares: Floats) -> Floats:
    """Return `Transport.prices` (K,) alone, in half the time; arguments as for `transport`."""
    q, wanted = _checked("transport_prices", probabilities, shares)
    if len(wanted) > EXACT_CLASSES:
        return _centred(SparseTransport(probabilities, q, wanted).solve(_smoothing(probabilities)), q, wanted)
    return _centred(_smoothed(probabilities, q, wanted).solve(SMOOTH), q, wanted)


def _checked(what: str, probabilities: Floats, shares: Floats) -> tuple[Floats, Integers]:
    """Return class shares, and the classes that receive something."""
    q = np.asarray(shares, dtype=np.float64)
    if probabilities.ndim != 2 or q.shape != probabilities.shape[1:]:
        raise InvalidInputError(
            f"{what}: expected probabilities (m, K) and shares (K,), got {probabilities.shape} and {q.shape}"
        )
    if not (q.min() >= 0 and abs(float(q.sum()) - 1) <= 1e-9):
        raise InvalidInputError(f"{what}: expected class shares that sum to one, got sum {q.sum():.9g}")
    return q, np.flatnonzero(q > NOTHING)


def _smoothed(probabilities: Floats, shares: Floats, wanted: Integers) -> _Smoothed:
    kept = probabilities if len(wanted) == len(shares) else probabilities[:, wanted]
    return _Smoothed(np.ascontiguousarray(kept.T), shares[wanted] / shares[wanted].sum())


def _smoothing(probabilities: Floats) -> float:
    return LARGE_SMOOTH if probabilities.size > LARGE else SMOOTH


def _exact_transport(probabilities: Floats, shares: Floats, wanted: Integers) -> Transport:
    problem = _smoothed(probabilities, shares, wanted)
    smooth = problem.solve(SMOOTH)
    value, gap = _exact(problem, smooth)
    prices = _centred(smooth, shares, wanted)
    return Transport(min(max(value, 0.0), 1.0), gap, prices, problem.gains(prices[wanted]))


def _bounded_transport(probabilities: Floats, shares: Floats, wanted: Integers) -> Transport:
    """Return the value from above and its gap, smoothing less until the gap is small enough."""
    enough = LARGE_GAP if probabilities.size > LARGE else SMALL_GAP
    problem = SparseTransport(probabilities, shares, wanted)
    smooth, gains = problem.solve(_smoothing(probabilities)), problem.gains()
    upper, lower = problem.bounds()
    while upper - lower > enough and problem.eps > SMALLEST:
        problem.solve(problem.eps / 4)
        (high, low), last = problem.bounds(), upper - lower
        upper, lower = min(upper, high), max(lower, low)
        if upper - lower > STALLED * last:
            break
    prices = _centred(smooth, shares, wanted)
    shift = float(np.mean(smooth - prices[wanted]))
    return Transport(min(max(upper, 0.0), 1.0), max(upper - lower, 0.0), prices, gains + shift)


def _centred(prices: Floats, shares: Floats, wanted: Integers) -> Floats:
    """Return prices (K,) with mean 0 by class share, infinite for classes that are not wanted."""
    q = shares[wanted] / shares[wanted].sum()
    centred = np.full(len(shares), np.inf)
    centred[wanted] = prices - float(q @ prices)
    return centred


def sent_probabilities(probabilities: Floats, prices: Floats) -> Floats:
    """Return each image's probability of the class that it is sent to (m,).

    The mean of p_ik under softmax_k((p_ik - u_k) / 1e-3): where two classes tie, the image is sent to both.

    Parameters
    ----------
    probabilities, prices
        (m, K) and `Transport.prices` (K,).
    """
    parts = []
    rows, many = max(BLOCK // len(prices), 1), len(prices) > EXACT_CLASSES
    for start in range(0, len(probabilities), rows):
        block = probabilities[start : start + rows]
        worth = (block - prices) / SMOOTH
        worth -= worth.max(axis=1, keepdims=True)
        if many:  # almost all of a thousand are far behind, and exp is slow
            parts.append(_sparse_means(block, worth))
            continue
        choice = np.exp(worth)
        parts.append((choice * block).sum(axis=1) / choice.sum(axis=1))
    return np.concatenate(parts)


def _sparse_means(values: Floats, log_weights: Floats) -> Floats:
    """Return the mean of each row of values (b, K), without those of which the weight is below 1e-15."""
    rows, columns = np.nonzero(log_weights > -SURE)
    weights = np.exp(log_weights[rows, columns])
    sums = np.bincount(rows, weights=weights * values[rows, columns], minlength=len(values))
    return sums / np.bincount(rows, weights=weights, minlength=len(values))


class _Smoothed:
    """The dual with its maximum replaced by a log-sum-exp; probabilities come as columns (K, m).

    Only images that hesitate are in work: where the best class is ahead by far more than the
    smoothing, the smoothed choice is that class, and all that is kept of the image is a count.
    """

    def __init__(self, columns: Floats, shares: Floats) -> None:
        self.columns, self.shares = columns, shares
        self.classes, self.images = len(columns), int(columns.shape[1])
        self.prices = np.zeros(self.classes)
        self.eps = FALL * START
        self.work: NDArray[np.floating] = columns
        self.total = self.images
        self.settled, self.settled_worth = np.zeros(self.classes), 0.0
        self.ones_and_places = np.stack([np.ones(self.classes), np.arange(self.classes)]).astype(np.float32)
        self.places: Integers | None = None
        self.lead = 0.0
        self.latest: tuple[Any, float, bytes, tuple[NDArray[np.floating], float]] | None = None

    def solve(self, eps: float) -> Floats:
        """Return the prices at a smoothing, by way of every larger one that is still to come."""
        while self.eps > eps * (1 + 1e-9):
            self.trust = TRUST * self.eps
            self.eps = max(self.eps / FALL, eps)
            self._take()
            self._newton(self._enough())
        return self.prices.copy()

    def _subsampled(self) -> bool:
        return self.eps > COARSE and self.images >= 2 * FEW

    def _take(self) -> None:
        """Put images in work: some while prices are far from where they will be, then those that hesitate.

        An image may be left out as long as no price moves by more than `trust` from `anchor`.
        """
        self.anchor = self.prices
        self.work, self.total = self.columns, self.images
        margin = SURE * self.eps + 2 * self.trust
        if self._subsampled():
            self.work = np.ascontiguousarray(self.columns[:, :: self.images // FEW])
            self.total = self.work.shape[1]
        elif margin < 1:
            self.work = np.take(self.columns, self._settle_sure(margin), axis=1)
        # twice as fast, and prices are far from settled while so much is open
        kind = np.float32 if self.work.size > NARROW else np.float64
        self.work = self.work.astype(kind, copy=False)

    def _settle_sure(self, margin: float) -> Integers:
        """Return the places of images with two classes within a margin, and settle the others.

        Those that an earlier, wider margin has settled are ahead by `lead` still: since then prices have
        moved by `trust` at most, which their margin held twice.
        """
        if self.places is None or self.lead < margin:
            self.places = np.arange(self.images)
            self.settled, self.settled_worth = np.zeros(self.classes), 0.0
        hesitant = []
        width = max(BLOCK // self.classes, 1)
        for start in range(0, len(self.places), width):
            places = self.places[start : start + width]
            block = self.columns if len(places) == self.images else np.take(self.columns, places, axis=1)
            _, counts, homes = self.open(block - self.prices[:, None], margin)
            clear = counts == 1
            sure, home = places[clear], homes[clear]
            self.settled += np.bincount(home, minlength=self.classes)
            self.settled_worth += float(self.columns[home, sure].sum(dtype=np.float64))
            hesitant.append(places[~clear])
        self.places = np.concatenate([self.places[:0], *hesitant])
        self.lead = SURE * self.eps
        return self.places

    def open(self, worth: Floats, margin: float) -> tuple[NDArray[np.bool_], Integers, Integers]:
        """Return which cells are close to their image's best, how many, and which where it is one (m,)."""
        opened = worth >= worth.max(axis=0) - margin
        # a product is many times faster than counting or searching along the first axis
        both = self.ones_and_places @ opened.astype(np.float32)
        counts, homes = both.astype(np.int64)
        return opened, counts, homes

    def _enough(self) -> float:
        """How far a class may be from its share at the present smoothing."""
        return STEEPNESS if self.eps == SMOOTH else ROUGH

    def _newton(self, enough: float) -> None:
        """Move the prices until no class is farther than `enough` from its share."""
        value, masses = self._passes(self.prices)
        damping = 0.0
        for _ in range(STEPS):
            gradient = self.shares - masses
            if np.abs(gradient).max() <= enough:
                return
            step = self._step(gradient, masses, damping)
            length = self._room(step)
            if length < 1 and self.prices is not self.anchor:
                self._take()
                value, masses = self._passes(self.prices)
                length = self._room(step)
            found = self._shorter(value, step, float(gradient @ step), length)
            if found is None:
                if damping > 1e3:
                    return
                damping = max(10 * damping, 1e-3)
                continue
            taken, new_value, new_masses = found
            damping = damping / 10 if taken == length else max(damping, 1e-6)
            worse = np.abs(self.shares - new_masses).max() >= np.abs(gradient).max()
            if value - new_value <= 1e-15 and worse:
                return
            self.prices, value, masses = self.prices + taken * step, new_value, new_masses

    def _step(self, gradient: Floats, masses: Floats, damping: float) -> Floats:
        """Return Newton's step, with mean 0: prices count up to a constant."""
        hessian = self._curvature(self.prices, masses)
        diagonal = hessian.ravel()[:: self.classes + 1]
        scale = float(diagonal.sum()) / self.classes
        hessian += scale / self.classes
        diagonal += max((damping + 1e-10) * scale, 1e-12)
        step: Floats = np.asarray(np.linalg.solve(hessian, -gradient), dtype=np.float64)
        step -= step.mean()
        return step

    def _room(self, step: Floats) -> float:
        """Return how much of a step the images that were left out allow, at most 1."""
        if self.work is self.columns or self.total < self.images:
            return 1.0
        moved = self.prices - self.anchor
        ahead = np.where(step > 0, self.trust - moved, self.trust + moved) / np.maximum(np.abs(step), 1e-300)
        return min(1.0, max(float(ahead.min()), 0.0))

    def _shorter(
        self, value: float, step: Floats, slope: float, length: float
    ) -> tuple[float, float, Floats] | None:
        """Return the first of shorter and shorter steps that lowers the dual enough, and what it gives."""
        least = 1e-5 * length
        while length > least:
            new_value, masses = self._passes(self.prices + length * step)
            if new_value <= value + 0.25 * length * slope + 1e-15:
                return length, new_value, masses
            # A slope that rises evenly comes to 0 there; one that does not fall at first has no such point.
            end = float((self.shares - masses) @ step)
            length *= min(max(slope / (slope - end), 0.1), 0.7) if slope < 0 < end else 0.5
        return None

    def _soft(self, block: NDArray[np.floating], prices: Floats) -> tuple[NDArray[np.floating], float]:
        """Return the smoothed choice of classes (K, b) of a block, and the sum of its smoothed maxima."""
        reduced = block - prices[:, None].astype(block.dtype)
        highest = reduced.max(axis=0)
        reduced -= highest
        reduced *= 1 / self.eps
        np.exp(reduced, out=reduced)
        sums = reduced.sum(axis=0)
        reduced *= 1 / sums
        value = float(highest.sum(dtype=np.float64)) + self.eps * float(np.log(sums).sum(dtype=np.float64))
        return reduced, value

    def _choices(self, prices: Floats) -> Iterator[tuple[NDArray[np.floating], float]]:
        """Yield what `_soft` gives for each block in work; of a single block the latest answer is kept."""
        blocks = self._blocks(self.work)
        if len(blocks) > 1:
            yield from (self._soft(block, prices) for block in blocks)
            return
        wanted = (self.work, self.eps, prices.tobytes())
        if self.latest is None or self.latest[0] is not wanted[0] or self.latest[1:3] != wanted[1:]:
            self.latest = (*wanted, self._soft(self.work, prices))
        yield self.latest[3]

    def _passes(self, prices: Floats) -> tuple[float, Floats]:
        """Return the smoothed dual and the mass of each class, in one pass over the images in work."""
        total, masses = self.settled_worth - float(self.settled @ prices), self.settled.copy()
        for soft, part in self._choices(prices):
            total += part
            masses += soft.sum(axis=1, dtype=np.float64)
        value: float = total / self.total + float(self.shares @ prices)
        return value, masses / self.total

    def _curvature(self, prices: Floats, masses: Floats) -> Floats:
        """Return the second derivative of the smoothed dual (K, K)."""
        gram = np.zeros((self.classes, self.classes))
        for soft, _ in self._choices(prices):
            gram += soft @ soft.T
        gram *= -1 / (self.total * self.eps)
        gram.ravel()[:: self.classes + 1] += (masses - self.settled / self.total) / self.eps
        return gram

    def _blocks(self, columns: NDArray[Any]) -> list[NDArray[Any]]:
        width = max(BLOCK // self.classes, 1)
        return [columns[:, start : start + width] for start in range(0, columns.shape[1], width)]

    def gains(self, prices: Floats) -> Floats:
        """Return max_k (p_ik - u_k) of each image (m,)."""
        return np.concatenate([(block - prices[:, None]).max(axis=0) for block in self._blocks(self.columns)])


def _exact(problem: _Smoothed, prices: Floats) -> tuple[float, float]:
    """Return the exact value: almost every image goes where the prices send it, the rest is solved.

    Cells (image, class) whose worth is close to the image's best are open. Images with one open
    cell go there, those with several make a linear programme, and cells that would be worth more at
    its prices are opened until there are none: then no coupling whatever is worth more.
    """
    columns: Floats = problem.columns
    everyone = np.arange(problem.images)
    while True:
        prices = problem.solve(min(FINAL, problem.eps / FALL))
        margin = OPEN * problem.eps
        # All others are ahead by SURE smoothings, more than OPEN: they have one open cell.
        places = everyone if problem.places is None else problem.places
        opened, counts, home = problem.open(np.take(columns, places, axis=1) - prices[:, None], margin)
        if np.count_nonzero(counts > 1) <= MANY * problem.classes or problem.eps <= SMALLEST:
            break
    cleared = prices
    while True:
        solved = _settle(problem, places, home, opened)
        if solved is not None:
            value, prices = solved
            gap = float(problem.gains(prices).mean() + problem.shares @ prices) - value
            if gap <= EXACT_GAP:
                return value, max(gap, 0.0)
        if len(places) < problem.images:  # cells of others may be needed too
            places = everyone
            opened, _, home = problem.open(columns - cleared[:, None], margin)
        elif solved is None and opened.all():
            raise InvalidInputError("transport: the linear programme found no solution")
        elif solved is None:  # too many images had nowhere else to go
            margin *= 4
            opened |= problem.open(columns - cleared[:, None], margin)[0]
        else:
            reduced = columns - prices[:, None]
            better = reduced > np.where(opened, reduced, -np.inf).max(axis=0)
            if not better.any():
                return value, gap
            opened |= better


def _settle(
    problem: _Smoothed, places: Integers, home: Integers, opened: NDArray[np.bool_]
) -> tuple[float, Floats] | None:
    """Couple images with classes through open cells alone: value and prices, or None where no way is.

    `home` (p,) and `opened` (K, p) are of the images at `places`; the others go where the problem has
    settled them.
    """
    columns = np.take(problem.columns, places, axis=1)
    hesitant = opened.sum(axis=0, dtype=np.int16) > 1  # three times as fast as counting
    sure = np.flatnonzero(~hesitant)
    settled = np.bincount(home[sure], minlength=problem.classes).astype(np.float64)
    value = float(columns[home[sure], sure].sum(dtype=np.float64))
    if len(places) < problem.images:
        settled, value = settled + problem.settled, value + problem.settled_worth
    room = problem.shares * problem.images - settled
    if room.min() < -1e-9 * problem.images:
        return None
    if not hesitant.any():
        return value / problem.images, problem.prices
    worths = np.where(opened[:, hesitant], np.round(columns[:, hesitant].astype(np.float64), 12), -1.0)
    rows, copies = distinct_rows(worths.T)
    image, klass = np.nonzero(rows >= 0)
    room = np.maximum(room, 0.0)
    room *= copies.sum() / room.sum()
    last = int(room.argmax())  # what the roomiest class receives follows from the others, rounding and all
    # Each cell counts for its image and, unless that is the last one, for its class.
    counted = np.stack([image, len(rows) + klass - (klass > last)], axis=1)
    shown = np.stack([np.ones(len(image), dtype=bool), klass != last], axis=1)
    ends = np.r_[0, np.cumsum(shown.sum(axis=1))]
    shape = (len(rows) + problem.classes - 1, len(image))
    sums = csc_array((np.ones(ends[-1]), counted[shown], ends), shape=shape)
    found = linprog(
        -rows[image, klass],
        A_eq=sums,
        b_eq=np.r_[copies, np.delete(room, last)],
        bounds=(0, None),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not found.success:
        return None
    prices = np.insert(-np.asarray(found.eqlin.marginals[len(rows) :], dtype=np.float64), last, 0.0)
    return (value - float(found.fun)) / problem.images, prices


def distinct_rows(rows: Floats) -> tuple[Floats, Integers]:
    """Return the different rows of an array (n, K), and how often each occurs."""
    # bytes are compared: a fifth of the time of `numpy.unique(rows, axis=0)`
    whole = np.ascontiguousarray(rows)
    _, first, counts = np.unique(
        whole.view(f"V{whole.itemsize * whole.shape[1]}")[:, 0], return_index=True, return_counts=True
    )
    return whole[first], counts
