"""Corrupted sets of 10,000 images take little memory."""

import json
import subprocess
import sys

MEMORY = """
import json, resource
import numpy as np
from shiftcast.data.corruptions.measure import regenerate
images = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8)
for _ in regenerate(images, np.zeros(10_000, int), ["glass_blur", "elastic_transform", "zoom_blur"], [5]):
    pass
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))
"""


def test_sets_are_streamed():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    peak = json.loads(done.stdout)
    assert peak < 2, f"{peak:.2f} GiB"
