"""Whether stored benchmarks are of this processor: `make gate` judges no other.

    python tests/performance/processor.py BASELINE

Exit code 0 where they are, 3 where they are not, which is said.
"""

from __future__ import annotations

import sys
from pathlib import Path

from compare import machine_name, read_benchmarks  # beside this script
from cpuinfo import get_cpu_info  # comes with pytest-benchmark, whose files hold what it says

OTHER = 3
"""Exit code for another processor."""


def main(baseline: Path) -> int:
    """Compare processors and say so; return the exit code."""
    here, there = machine_name(get_cpu_info()), read_benchmarks(baseline).machine
    if here == there:
        return 0
    print(f"gate: NOTHING IS JUDGED. {baseline} holds times of {there}; this is {here}.")  # noqa: T201
    print("gate: to judge changes here, keep times of this machine first: make bench")  # noqa: T201
    return OTHER


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
