"""One run's files, held against their form, each other and the cards: everything that is wrong is named.

Nothing is imported or run, and no array is made before its claim fits what the cards say of the set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shiftcast.cards.recipe import recipe_hash
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, NewerSchemaError, RunError
from shiftcast.runs.layout import PREDICTIONS, RECORD, RUN_FILES, SIGNALS
from shiftcast.runs.outputs import (
    LARGEST_PREDICTIONS,
    OUTPUTS,
    PREDICTIONS_LIMIT,
    FileState,
    StoredSet,
    decode,
    left_in_file,
)
from shiftcast.runs.problems import UPDATE, Problem
from shiftcast.runs.record import LARGEST_RECORD, SCHEMA, Record, ReportedRecord, RunRecord
from shiftcast.runs.signals import LARGEST_SIGNALS, SIGNALS_LIMIT, signals_of_run
from shiftcast.util.files import read_regular
from shiftcast.util.hashing import parse_json, sha256
from shiftcast.workspace import Workspace

if TYPE_CHECKING:
    from shiftcast.runs.folder import RunFolder

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
"""Problems of one `run.json`, and entries of a run's folder, that are listed."""
INCOMPLETE = "incomplete:"
"""How it begins what is found where a file is missing."""


@dataclass(frozen=True)
class Expected:
    """What the cards say of a suite's runs.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and the suite.
    sizes
        Images of each set, by id, in the suite's order; None where another edition may hold others.
    classes
        How many classes there are.
    closed
        Sets whose labels are withheld, so that ranks of true classes cannot be known.
    roles
        Whether a run that the suite lists is scored, or one of the reference ensemble.
    """

    workspace: Workspace
    suite: Suite
    sizes: Mapping[str, int | None]
    classes: int
    closed: frozenset[str]
    roles: Mapping[RunKey, str]

    def promises_signals(self, record: RunRecord) -> bool:
        """Whether the recipe that a run was made by, as its card is now, asks for signals."""
        key = record.key
        recipe = self.workspace.recipes.get(key.recipe)
        if getattr(recipe, "signals", None) is None or key.architecture not in self.workspace.architectures:
            return False
        return record.recipe_hash == recipe_hash(self.workspace.resolved_recipe(key.architecture, key.recipe))


def expected_of(workspace: Workspace, suite: Suite, edition: str = "") -> Expected:
    """Return what the cards say of the runs of a suite."""
    card = workspace.dataset(suite.source.test)
    sizes: dict[str, int | None] = {suite.source.test: None if edition else card.n}
    closed = set()
    for target in suite.unfolded_targets():
        other = workspace.dataset(target.dataset)
        n = (target.images or card.n) if target.derived else other.n
        sizes[target.id] = None if edition else n
        if other.labels == "withheld" and not other.opening:
            closed.add(target.id)
    roles = dict.fromkeys(suite.scored_runs(), "scored") | dict.fromkeys(suite.reference_runs(), "reference")
    return Expected(workspace, suite, sizes, len(card.classes), frozenset(closed), roles)


