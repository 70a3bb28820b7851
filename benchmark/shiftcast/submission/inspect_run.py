"""One run's two files, held against their form, each other and the suite's cards: all problems are named.

Nothing is imported or run, and no array is made before its claim fits what the suite's cards say of the set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.suite import Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import Place
from shiftcast.runs.outputs import (
    CLASSES,
    LARGEST_LOGIT,
    LARGEST_PREDICTIONS,
    PREDICTIONS_LIMIT,
    StoredSet,
    class_count,
    decode_predictions,
)
from shiftcast.runs.record import LARGEST_RECORD, SCHEMA, ReportedRecord, RunRecord
from shiftcast.runs.signals import LARGEST_SIGNALS, SIGNALS_LIMIT
from shiftcast.runs.suite_runs import ReportedRun, StoredRun
from shiftcast.submission.problems import Problem
from shiftcast.util.files import read_regular
from shiftcast.util.hashing import parse_json, sha256
from shiftcast.util.safetensors_header import Claim, read_claims
from shiftcast.workspace import Workspace

Record = RunRecord | ReportedRecord
SAME = 1e-9
"""How far a stated accuracy may be from the one that follows from the outputs: rounding."""
WORDS = {
    "Value error, expected ": "",
    "Value error, ": "",
    "Input should be ": "",
    "String should ": "a text to ",
}
"""How pydantic's sentences begin, and what stands for it after "expected"."""
MOST_ERRORS = 50
"""Problems of one `run.json` that are listed."""


@dataclass(frozen=True)
class Expected:
    """What a suite's cards say of its sets.

    Parameters
    ----------
    suite
        The suite.
    sizes
        Images of each set, by id, in the suite's order.
    classes
        How many classes there are.
    """

    suite: Suite
    sizes: Mapping[str, int]
    classes: int

    @property
    def source(self) -> str:
        """The labelled in-distribution set."""
        return self.suite.source.test


def expected_of(workspace: Workspace, suite: Suite) -> Expected:
    """Return what outputs on each set of a suite must fit."""
    card = workspace.dataset(suite.source.test)
    sizes = {suite.source.test: card.n}
    for target in suite.unfolded_targets():
        sizes[target.id] = (
            (target.images or card.n) if target.derived else workspace.dataset(target.dataset).n
        )
    return Expected(suite, sizes, len(card.classes))


def _in_our_words(kind: str, said: str, value: object) -> tuple[str, str]:
    """Return what pydantic finds wrong with a value of `run.json`: expected, found.

    Parameters
    ----------
    kind, said
        Its name of the error, and its sentence.
    value
        The value; that of the object around it where a key is missing.
    """
    found = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    if kind == "missing":
        return "this key", "none"
    if kind == "extra_forbidden":
        return "no key of that name", f"one, with {found}"
    for theirs, ours in WORDS.items():
        if said.startswith(theirs):
            return ours + said.removeprefix(theirs), found
    return said, found


