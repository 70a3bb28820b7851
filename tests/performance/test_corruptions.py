"""All 95 sets of 10,000 images: minutes of two cores, and little memory."""

import json
import subprocess
import sys
import time

import numpy as np

from shiftcast.data import CORRUPTIONS, SEVERITIES, corrupt

SHARE = 250


def test_all_sets_take_minutes():
    images = np.random.default_rng(0).integers(0, 256, (SHARE, 32, 32, 3), dtype=np.uint8)
    index = np.arange(SHARE)
    start = time.perf_counter()
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            corrupt(images, name, severity, index)
    seconds = (time.perf_counter() - start) * 10_000 / SHARE
    print(f"95 sets of 10,000 images: {seconds:.0f} s")  # noqa: T201
    assert seconds < 15 * 60


MEMORY = """
import json, resource
import numpy as np
from shiftcast.data.regenerate import regenerate
images = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8)
for _ in regenerate(images, np.zeros(10_000, int), ["glass_blur", "elastic_transform", "zoom_blur"], [5]):
    pass
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))
"""


def test_sets_are_streamed():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=300
    )
    peak = json.loads(done.stdout)
    assert peak < 2, f"{peak:.2f} GiB"
