"""What is committed under results/ stays small."""

from support import REPOSITORY

RESULTS = REPOSITORY / "results"
MEGABYTES = 240


def test_results_take_little_room():
    size = sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) / 1e6
    assert size < MEGABYTES, f"{size:.0f} MB"
