"""Commands that are killed at random points, and what must be left when the same command has been repeated.

Each command starts from a folder of its own, always at the same place, so that equal work leaves equal bytes.
What is compared is the whole folder: results, pages, data, caches, and that nothing else is left over. Facts
of a machine and times are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
UNSTABLE = ("measured", "git", "time", "stamp", "stamps")
"""Keys of JSON files that say when, how long or on what state of the checkout."""
TIMED = 0.3
"""Share of kills by wall time; the others are at a change of a file."""
TWICE = 0.25
"""Share of kills after which the repeated command is killed too."""


class Forge:
    """The process that runs commands, see `forge.py`; a context manager, so that none is left behind."""

    def __init__(self, folder: Path) -> None:
        """Start it; commands live in `folder`."""
        self.folder, self.said = folder / "state", folder / "said.txt"
        self.environment = {
            "SHIFTCAST_CACHE": str(self.folder / "cache"),
            "SHIFTCAST_DATA": str(self.folder / "data"),
            "NO_PROXY": "*",
        }
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(folder / "mpl")}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "forge.py")],
            env=os.environ | threads | quiet,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> Forge:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.process.communicate()

    def run(self, argv: tuple[str, ...], **point: Any) -> dict[str, Any]:
        """Run a command to its end, or to the point of its kill; return what `forge.py` says of it."""
        job = {
            "argv": argv,
            "folder": str(self.folder),
            "environment": self.environment,
            "said": str(self.said),
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job | point) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = self._answer()
        return found

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


class Account(NamedTuple):
    """What came of killing one command: how often it died, and every state that was wrong in the end."""

    kills: int
    operations: int
    wrong: list[str]


def kill_often(forge: Forge, argv: tuple[str, ...], template: Path, kills: int, seed: int) -> Account:
    """Kill a command again and again, and hold what the repeated one leaves against an undisturbed one.

    Parameters
    ----------
    forge
        Runs commands.
    argv
        The command.
    template
        The folder that it starts from, of which each attempt gets a copy.
    kills, seed
        How often it is killed, and what says where.
    """

    def reset() -> None:
        shutil.rmtree(forge.folder, ignore_errors=True)
        shutil.copytree(template, forge.folder)

    reset()
    whole = forge.run(argv)
    assert whole["code"] == 0, forge.said.read_text()
    expected = snapshot(forge.folder)
    random = np.random.RandomState(seed)

    def point() -> dict[str, Any]:
        if random.uniform() < TIMED:
            return {"seconds": float(random.uniform(0.001, whole["seconds"]))}
        return {"operation": int(random.randint(1, whole["operations"] + 1))}

    done, wrong = 0, []
    while done < kills:
        reset()
        points = [point()]
        killed = forge.run(argv, **points[0])["code"] == -9
        if killed and done + 1 < kills and random.uniform() < TWICE:
            points.append(point())
            done += forge.run(argv, **points[1])["code"] == -9
        done += killed
        again = forge.run(argv)
        if again["code"]:
            wrong.append(f"{points}: ends with {again['code']}: {forge.said.read_text()[-1500:]}")
        elif difference := differences(expected, snapshot(forge.folder)):
            wrong.append(f"{points}: {difference}")
    return Account(done, whole["operations"], wrong)


def snapshot(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder by its path, and each empty folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            found[name] = hashlib.sha256(_stable(path)).hexdigest()
        elif not any(path.iterdir()):
            found[name] = "an empty folder"
    return found


def _stable(path: Path) -> bytes:
    """Return a file's content without facts of a machine, and times."""
    if path.name == "table.csv":
        table = pd.read_csv(path)
        return table.drop(columns="seconds").to_csv().encode()
    data = path.read_bytes()
    try:
        return json.dumps(_without(json.loads(data)), sort_keys=True).encode()
    except ValueError:
        return data


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(one) for key, one in value.items() if key not in UNSTABLE}
    return [_without(one) for one in value] if isinstance(value, list) else value


def differences(expected: dict[str, str], found: dict[str, str]) -> str:
    """Return in words how two states differ; empty where they do not."""
    parts = {
        "missing": sorted(set(expected) - set(found)),
        "left over": sorted(set(found) - set(expected)),
        "other": sorted(name for name in expected if name in found and expected[name] != found[name]),
    }
    return "; ".join(f"{what}: {', '.join(names[:8])}" for what, names in parts.items() if names)