class Inspection:
    """What reading a run came to: its record and outputs, where they can be read, and all its problems.

    Attributes
    ----------
    record, sets
        None where they cannot be read.
    problems
        Everything that is wrong with the run by itself.
    stale
        Why a sound run is not shown: it was made for another version of the suite. Then the suite's cards
        say nothing of its sets.
    """

    def __init__(
        self,
        folder: RunFolder,
        model: type[Record],
        expected: Expected | None = None,
        filed: bool = False,
    ) -> None:
        """Read a run's folder.

        Parameters
        ----------
        folder, model
            The folder, and what its record is.
        expected
            What the cards say; without it the files are held against their form and each other alone.
        filed
            Leave the outputs in their file once they are checked: they are read when they are asked for.
        """
        self.folder, self.model, self.expected = folder, model, expected
        self.problems: list[Problem] = []
        self.stale = ""
        strange = set() if expected is None else self._strange_entries()
        self.record = None if RECORD in strange else self._record()
        path, data = folder.predictions_path, None
        state = FileState.of(path.lstat()) if os.path.lexists(path) else None
        if PREDICTIONS not in strange:
            data = self._bytes(path, LARGEST_PREDICTIONS if self._roomy else PREDICTIONS_LIMIT)
        self.sets = None if data is None else self._predictions(data)
        if self.record is not None and self.sets is not None:
            self._agree(self.record, self.sets)
        if SIGNALS not in strange and isinstance(self.record, RunRecord):
            self._signals(self.record)
        if filed and self.sets is not None and data is not None and state is not None:
            self.sets = left_in_file(path, state, data, self.sets)

    @property
    def incomplete(self) -> str:
        """Which file is missing, in words; empty if none is, or something else is wrong as well."""
        lacking = [problem for problem in self.problems if problem.found.startswith(INCOMPLETE)]
        return lacking[0].found if lacking and len(lacking) == len(self.problems) else ""

    def _add(self, where: str, expected: str, found: str, remedy: str = "") -> None:
        self.problems.append(Problem(where, expected, found, remedy or self.model.remedy))

    def _strange_entries(self) -> set[str]:
        """Name what the folder should not hold; return the names of its files among that."""
        path, strange = self.folder.path, set[str]()
        if path.is_symlink():
            self._add(str(path), "a file or a folder", "a symbolic link", "put a copy in its place")
        if not path.is_dir():
            return strange
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in islice(entries, MOST_ERRORS))
        for name in names:
            entry = path / name
            mode = entry.lstat().st_mode
            if stat.S_ISREG(mode) and (name in RUN_FILES or is_being_written(name)):
                continue
            strange.add(name)
            if stat.S_ISLNK(mode):
                self._add(str(entry), "a file or a folder", "a symbolic link", "put a copy in its place")
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                self._add(str(entry), "a file or a folder", "neither", "take it out")
            else:
                found = "another folder" if stat.S_ISDIR(mode) else "another file"
                expected = f"nothing but {', '.join(RUN_FILES[:2])} and {SIGNALS}"
                self._add(str(entry), expected, found, "remove it, or give it the right name")
        return strange

    def _bytes(self, path: Path, limit: int) -> bytes | None:
        data, problem = _read(path, limit, self.model.remedy)
        self.problems += problem
        return data

    def _record(self) -> Record | None:
        record, problems = read_record(self.folder.record_path, self.model)
        self.problems += problems
        if record is not None and self.expected is not None:
            self._names(self.expected, record)
        return record

    def _names(self, expected: Expected, record: Record) -> None:
        """Hold what the record says it is against where it stands."""
        path, suite, key = self.folder.record_path, expected.suite, self.folder.key
        if (record.suite, record.key) != (suite.name, key):
            self._add(f"{path}, key", f"{suite.name}/{key}, where it stands", f"{record.suite}/{record.key}")
        elif record.suite_version != suite.version:
            self.stale = "its suite has another version now"
            return
        if record.source != suite.source.test:
            self._add(f"{path}, source", repr(suite.source.test), repr(record.source))
        for field, named in (("targets", record.targets), ("datasets", record.datasets)):
            trained_on = set() if field == "targets" or suite.source.train is None else {suite.source.train}
            if strange := sorted(set(named) - set(expected.sizes) - trained_on):
                found = f"{len(strange)} others: {strange[:3]}"
                lost = "" if suite.contributed else "; if the suite has lost sets, raise its version"
                remedy = f"{self.model.remedy}{lost}"
                self._add(f"{path}, {field}", f"sets of suite {suite.name!r}", found, remedy)

    @property
    def _roomy(self) -> bool:
        """Whether files may be larger than those in `results/`: those of scratch suites may."""
        return self.expected is None or self.expected.suite.scratch

    def _predictions(self, data: bytes) -> dict[str, StoredSet] | None:
        path = self.folder.predictions_path
        held = None if self.stale else self.expected
        classes = (
            None if self.expected is None else self.expected.classes
        )  # of stale runs too: it bounds memory
        sets, misfits, truncated = decode(data, None if held is None else held.sizes, classes)
        if self.record is not None and not truncated and sha256(data) != self.record.predictions_sha256:
            stated = f"SHA-256 {self.record.predictions_sha256[:12]}…, as {RECORD} states"
            self._add(str(path), stated, f"{sha256(data)[:12]}…: one of the two was changed")
        for misfit in misfits:
            where = f"{path}, {misfit.name}" if misfit.name else str(path)
            self._add(where, misfit.expected, misfit.found)
        if misfits:
            return None
        if held is not None:
            self._needs(held, sets)
        return {name: sets[name] for name in (sorted(sets) if held is None else held.sizes) if name in sets}

    def _needs(self, expected: Expected, sets: Mapping[str, StoredSet]) -> None:
        """Ask for outputs on the labelled test set, and for none whose labels are unknown."""
        path, source = self.folder.predictions_path, expected.suite.source.test
        if source not in sets or sets[source].true_rank is None:
            what = OUTPUTS[0] if source not in sets else "true_rank"
            self._add(
                f"{path}, {what}/{source}",
                "outputs on the labelled test set, and ranks of its classes",
                "none",
            )
        for name in sorted(expected.closed & set(sets)):
            if sets[name].true_rank is not None:
                remedy = "open the set with shiftcast blind open, or take them out"
                self._add(f"{path}, true_rank/{name}", "no ranks: the labels are withheld", "some", remedy)

    def _agree(self, record: Record, sets: Mapping[str, StoredSet]) -> None:
        """Hold the record against the outputs: sets, images, accuracies."""
        path = self.folder.record_path
        if set(record.targets) != set(sets):
            expected = f"the sets of the predictions: {sorted(sets)}"
            self._add(f"{path}, targets", expected, f"{sorted(record.targets)}")
        if missing := sorted(set(record.targets) - set(record.datasets)):
            expected = "the fingerprint of every set in targets"
            self._add(f"{path}, datasets", expected, f"none of {missing[:3]}")
        stated = record.outputs if isinstance(record, ReportedRecord) else OUTPUTS[0]
        held = OUTPUTS[any(one.hard for one in sets.values())]
        if stated != held:
            where = f"{path}, outputs" if isinstance(record, ReportedRecord) else self.folder.predictions_path
            self._add(str(where), f"{held}, which the predictions hold", stated)
        for name in sorted(set(record.targets) & set(sets)):
            result, stored = record.targets[name], sets[name]
            if result.n != stored.n:
                self._add(f"{path}, targets, {name}, n", f"{stored.n:,} images", f"{result.n:,}")
            self._accuracy(f"{path}, targets, {name}, accuracy", result.accuracy, stored.accuracy)

    def _accuracy(self, where: str, stated: float | None, computed: float | None) -> None:
        if stated is None or computed is None:
            if stated is not None:
                self._add(where, "null: no true classes are known", f"{stated}")
            elif computed is not None:
                self._add(where, f"{computed:.6f}, as recomputed from the outputs", "null")
        elif not abs(stated - computed) <= SAME:
            self._add(where, f"{computed:.6f}, as recomputed from the outputs", f"{stated:.6f}")

    def _signals(self, record: RunRecord) -> None:
        """Hold the signals, where there are any, against the record and the outputs."""
        path, expected = self.folder.signals_path, self.expected
        if record.signals_sha256 is None:
            promised = getattr(record.recipe, "signals", None) is not None
            promised = promised or (expected is not None and expected.promises_signals(record))
            if promised and not os.path.lexists(path):
                asked = f"the signals that recipe {record.key.recipe!r} asks for"
                self._add(str(path), asked, _missing(path))
            elif expected is not None and os.path.lexists(path):
                self._add(str(path), f"no file: {RECORD} states none", "one", "take it out")
            return
        data = self._bytes(path, LARGEST_SIGNALS if self._roomy else SIGNALS_LIMIT)
        if data is None or self.sets is None:
            return
        predicted = {name: one.logits.argmax(axis=1) for name, one in self.sets.items()}
        try:
            signals_of_run(data, str(path), record.signals_sha256, predicted, len(record.epochs))
        except RunError as error:
            found = str(error).removeprefix(f"{path}: ")
            remedy = UPDATE if isinstance(error, NewerSchemaError) else ""
            self._add(str(path), f"the signals of this run, as {RECORD} states", found, remedy)


