"""A million odd inputs for everything that reads what others wrote: `make fuzz`.

    python tests/fuzz/fuzz.py [--inputs 1000000] [--only READER] [--out outputs/fuzz]

atheris follows which lines of the package an input reaches, and keeps those that reach new ones. Inputs on
which a reader raises anything but a `ShiftcastError`, or takes more than its share of time or memory, are
kept in the folder, and the exit code is 1. Each belongs into `test_found.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))  # what tests share
SHARES = {"run": 2.0, "submission": 1.5, "predictions": 4.0, "suite": 1.0, "dataset": 1.0}
SHARES |= {"submit-npz": 0.2, "submit-csv": 0.1, "submit-npy": 0.2, "submit-safetensors": 0.2}
SHARES |= {"estimate-csv": 0.2, "estimate-npz": 0.3, "estimate-others": 0.3, "estimate-parquet": 0.1}
"""How many inputs a reader gets beside the others: fast ones more."""
LONGEST = 60_000
"""Bytes of an input."""


def main() -> int:
    """Fuzz each reader in a process of its own; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all readers together (%(default)s)")
    parser.add_argument("--only", default="", metavar="READER", help="one reader instead of all")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/fuzz"), help="where findings go (%(default)s)"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inputs < 1:
        parser.error(f"--inputs: expected 1 or more, got {options.inputs}")
    if options.child:
        fuzz(options.only, options.inputs, options.out / options.only)
    from readers import make_readers

    with tempfile.TemporaryDirectory() as folder:
        known = list(make_readers(Path(folder)))
    names = [name for name in known if options.only in ("", name)]
    if not names:
        parser.error(f"--only: unknown reader {options.only!r}; expected one of {', '.join(known)}")
    whole = sum(SHARES.get(name, 0.5) for name in names)
    wrong = 0
    for name in names:
        inputs = round(options.inputs * SHARES.get(name, 0.5) / whole)
        wrong += watch(name, inputs, options.out)
    return int(wrong > 0)


def watch(name: str, inputs: int, out: Path) -> int:
    """Fuzz one reader in a process; return the number of findings."""
    place = out / name
    place.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    command = [
        sys.executable,
        __file__,
        "--child",
        "--only",
        name,
        "--inputs",
        str(inputs),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    found = sorted(path for path in place.iterdir() if not path.name.endswith(".txt"))
    said = "" if done.returncode == 0 else f", ended with {done.returncode}: {done.stderr[-500:]}"
    took = f"{inputs:,} inputs in {time.monotonic() - start:.0f} s"
    print(f"{name}: {took}, {len(found)} findings{said}", flush=True)  # noqa: T201
    return len(found) + (done.returncode != 0)


def fuzz(name: str, inputs: int, out: Path) -> None:
    """Fuzz one reader in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["shiftcast"]), warnings.catch_warnings():
        from readers import MEBIBYTES, SECONDS, make_readers, mutate

        from shiftcast.errors import ShiftcastError
    warnings.simplefilter("ignore")
    place = Path(tempfile.mkdtemp())
    reader = make_readers(place)[name]
    corpus = place / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(reader.seeds):
        (corpus / str(number)).write_bytes(seed)
    seen = set()

    def keep(data: bytes, why: str, said: str) -> None:
        if why not in seen:
            seen.add(why)
            path = out / hashlib.sha256(data).hexdigest()[:16]
            path.write_bytes(data)
            path.with_suffix(".txt").write_text(f"{why}\n{said}")

    def one(data: bytes) -> None:
        start, before = time.process_time(), peak()
        try:
            reader.read(data)
        except ShiftcastError:
            pass
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            keep(data, f"{type(error).__name__} {frame.filename}:{frame.lineno}", traceback.format_exc())
        seconds, grown = time.process_time() - start, peak() - before
        if seconds > SECONDS or grown > MEBIBYTES:
            keep(data, "slow" if seconds > SECONDS else "large", f"{seconds:.1f} s, {grown:.0f} MiB")

    def vary(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)  # noqa: S311  nothing is secret
        if random.random() < 0.2:
            return atheris.Mutate(data, most)
        return mutate(reader.form, data or random.choice(reader.seeds), random)[:most]

    arguments = [
        sys.argv[0],
        str(corpus),
        f"-runs={inputs}",
        f"-max_len={LONGEST}",
        "-seed=1",
        "-len_control=0",
    ]
    atheris.Setup(arguments, one, custom_mutator=vary)
    atheris.Fuzz()


def peak() -> float:
    """Return the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
