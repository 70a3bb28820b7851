"""How long estimators take, on one core. Each bound is of the whole call, the best of a few."""

import json
import subprocess
import sys
import time

import numpy as np

from shiftcast.difficulty import difficulty
from shiftcast.estimators import Estimator, official_estimators, transport
from shiftcast.estimators.agreement import pairwise_agreement
from shiftcast.predictions import Predictions, softmax

QUICK = (
    *("NoShift", "AC", "DoC", "IM", "ATC-MC", "ATC-NE", "GDE", "ALine-S"),
    *("AgreementShift", "ConfusionPartition", "OwnLabelPartition", "OwnLabelPartition-mean"),
)


def best(call, times=3):
    found = float("inf")
    for _ in range(times):  # other work on the machine can only slow it down
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found


def predictions(seed, n=10_000, classes=10, members=20, peers=40):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    seen = np.eye(classes)[labels] * 3

    def logits():
        return seen + random.normal(size=(n, classes)) * 1.5

    return Predictions(
        f"p{seed}",
        logits(),
        labels=labels,
        reference=np.stack([softmax(logits()) for _ in range(members)]),
        peers=np.stack([logits().argmax(axis=1) for _ in range(peers)]),
        siblings=np.stack([logits().argmax(axis=1) for _ in range(2)]),
    )


def test_quick_estimators_together_take_half_a_second():
    source, target = predictions(0), predictions(1).without_labels()
    chosen: list[Estimator] = [official_estimators()[name] for name in QUICK]

    def everything():
        for estimator in chosen:
            estimator.fit(source).predict(target)

    seconds = best(everything)
    assert seconds < 0.5, f"{seconds:.3f} s"


def test_all_agreements_of_200_models_take_a_second():
    classes = np.random.default_rng(0).integers(0, 10, (200, 10_000))
    seconds = best(lambda: pairwise_agreement(classes))
    assert seconds < 1.0, f"{seconds:.3f} s"


def test_exact_transport_of_ten_thousand_images_takes_50_ms():
    probabilities = softmax(np.random.default_rng(0).normal(size=(10_000, 10)) * 3)
    seconds = best(lambda: transport(probabilities, np.full(10, 0.1)), 7)
    assert seconds < 0.05, f"{1000 * seconds:.1f} ms"


RATIOS = """
import json, time
import numpy as np
import ot
from threadpoolctl import threadpool_limits
from shiftcast.estimators import transport
from shiftcast.predictions import softmax

TRIES = 4  # how often a ratio of speeds is taken before it counts as too small

def best(call, times):
    found = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found

def problems():  # noise with equal classes, and a shifted set of a good network
    random = np.random.default_rng(0)
    yield softmax(random.normal(size=(10_000, 10)) * 3), np.full(10, 0.1)
    labels = random.integers(0, 10, 10_000)
    yield softmax(np.eye(10)[labels] * 4 + random.normal(size=(10_000, 10)) * 1.5), random.dirichlet([5] * 10)

said = []
for probabilities, shares in problems():
    images = np.full(len(probabilities), 1 / len(probabilities))
    cost = 1 - probabilities
    theirs = lambda: ot.emd2(images, shares, cost, numItermax=10**7)
    ours = lambda: transport(probabilities, shares)
    apart = abs(ours().value - (1 - theirs()))
    found = []
    while len(found) < TRIES and max(found, default=0.0) < 3:  # on a shared machine one may be slowed
        with threadpool_limits(1):
            turns = [(best(theirs, 1), best(ours, 3)) for _ in range(12)]  # in turn: speed drifts
        found.append(min(one for one, _ in turns) / min(other for _, other in turns))
    said.append({"apart": apart, "ratio": max(found)})
print(json.dumps(said))
"""


def test_transport_equals_that_of_pot_and_is_three_times_as_fast():
    """In a process of its own: one that has run a thousand tests allocates and collects more slowly."""
    done = subprocess.run([sys.executable, "-c", RATIOS], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"times as fast as POT: {[round(one['ratio'], 2) for one in found]}")  # noqa: T201
    assert len(found) == 2
    for one in found:
        assert one["apart"] <= 1e-9, found
        assert one["ratio"] >= 3, found


LARGE = """
import json, resource, time
import numpy as np
from shiftcast.estimators import transport
from shiftcast.predictions import softmax

random = np.random.default_rng(0)
labels = random.integers(0, 1000, 50_000)
logits = random.normal(size=(50_000, 1000))
logits[np.arange(50_000), labels] += 7
probabilities = softmax(logits)
del logits
start = time.perf_counter()
solved = transport(probabilities, np.full(1000, 1e-3))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"seconds": seconds, "gib": peak, "gap": solved.gap}))
"""


def test_transport_to_a_thousand_classes_takes_two_minutes_and_four_gib():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["seconds"] < 120, found
    assert found["gib"] < 4, found
    assert found["gap"] <= 1e-5, found


def test_difficulty_grows_with_the_number_of_images_and_no_faster():
    members = softmax(np.random.default_rng(0).normal(size=(8, 40_000, 10)))
    small, large = best(lambda: difficulty(members[:, :10_000].copy())), best(lambda: difficulty(members))
    assert large < 12 * small, f"{large / small:.1f} times as long for four times the images"