class Inspection:
    """What reading a run came to: the run, where it can be read at all, and its problems."""

    def __init__(self, place: Place, expected: Expected) -> None:
        """Read both files of a run's folder."""
        self.place, self.expected = place, expected
        self.folder = RunFolder(place.path)
        self.problems: list[Problem] = []
        self.reported = place.key.recipe == SELF_REPORTED
        self.remedy = "submit it again with --force" if self.reported else "run its suite again"
        self.record = self._record()
        self.sets = self._predictions()
        if self.record is not None and self.sets is not None:
            self._agree(self.record, self.sets)
        self._signals()

    @property
    def run(self) -> StoredRun | None:
        """The run, where nothing is wrong with it by itself."""
        if self.problems or self.record is None or self.sets is None:
            return None
        if isinstance(self.record, ReportedRecord):
            return ReportedRun(self.record, self.sets, "")
        return StoredRun(self.place.key, self.record.family, self.record, self.sets)

    def _add(self, where: str, expected: str, found: str, remedy: str = "") -> None:
        self.problems.append(Problem(where, expected, found, remedy or self.remedy))

    def _bytes(self, path: Path, limit: int) -> bytes | None:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            return None  # whoever walks the folders has named it
        try:
            return read_regular(path, limit)
        except FileNotFoundError:
            self._add(str(path), "a file", "none: the run is incomplete, and never ranked")
        except InvalidInputError as error:
            said = str(error).removeprefix(f"{path}: ")
            found, _, expected = said.partition("; expected ")
            self._add(str(path), expected or "a file", found)
        except OSError as error:
            self._add(str(path), "a file that can be read", error.strerror or "an error")
        return None

    def _record(self) -> Record | None:
        path = self.folder.record_path
        data = self._bytes(path, LARGEST_RECORD)
        if data is None:
            return None
        try:
            values = parse_json(data)
        except ValueError as error:
            self._add(str(path), "valid JSON, each key once", str(error))
            return None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA or not isinstance(values, dict):
            self._add(str(path), f"an object of schema_version {SCHEMA}", repr(version))
            return None
        model: type[Record] = ReportedRecord if self.reported else RunRecord
        try:
            record = model.model_validate(values)
        except ValidationError as error:
            for item in error.errors()[:MOST_ERRORS]:
                key = ".".join(str(part) for part in item["loc"]) or "run.json"
                self._add(f"{path}, {key}", *_in_our_words(item["type"], item["msg"], item["input"]))
            return None
        self._names(path, record)
        return record

    def _names(self, path: Path, record: Record) -> None:
        """Hold what the record says it is against where it stands."""
        suite, key = self.expected.suite, self.place.key
        if (record.suite, record.key) != (suite.name, key):
            self._add(f"{path}, key", f"{suite.name}/{key}, where it stands", f"{record.suite}/{record.key}")
        if record.source != self.expected.source:
            self._add(f"{path}, source", repr(self.expected.source), repr(record.source))
        for field, named in (("targets", record.targets), ("datasets", record.datasets)):
            own = {} if field == "targets" or suite.source.train is None else {suite.source.train}
            if strange := sorted(set(named) - set(self.expected.sizes) - set(own)):
                self._add(
                    f"{path}, {field}",
                    f"sets of suite {suite.name!r}",
                    f"{len(strange)} others: {strange[:3]}",
                )
        if missing := sorted(set(record.targets) - set(record.datasets)):
            self._add(
                f"{path}, datasets", "the fingerprint of every set in targets", f"none of {missing[:3]}"
            )

    def _predictions(self) -> dict[str, StoredSet] | None:
        path = self.folder.predictions_path
        limit = LARGEST_PREDICTIONS if self.expected.suite.scratch else PREDICTIONS_LIMIT
        data = self._bytes(path, limit)
        if data is None:
            return None
        claims = read_claims(data, len(data))
        changed = self.record is not None and sha256(data) != self.record.predictions_sha256
        if self.record is not None and changed and not claims.truncated:  # else that says it all
            stated = f"SHA-256 {self.record.predictions_sha256[:12]}…, as run.json states"
            self._add(str(path), stated, f"{sha256(data)[:12]}…: one of the two was changed")
        for mismatch in claims.problems:
            self._add(str(path), mismatch.expected, mismatch.found)
        if claims.truncated:
            return None
        wrong = list(self._misfits(claims.tensors, claims.metadata))
        for name, expected, found in wrong:
            self._add(f"{path}, {name}", expected, found)
        if claims.problems or wrong:
            return None
        try:
            sets = decode_predictions(data, str(path))
            return {name: sets[name] for name in self.expected.sizes if name in sets}
        except RunError as error:
            expected = (
                f"finite values up to {LARGEST_LOGIT:,.0f}, ranks and classes below the number of classes"
            )
            self._add(str(path), expected, str(error).removeprefix(f"{path}: "))
        return None

    def _misfits(
        self, tensors: Mapping[str, Claim], metadata: Mapping[str, str]
    ) -> Iterator[tuple[str, str, str]]:
        """Give what is wrong with each tensor's name, type and shape: name, expected, found."""
        sizes, classes = self.expected.sizes, self.expected.classes
        hard = any(name.startswith(CLASSES) for name in tensors)
        narrow = "U8" if classes <= 256 else "U16"
        parts: dict[str, Callable[[int], tuple[tuple[str, ...], tuple[int, ...]]]] = {
            "true_rank": lambda n: ((narrow,), (n,)),
            "cluster": lambda n: (("U8", "U16", "U32"), (n,)),
        }
        if hard:
            parts["classes"] = lambda n: ((narrow,), (n,))
        else:
            parts["logits"] = lambda n: (("F16",), (n, classes))
        first = "classes" if hard else "logits"
        for name, claim in tensors.items():
            part, _, of = name.partition("/")
            if part not in parts or of not in sizes:
                yield (
                    repr(name),
                    f"{', '.join(parts)} of sets of suite {self.expected.suite.name!r}",
                    "another name",
                )
                continue
            dtypes, shape = parts[part](sizes[of])
            if claim.dtype not in dtypes or claim.shape != shape:
                yield name, f"{' or '.join(dtypes)} {shape}", f"{claim.dtype} {claim.shape}"
            if part != first and f"{first}/{of}" not in tensors:
                yield name, f"{first}/{of} beside it", "none"
        for needed in (f"{first}/{self.expected.source}", f"true_rank/{self.expected.source}"):
            if needed not in tensors:
                yield needed, "outputs on the labelled test set, and ranks of its classes", "none"
        if hard and class_count(metadata) != classes:
            yield "__metadata__", f"{classes} classes", f"{class_count(metadata)}"

    def _signals(self) -> None:
        """Hold the signals, where there are any, against the record and the outputs."""
        path, record = self.folder.signals_path, self.record
        stated = record.signals_sha256 if isinstance(record, RunRecord) else None
        if stated is None:
            if record is not None and os.path.lexists(path):
                self._add(str(path), "no file: run.json states none", "one", "take it out")
            return
        limit = LARGEST_SIGNALS if self.expected.suite.scratch else SIGNALS_LIMIT
        if self._bytes(path, limit) is None or not isinstance(record, RunRecord) or self.sets is None:
            return
        try:
            self.folder.read_signals(record, self.sets)
        except RunError as error:
            found = str(error).removeprefix(f"{path}: ").removesuffix(f"; {record.remedy}")
            self._add(str(path), "the signals of this run, as run.json states", found)

    def _agree(self, record: Record, sets: Mapping[str, StoredSet]) -> None:
        """Hold the record against the outputs: sets, images, accuracies."""
        path = self.folder.record_path
        if set(record.targets) != set(sets):
            self._add(
                f"{path}, targets",
                f"the sets of the predictions: {sorted(sets)}",
                f"{sorted(record.targets)}",
            )
        if isinstance(record, ReportedRecord) and any(
            one.hard != (record.outputs == "classes") for one in sets.values()
        ):
            self._add(f"{path}, outputs", "what the predictions hold", repr(record.outputs))
        for name in sorted(set(record.targets) & set(sets)):
            stated, stored = record.targets[name], sets[name]
            if stated.n != stored.n:
                self._add(f"{path}, targets, {name}, n", f"{stored.n:,} images", f"{stated.n:,}")
            self._accuracy(f"{path}, targets, {name}, accuracy", stated.accuracy, stored.accuracy)
            bad = np.abs(stored.logits.astype(np.float32)) > LARGEST_LOGIT
            if bad.any():
                where = f"{self.folder.predictions_path}, logits/{name}"
                self._add(where, f"values up to {LARGEST_LOGIT:,.0f} in size", f"{int(bad.sum()):,} beyond")

    def _accuracy(self, where: str, stated: float | None, computed: float | None) -> None:
        if stated is None or computed is None:
            if stated is not None:
                self._add(where, "null: no true classes are known", f"{stated}")
            elif computed is not None:
                self._add(where, f"{computed:.6f}, as recomputed from the outputs", "null")
        elif not abs(stated - computed) <= SAME:
            self._add(where, f"{computed:.6f}, as recomputed from the outputs", f"{stated:.6f}")
