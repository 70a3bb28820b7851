"""Large problems of optimal transport: exact or within a stated gap, and in little memory."""

import json
import subprocess
import sys

from shiftcast.statistics.transport import LARGE_GAP

POT = """
import json
import numpy as np
import ot
from shiftcast.estimators import transport
from shiftcast.util.arrays import softmax

def problems():  # noise with equal classes, and a shifted set of a good network
    random = np.random.default_rng(0)
    yield softmax(random.normal(size=(10_000, 10)) * 3), np.full(10, 0.1)
    labels = random.integers(0, 10, 10_000)
    yield softmax(np.eye(10)[labels] * 4 + random.normal(size=(10_000, 10)) * 1.5), random.dirichlet([5] * 10)

apart = []
for probabilities, shares in problems():
    images = np.full(len(probabilities), 1 / len(probabilities))
    theirs = ot.emd2(images, shares, 1 - probabilities, numItermax=10**7)
    apart.append(abs(transport(probabilities, shares).value - (1 - theirs)))
print(json.dumps(apart))
"""


def test_transport_of_ten_thousand_images_equals_that_of_pot():
    done = subprocess.run([sys.executable, "-c", POT], capture_output=True, text=True, check=True)
    apart = json.loads(done.stdout)
    assert len(apart) == 2
    assert max(apart) <= 1e-9, apart


LARGE = """
import json, resource
import numpy as np
from shiftcast.estimators import transport
from shiftcast.util.arrays import softmax

random = np.random.default_rng(0)
labels = random.integers(0, 1000, 50_000)
logits = random.normal(size=(50_000, 1000))
logits[np.arange(50_000), labels] += 7
probabilities = softmax(logits)
del logits
solved = transport(probabilities, np.full(1000, 1e-3))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"gib": peak, "gap": solved.gap}))
"""


def test_transport_to_a_thousand_classes_takes_two_gib():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["gib"] < 2, found
    assert found["gap"] <= LARGE_GAP, found