def read_record(path: Path, model: type[Record]) -> tuple[Record | None, list[Problem]]:
    """Return a `run.json` and what is wrong with it by itself; None where anything is."""
    data, problems = _read(path, LARGEST_RECORD, model.remedy)
    if data is None:
        return None, problems
    try:
        values = parse_json(data)
    except ValueError as error:
        return None, [Problem(str(path), "valid JSON, each key once", str(error), model.remedy)]
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is int and version > SCHEMA:
        return None, [Problem(str(path), f"schema_version {SCHEMA}", f"newer schema, {version}", UPDATE)]
    if version != SCHEMA or not isinstance(values, dict):
        expected = f"an object of schema_version {SCHEMA}"
        return None, [Problem(str(path), expected, repr(version), model.remedy)]
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        for item in error.errors()[:MOST_ERRORS]:
            key = ".".join(str(part) for part in item["loc"]) or RECORD
            expected, found = _in_our_words(item["type"], item["msg"], item["input"])
            problems.append(Problem(f"{path}, {key}", expected, found, model.remedy))
    return None, problems


def _read(path: Path, limit: int, remedy: str) -> tuple[bytes | None, list[Problem]]:
    """Return a file's bytes, or why it cannot be read."""
    try:
        return read_regular(path, limit), []
    except FileNotFoundError:
        expected, found = "a complete run", _missing(path)
    except InvalidInputError as error:  # "is … ; expected …", or "takes … ; expected …"
        found, _, expected = str(error).removeprefix(f"{path}: ").removeprefix("is ").partition("; expected ")
    except OSError as error:
        expected, found = "a file that can be read", error.strerror or "an error"
    return None, [Problem(str(path), expected or "a file", found, remedy)]


def _missing(path: Path) -> str:
    """Return what is found where a file is missing."""
    return f"{INCOMPLETE} {path.name} is missing"


def is_being_written(name: str) -> bool:
    """Whether a file is one that another process writes just now, or left when it was killed."""
    return name.startswith(".") and name.endswith(".part")


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
